"""Texts embedded by Google's official SDK, by every kind of provider that has words for it.

Each vendor is a fake one on loopback that knows the published fields and no others.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from google.genai import errors, types

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

from .googles import Sdk
from .sdks import UNREAD

pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
Json = dict[str, Any]
TOKENS = 8
GOOGLES = "/v1beta/models/gemini-embedding-001:"
VERTEX = "/v1/projects/mine/locations/europe-west4/publishers/google/models/text-embedding-005:predict"
TITAN = "/model/amazon.titan-embed-text-v2%3A0/invoke"
COHERE = "/model/cohere.embed-multilingual-v3/invoke"
VECTORS = [[0.5, -0.25], [1.0, 0.0]]


@dataclass
class Front:
    """A gateway in front of one upstream, which plays all vendors: the path says which."""

    url: str = ""
    gateway: Any = None
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    refusal: bytes | None = None

    def answer(self, request: Received) -> bytes:
        document = request.json()
        if self.refusal is not None:
            return self.refusal
        if request.target.startswith(GOOGLES):
            return google(request.target.removeprefix(GOOGLES), document)
        play = {"/v1/embeddings": openai, "/embeddings": openai, VERTEX: vertex, TITAN: titan, COHERE: cohere}
        return play[request.target](document)

    @property
    def received(self) -> Received:
        (only,) = self.upstream.received
        return only


def openai(document: Json) -> bytes:
    """https://platform.openai.com/docs/api-reference/embeddings"""
    assert document.keys() <= {"model", "input", "dimensions", "encoding_format", "user"}
    rows = [{"object": "embedding", "index": i, "embedding": VECTORS[i]} for i in range(len(document["input"]))]
    usage = {"prompt_tokens": TOKENS, "total_tokens": TOKENS}
    return reply(200, {"object": "list", "data": rows, "model": document["model"], "usage": usage})


def google(method: str, document: Json) -> bytes:
    """https://ai.google.dev/api/embeddings; a field may be called by its original name."""
    known = {"model", "content", "taskType", "title", "outputDimensionality", "embedContentConfig"}
    requests = document["requests"] if method == "batchEmbedContents" else [document]
    for one in requests:
        assert one.keys() <= known | {"embed_content_config"}
        assert one.get("model") in ("models/gemini-embedding-001", None if method == "embedContent" else "")
        types.Content.model_validate(one["content"])
    rows = [{"values": vector} for vector in VECTORS[: len(requests)]]
    told: Json = {"usageMetadata": {"promptTokenCount": TOKENS}}
    return reply(200, told | ({"embeddings": rows} if method == "batchEmbedContents" else {"embedding": rows[0]}))


def vertex(document: Json) -> bytes:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api"""
    assert document.keys() <= {"instances", "parameters"}
    counted = {"truncated": False, "token_count": TOKENS / len(document["instances"])}
    rows = [{"values": VECTORS[i], "statistics": counted} for i in range(len(document["instances"]))]
    return reply(200, {"predictions": [{"embeddings": row} for row in rows]})


def titan(document: Json) -> bytes:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html"""
    assert document.keys() <= {"inputText", "dimensions", "normalize", "embeddingTypes"}
    return reply(200, {"embedding": VECTORS[0], "inputTextTokenCount": TOKENS})


def cohere(document: Json) -> bytes:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html"""
    assert document.keys() <= {"texts", "input_type", "embedding_types", "truncate"}
    told = {"embeddings": {"float": VECTORS[: len(document["texts"])]}, "response_type": "embeddings_by_type"}
    return reply(200, told, headers={"x-amzn-bedrock-input-token-count": str(TOKENS)})


PROVIDERS: dict[str, tuple[Json, str]] = {
    "text-embedding-3-small": ({"openAI": {}}, "text-embedding-3-small"),
    "at-copilot": ({"copilot": {}}, "text-embedding-3-small"),
    "at-mistral": ({"mistral": {}}, "mistral-embed"),
    "gemini-embedding-001": ({"gemini": {}}, "gemini-embedding-001"),
    "at-vertex": ({"vertex": {"projectId": "mine", "region": "europe-west4"}}, "text-embedding-005"),
    "at-titan": ({"bedrock": {"region": "eu-west-1"}}, "amazon.titan-embed-text-v2:0"),
    "at-cohere": ({"bedrock": {"region": "eu-west-1"}}, "cohere.embed-multilingual-v3"),
}


def configuration(address: str) -> str:
    models: list[Json] = [
        {
            "name": name,
            "provider": provider,
            "params": {"apiKey": "canary-of-the-operator", "hostOverride": address, "model": model},
        }
        for name, (provider, model) in PROVIDERS.items()
    ]
    models.append({"name": "renamed", **{key: value for key, value in models[3].items() if key != "name"}})
    models.append({"name": "claude", "provider": "anthropic", "params": {"hostOverride": address}})
    rules = {"request": [{"regex": {"rules": [{"pattern": "secret"}]}}]}
    return (
        f"gateways: {{default: {{port: 0, address: 127.0.0.1}}}}\n"
        f"llm: {json.dumps({'gateways': 'default', 'policies': {'guardrails': rules}, 'models': models})}\n"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(serve_all: Callable[..., Any]) -> AsyncIterator[Front]:
    front = Front()
    front.upstream.answer = front.answer
    async with front.upstream as upstream:
        front.gateway = await serve_all(configuration(upstream.address))
        front.url = front.gateway.url
        yield front
        await front.gateway.stop()
        assert "canary" not in front.gateway.log + "".join(front.gateway.access)


@pytest.fixture(autouse=True)
def front(served: Front) -> Front:
    served.refusal = None
    served.upstream.received.clear()
    served.gateway.access.clear()
    return served


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[(None, True), ("v1beta", False)], ids=["v1-async", "v1beta-sync"]
)
async def sdk(request: pytest.FixtureRequest, served: Front) -> AsyncIterator[Sdk]:
    made = Sdk(served.url, *request.param)
    yield made
    await made.close()


async def embed(sdk: Sdk, **asked: Any) -> types.EmbedContentResponse:
    if sdk.waits:
        return await sdk.client.aio.models.embed_content(**asked)
    return await asyncio.to_thread(lambda: sdk.client.models.embed_content(**asked))


def vectors(answer: types.EmbedContentResponse) -> list[Any]:
    return [one.values for one in answer.embeddings or ()]


@pytest.mark.parametrize("model", PROVIDERS)
async def test_every_provider_embeds_what_googles_sdk_sends(front: Front, sdk: Sdk, model: str) -> None:
    contents = ["Hello"] if model == "at-titan" else ["Hello", "Ada"]
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", title="dropped by others")
    answer = await embed(sdk, model=model, contents=contents, config=config)
    assert vectors(answer) == VECTORS[: len(contents)]
    assert answer.usage_metadata is not None and answer.usage_metadata.prompt_token_count == TOKENS
    line = await front.gateway.logged(f"gen_ai.request.model={model}")
    assert f"gen_ai.usage.input_tokens={TOKENS}" in line and "gen_ai.operation.name=embeddings" in line


async def test_googles_own_is_asked_as_the_client_said(front: Front, sdk: Sdk) -> None:
    config = types.EmbedContentConfig(task_type="SEMANTIC_SIMILARITY", output_dimensionality=2)
    await embed(sdk, model="gemini-embedding-001", contents="Hello", config=config)
    (asked,) = front.received.json()["requests"]
    assert (asked["taskType"], asked["outputDimensionality"]) == ("SEMANTIC_SIMILARITY", 2)


async def test_another_name_is_put_in_every_place_where_the_client_named_the_model(front: Front, sdk: Sdk) -> None:
    assert vectors(await embed(sdk, model="renamed", contents=["a", "b"])) == VECTORS
    assert front.received.target == f"{GOOGLES}batchEmbedContents"
    assert [one["model"] for one in front.received.json()["requests"]] == ["models/gemini-embedding-001"] * 2


async def test_what_both_have_words_for_is_carried(front: Front, sdk: Sdk) -> None:
    config = types.EmbedContentConfig(task_type="CLUSTERING", output_dimensionality=2)
    asked = {}
    for model in ("text-embedding-3-small", "at-vertex", "at-titan"):
        front.upstream.received.clear()
        await embed(sdk, model=model, contents="Hello", config=config)
        asked[model] = front.received.json()
    assert asked["text-embedding-3-small"]["dimensions"] == asked["at-titan"]["dimensions"] == 2
    assert asked["at-vertex"] == {
        "instances": [{"content": "Hello", "task_type": "CLUSTERING"}],
        "parameters": {"outputDimensionality": 2},
    }


async def test_guards_read_every_text(front: Front, sdk: Sdk) -> None:
    contents = [types.Content(parts=[types.Part(text="a secret"), types.Part(text="fine")])]
    await embed(sdk, model="gemini-embedding-001", contents=contents, config={"title": "secret title"})
    assert b"secret" not in front.received.body and b"fine" in front.received.body
    front.upstream.received.clear()
    await embed(sdk, model="text-embedding-3-small", contents=contents)
    assert front.received.json()["input"] == ["a <masked>\nfine"]


async def post(front: Front, path: str, document: Json) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(front.url + path, json=document, headers={"x-goog-api-key": "AIza-of-the-client"})


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("model", ["gemini-embedding-001", "text-embedding-3-small", "at-cohere"])
async def test_a_single_content_is_answered_by_a_single_vector(front: Front, version: str, model: str) -> None:
    document = {
        "model": f"models/{model}",
        "content": {"parts": [{"text": "Hello"}]},
        "embed_content_config": {"task_type": "RETRIEVAL_QUERY"},
    }
    answer = await post(front, f"/{version}/models/{model}:embedContent", document)
    assert answer.json() == {"embedding": {"values": VECTORS[0]}, "usageMetadata": {"promptTokenCount": TOKENS}}


TEXT = {"content": {"parts": [{"text": "Hello"}]}}
PICTURE = {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "content"),
        ({"content": {"parts": []}}, "content.parts"),
        ({"content": {"parts": [7]}}, "content.parts[0]"),
        ({**TEXT, "model": "models/other"}, "model"),
        ({**TEXT, "taskType": 7}, "taskType"),
        ({**TEXT, "outputDimensionality": -1}, "outputDimensionality"),
        ({**TEXT, "embedContentConfig": {"documentOcr": True}}, "embedContentConfig.documentOcr"),
        ({**TEXT, "nobodyKnows": 1}, "nobodyKnows"),
        (PICTURE, "content.parts[0].inlineData"),
    ],
)
async def test_what_cannot_be_said_is_refused_by_name_in_googles_form(front: Front, document: Json, field: str) -> None:
    single = await post(front, "/v1beta/models/text-embedding-3-small:embedContent", document)
    several = await post(
        front, "/v1beta/models/text-embedding-3-small:batchEmbedContents", {"requests": [TEXT, document]}
    )
    for answer, at in ((single, field), (several, f"requests[1].{field}")):
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
        (details,) = answer.json()["error"]["details"]
        assert [one["field"] for one in details["fieldViolations"]] == [at]
    assert not front.upstream.received


async def test_one_call_has_one_length_of_vectors(front: Front) -> None:
    asked = {"requests": [TEXT, {**TEXT, "outputDimensionality": 2}]}
    answer = await post(front, "/v1beta/models/text-embedding-3-small:batchEmbedContents", asked)
    assert answer.status_code == 400 and "requests[1]" in answer.json()["error"]["message"]


async def test_errors_are_googles(front: Front, sdk: Sdk) -> None:
    front.refusal = reply(429, {"error": {"message": "Slow down.", "type": "requests", "code": None, "param": None}})
    with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED.*Slow down"):
        await embed(sdk, model="text-embedding-3-small", contents="Hello")
    front.refusal = reply(200, {"data": "none"})
    with pytest.raises(errors.ServerError, match="no embeddings"):
        await embed(sdk, model="text-embedding-3-small", contents="Hello")
    with pytest.raises(errors.ClientError, match="has no `embeddings`"):
        await embed(sdk, model="claude", contents="Hello")
