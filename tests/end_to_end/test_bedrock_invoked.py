"""Embeddings and reranking at Amazon Bedrock, asked for by OpenAI's SDK and as Cohere's clients do.

The vendor is a fake one on loopback that refuses wrong signatures, and fields that AWS's pages do not have.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.validate
import httpx
import openai
import pytest
import pytest_asyncio
from agentgateway_auth_aws.testing import WrongSignature

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

from .amazons import AMBIENT, ENDPOINT, as_yaml, refused
from .sdks import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")
TITAN, COHERE = "/model/amazon.titan-embed-text-v2%3A0/invoke", "/model/eu.cohere.embed-v4%3A0/invoke"
RANKER = "cohere.rerank-v3-5:0"
RANKING = [{"index": 2, "relevanceScore": 0.9}, {"index": 0, "relevanceScore": 0.25}]
QUESTION = {"model": RANKER, "query": "Who?", "documents": ["Ada", {"text": "Bob"}, "Cleo"], "top_n": 2}


@dataclass
class Front:
    """A gateway in front of the fake vendor."""

    url: str = ""
    gateway: Any = None
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    refusal: bytes | None = None

    def answer(self, request: Received) -> bytes:
        try:
            ENDPOINT.verify(request.method, request.target, request.headers, request.body)
        except WrongSignature as error:
            return refused(403, "InvalidSignatureException", str(error))
        if self.refusal is not None:
            return self.refusal
        if request.target == "/rerank":
            return self.rerank(request)
        assert request.headers["accept"] == request.headers["content-type"] == "application/json"
        return self.titan(request) if "titan" in request.target else self.cohere(request)

    def titan(self, request: Received) -> bytes:
        document = request.json()
        assert document.keys() <= {"inputText", "dimensions", "normalize", "embeddingTypes"}
        vector = [0.5, -0.25][: document.get("dimensions")]
        return reply(200, {"embedding": vector, "embeddingsByType": {"float": vector}, "inputTextTokenCount": 7})

    def cohere(self, request: Received) -> bytes:
        document = request.json()
        assert document.keys() <= {"texts", "input_type", "embedding_types", "output_dimension", "truncate"}
        assert document["input_type"] in ("search_document", "search_query", "classification", "clustering")
        vectors: Any = [[float(i), 0.5] for i, _ in enumerate(document["texts"])]
        by_type = {"float": vectors} if "embedding_types" in document else vectors
        kind = "embeddings_by_type" if "embedding_types" in document else "embeddings_floats"
        told = {"id": "i", "texts": document["texts"], "embeddings": by_type, "response_type": kind}
        return reply(200, told, headers={"x-amzn-bedrock-input-token-count": "11"})

    def rerank(self, request: Received) -> bytes:
        model = SERVICE.shape_for("RerankRequest")
        assert not botocore.validate.ParamValidator().validate(request.json(), model).has_errors()
        return reply(200, {"results": RANKING})

    @property
    def sent(self) -> Received:
        return self.upstream.received[-1]


SERVICE = boto3.Session()._session.get_service_model("bedrock-agent-runtime")
LIMIT = {"type": "tokens", "maxTokens": 5, "tokensPerFill": 1, "fillInterval": "10h"}
BLOCK = {"rules": [{"pattern": "forbidden"}], "action": "reject"}


def configuration(address: str) -> str:
    names = ("amazon.*", "cohere.*", "eu.cohere.*")
    models = [
        {"name": name, "provider": {"bedrock": {"region": "eu-west-1"}}, "params": {"hostOverride": address}}
        for name in names
    ]
    policies = {
        "localRateLimit": [{**LIMIT, "key": 'default(request.headers["x-limited"], uuid())'}],
        "guardrails": {"request": [{"regex": BLOCK}, {"regex": {"rules": [{"pattern": "secret"}]}}]},
    }
    return as_yaml(
        json.dumps(
            {
                "config": {"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"},
                "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
                "llm": {"gateways": "default", "policies": policies, "models": models},
            }
        )
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(serve_all: Callable[..., Any]) -> AsyncIterator[Front]:
    front = Front()
    front.upstream.answer = front.answer
    async with front.upstream as upstream:
        front.gateway = await serve_all(configuration(upstream.address), env=AMBIENT)
        front.url = front.gateway.url
        yield front
        await front.gateway.stop()
        assert "canary" not in front.gateway.log + "".join(front.gateway.access)


@pytest.fixture
def front(served: Front) -> Front:
    served.refusal = None
    served.upstream.received.clear()
    served.gateway.access.clear()
    return served


@pytest_asyncio.fixture(loop_scope="module")
async def oai(front: Front) -> AsyncIterator[openai.AsyncOpenAI]:
    async with connect(openai.AsyncOpenAI, front.url) as client:
        yield client


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_titan_embeds_a_text(front: Front, oai: openai.AsyncOpenAI, encoding: Any) -> None:
    more = {} if encoding is None else {"encoding_format": encoding}
    made = await oai.embeddings.create(model="amazon.titan-embed-text-v2:0", input="Hi", dimensions=2, **more)
    assert made.data[0].embedding == ([0.5, -0.25] if encoding != "base64" else "AAAAPwAAgL4=")
    assert (made.model, made.usage.prompt_tokens) == ("amazon.titan-embed-text-v2:0", 7)
    assert front.sent.target == TITAN
    assert front.sent.json() == {"inputText": "Hi", "normalize": True, "dimensions": 2}
    line = await front.gateway.logged("amazon.titan")
    assert "gen_ai.usage.input_tokens=7" in line and "gen_ai.operation.name=embeddings" in line


async def test_cohere_embeds_a_batch_whose_tokens_a_header_counts(front: Front, oai: openai.AsyncOpenAI) -> None:
    made = await oai.embeddings.create(
        model="eu.cohere.embed-v4:0", input=["a", "b"], dimensions=256, extra_body={"input_type": "search_query"}
    )
    assert [one.embedding for one in made.data] == [[0.0, 0.5], [1.0, 0.5]]
    assert made.usage.prompt_tokens == 11
    assert front.sent.target == COHERE
    told = {"input_type": "search_query", "embedding_types": ["float"], "output_dimension": 256}
    assert front.sent.json() == {"texts": ["a", "b"], **told}
    assert "gen_ai.usage.input_tokens=11" in await front.gateway.logged("eu.cohere")


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
async def test_documents_are_ranked(front: Front, client: httpx.AsyncClient, path: str) -> None:
    """`return_documents` is of version 1."""
    answer = await client.post(front.url + path, json=QUESTION)
    assert answer.json()["results"] == [
        {"index": 2, "relevance_score": 0.9},
        {"index": 0, "relevance_score": 0.25},
    ]
    asked = front.sent.json()["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    arn = f"arn:aws:bedrock:eu-west-1::foundation-model/{RANKER}"
    assert asked == {"modelConfiguration": {"modelArn": arn}, "numberOfResults": 2}
    repeated = await client.post(front.url + path, json=QUESTION | {"return_documents": True})
    assert [one["document"] for one in repeated.json()["results"]] == [{"text": "Cleo"}, {"text": "Ada"}]


async def test_guards_read_what_is_embedded_and_ranked(
    front: Front, oai: openai.AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        await oai.embeddings.create(model="eu.cohere.embed-v4:0", input=["fine", "forbidden"])
    answer = await client.post(f"{front.url}/v2/rerank", json=QUESTION | {"documents": ["forbidden"]})
    assert answer.status_code == 403
    assert front.upstream.received == []
    await oai.embeddings.create(model="eu.cohere.embed-v4:0", input=["a secret"])
    assert front.sent.json()["texts"] == ["a <masked>"]
    masked = QUESTION | {"query": "a secret", "return_documents": True, "documents": ["secret"] * 3}
    answer = await client.post(f"{front.url}/v2/rerank", json=masked)
    assert answer.json()["results"][0]["document"] == {"text": "<masked>"}
    assert b"secret" not in front.sent.body


async def test_what_they_use_is_limited(front: Front, oai: openai.AsyncOpenAI) -> None:
    ask = {"model": "eu.cohere.embed-v4:0", "input": "a", "extra_headers": {"x-limited": "yes"}}
    await oai.embeddings.create(**ask)
    await front.gateway.logged("eu.cohere")
    with pytest.raises(openai.RateLimitError):
        await oai.embeddings.create(**ask)


@pytest.mark.parametrize(
    ("model", "more", "says"),
    [
        ("amazon.titan-embed-text-v2:0", {"input": ["a", "b"]}, "more than one text"),
        ("amazon.titan-embed-text-v1", {"input": "a", "dimensions": 5}, "dimensions"),
        ("cohere.embed-english-v3", {"input": "a", "dimensions": 5}, "dimensions"),
        ("cohere.embed-english-v3", {"input": [[1, 2]]}, "guards can read texts only"),
        ("cohere.embed-english-v3", {"input": "a", "extra_body": {"input_type": "x"}}, "search_query"),
    ],
)
async def test_what_a_model_cannot_do_is_refused(
    front: Front, oai: openai.AsyncOpenAI, model: str, more: Any, says: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        await oai.embeddings.create(model=model, **more)
    assert front.upstream.received == []


async def test_other_models_embed_nothing(front: Front, oai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="has no `embeddings`"):
        await oai.embeddings.create(model="amazon.nova-lite-v1:0", input="a")


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "ValidationException", openai.BadRequestError),
        (403, "AccessDeniedException", openai.PermissionDeniedError),
        (429, "ThrottlingException", openai.RateLimitError),
        (503, "ServiceUnavailableException", openai.InternalServerError),
    ],
)
async def test_the_vendors_errors_are_the_clients_own(
    front: Front, oai: openai.AsyncOpenAI, client: httpx.AsyncClient, status: int, kind: str, raised: Any
) -> None:
    front.refusal = refused(status, kind, "so it is")
    for model in ("amazon.titan-embed-text-v2:0", "eu.cohere.embed-v4:0"):
        with pytest.raises(raised, match="so it is") as caught:
            await oai.embeddings.create(model=model, input="a")
        assert caught.value.status_code == status
    answer = await client.post(f"{front.url}/v2/rerank", json=QUESTION)
    assert (answer.status_code, answer.json()["message"]) == (status, "so it is")
    assert "x-amzn-errortype" not in answer.headers


@pytest.mark.parametrize("body", [b"{}", b'{"embedding":["x"],"embeddings":{"float":7},"results":[1]}', b"[]", b"x"])
async def test_replies_that_are_none_are_a_502(front: Front, client: httpx.AsyncClient, body: bytes) -> None:
    front.refusal = reply(200, body, headers={"content-type": "application/json"})
    for model in ("amazon.titan-embed-text-v2:0", "eu.cohere.embed-v4:0"):
        answer = await client.post(f"{front.url}/v1/embeddings", json={"model": model, "input": "a"})
        assert answer.status_code == 502
    assert (await client.post(f"{front.url}/v2/rerank", json=QUESTION)).status_code == 502
