"""boto3's `invoke_model` and `invoke_model_with_response_stream` in front of every kind of provider. (The matrix has
Anthropic's bodies with all of them; here are the SDK itself, guards, embeddings, and what is refused.)

Vendors are fake ones on loopback that know the published fields and no others.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .matrix.transcripts import pieces, played, streamed, up_to, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")
Json = dict[str, Any]
VERSION = "bedrock-2023-05-31"
HELLO = "Hello Ada ☕, schön dich zu sehen."
CLAUDE: Json = {
    "anthropic_version": VERSION,
    "max_tokens": 300,
    "messages": [{"role": "user", "content": "Say hello to Ada."}],
}
TITAN: Json = {"inputText": "Hello"}
COHERE: Json = {"texts": ["Hello"], "input_type": "search_query"}
TITANS, COHERES = "/model/amazon.titan-embed-text-v2%3A0/invoke", "/model/cohere.embed-multilingual-v3/invoke"
NUMBERS = [0.5, -0.25]


@dataclass
class Front:
    """A gateway in front of one upstream, which plays all vendors: the path says which."""

    url: str = ""
    client: Any = None
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    refusal: bytes | None = None
    broken: bool = False

    def answer(self, request: Received) -> Any:
        document = request.json()
        if self.refusal is not None:
            return self.refusal
        if request.target == TITANS:
            assert document.keys() <= {"inputText", "dimensions", "normalize", "embeddingTypes"}
            return reply(200, {"embedding": NUMBERS, "inputTextTokenCount": 7})
        if request.target == COHERES:
            assert document.keys() <= {"texts", "input_type", "embedding_types", "truncate"}
            by_type = "embedding_types" in document
            return reply(200, {"embeddings": {"float": [NUMBERS]} if by_type else [NUMBERS], "id": "of-the-vendor"})
        if request.target == "/v1/embeddings":
            assert document.keys() <= {"model", "input", "encoding_format", "dimensions"}
            rows = [{"object": "embedding", "index": 0, "embedding": NUMBERS}]
            usage = {"prompt_tokens": 7, "total_tokens": 7}
            return reply(200, {"object": "list", "data": rows, "model": "m", "usage": usage})
        folders = ("messages",) if request.target == "/v1/messages" else ("completions",)
        if not document.get("stream"):
            return b"".join(whole(folders, "text"))
        return self.breaking() if self.broken else played(pieces(*streamed(folders, "text")))

    async def breaking(self) -> AsyncIterator[bytes]:
        yield stream_head("text/event-stream")
        yield chunk(up_to(streamed(("messages",), "text")[1], b" Ada"))
        yield chunk(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Busy."}}\n\n')
        yield LAST

    @property
    def received(self) -> Received:
        (only,) = self.upstream.received
        return only

    async def invoke(self, model: str, body: Json) -> Json:
        def call() -> Json:
            answer = self.client.invoke_model(modelId=model, body=json.dumps(body), contentType="application/json")
            told: Json = json.loads(answer["body"].read())
            return told

        return await asyncio.to_thread(call)

    async def stream(self, model: str, body: Json) -> list[Json]:
        def call() -> list[Json]:
            answer = self.client.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
            try:
                return [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
            finally:
                answer["body"].close()

        return await asyncio.to_thread(call)


def text_of(events: list[Json]) -> str:
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


AMAZON = {"bedrock": {"region": "eu-west-1"}}
MODELS: dict[str, tuple[Json, str]] = {
    "claude": ({"anthropic": {}}, "claude-haiku-4-5"),
    "gpt": ({"openAI": {}}, "gpt-5.1"),
    "openai-embeddings": ({"openAI": {}}, "text-embedding-3-small"),
    "titan": (AMAZON, "amazon.titan-embed-text-v2:0"),
    "cohere": (AMAZON, "cohere.embed-multilingual-v3"),
}
EMBEDDING = ("openai-embeddings", "titan", "cohere")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(serve_all: Callable[..., Any]) -> AsyncIterator[Front]:
    front = Front()
    front.upstream.answer = front.answer
    async with front.upstream as upstream:
        shared = {"apiKey": "canary-of-the-operator", "hostOverride": upstream.address}
        models: list[Json] = [
            {"name": name, "provider": provider, "params": {**shared, "model": model}}
            for name, (provider, model) in MODELS.items()
        ]
        rules = [{"regex": {"rules": [{"pattern": "schön|secret"}]}}]
        models.append({**models[0], "name": "guarded", "guardrails": {"request": rules, "response": rules}})
        models.append({**models[3], "name": "guarded-titan", "guardrails": {"request": rules}})
        gateway = await serve_all(
            "gateways: {default: {port: 0, address: 127.0.0.1}}\n"
            f"llm: {json.dumps({'gateways': 'default', 'models': models})}\n"
        )
        front.url = gateway.url
        front.client = boto3.client(
            "bedrock-runtime",
            endpoint_url=front.url,
            region_name="us-east-1",
            aws_access_key_id="AKIDCLIENT",
            aws_secret_access_key="of-the-client",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        yield front
        front.client.close()
        await gateway.stop()
        assert "canary" not in gateway.log + "".join(gateway.access)


@pytest.fixture
def front(served: Front) -> Front:
    served.refusal, served.broken = None, False
    served.upstream.received.clear()
    return served


@pytest.mark.parametrize("model", ["claude", "gpt"])
async def test_boto3_asks_for_a_message(front: Front, model: str) -> None:
    told = await front.invoke(model, CLAUDE)
    assert (told["type"], told["role"], told["content"]) == ("message", "assistant", [{"type": "text", "text": HELLO}])
    assert front.received.json().keys().isdisjoint({"anthropic_version"})
    assert "x-amz-date" not in front.received.headers


@pytest.mark.parametrize("model", ["claude", "gpt"])
async def test_boto3_asks_for_a_stream(front: Front, model: str) -> None:
    events = await front.stream(model, CLAUDE)
    assert text_of(events) == HELLO
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")


async def test_guards_read_what_frames_hold(front: Front) -> None:
    asked = CLAUDE | {"messages": [{"role": "user", "content": "a secret"}]}
    assert text_of(await front.stream("guarded", asked)) == HELLO.replace("schön", "<masked>")
    assert b"secret" not in front.received.body


async def test_what_ends_a_stream_is_an_exception_of_bedrock(front: Front) -> None:
    front.broken = True
    with pytest.raises(EventStreamError, match="serviceUnavailableException.*Busy"):
        await front.stream("claude", CLAUDE)


async def test_errors_are_bedrocks(front: Front) -> None:
    front.refusal = reply(429, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}})
    with pytest.raises(ClientError, match=r"ThrottlingException.*Slow down\."):
        await front.invoke("claude", CLAUDE)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await front.invoke("nobody", CLAUDE)
    with pytest.raises(ClientError, match="ResourceNotFoundException.*has no `embeddings`"):
        await front.invoke("claude", TITAN)


@pytest.mark.parametrize("model", EMBEDDING)
async def test_titans_bodies_are_embedded_by_each_provider(front: Front, model: str) -> None:
    told = await front.invoke(model, TITAN)
    assert told["embedding"] == NUMBERS
    assert told.get("inputTextTokenCount") == (0 if model == "cohere" else 7)


@pytest.mark.parametrize("model", EMBEDDING)
async def test_coheres_bodies_are_embedded_by_each_provider(front: Front, model: str) -> None:
    assert (await front.invoke(model, COHERE))["embeddings"] == [NUMBERS]
    typed = await front.invoke(model, COHERE | {"embedding_types": ["float"]})
    assert typed["embeddings"] == {"float": [NUMBERS]}


async def test_bedrock_gets_its_own_bodies_as_they_came(front: Front) -> None:
    body = TITAN | {"normalize": False, "embeddingTypes": ["binary"]}
    await front.invoke("titan", body)
    assert (front.received.target, front.received.json()) == (TITANS, body)


async def test_guards_read_what_is_embedded(front: Front) -> None:
    await front.invoke("guarded-titan", {"inputText": "a secret"})
    assert front.received.json() == {"inputText": "a <masked>"}
    with pytest.raises(ClientError, match="ValidationException.*inputImage"):
        await front.invoke("guarded-titan", {"inputText": "a", "inputImage": "aGk="})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"prompt": "Hi", "max_gen_len": 9}, "in no format that is known here"),
        ({"inputText": "Hi", "textGenerationConfig": {}}, "in no format that is known here"),
        (CLAUDE | {"anthropic_version": "2023-06-01"}, "anthropic_version"),
        (CLAUDE | {"model": "gpt"}, "model: stands in the path"),
        (CLAUDE | TITAN, "inputText: does not go together with `anthropic_version`"),
        (TITAN | COHERE, "texts: does not go together with `inputText`"),
        (CLAUDE | {"stream": True}, "stream: stands in the path"),
        (CLAUDE | {"messages": "Hi"}, "messages"),
        ({"inputText": 7}, "inputText"),
        ({"texts": []}, "texts"),
        (TITAN | {"normalize": False}, "normalize"),
        (TITAN | {"embeddingTypes": ["binary"]}, "embeddingTypes"),
        (COHERE | {"images": ["aGk="]}, "images"),
        (COHERE | {"input_type": "image"}, "input_type"),
    ],
)
async def test_what_cannot_be_said_is_a_validation_exception(front: Front, body: Json, says: str) -> None:
    with pytest.raises(ClientError, match=f"ValidationException.*{says}"):
        await front.invoke("gpt" if "anthropic_version" in body else "openai-embeddings", body)
    assert not front.upstream.received


@pytest.mark.parametrize("body", [TITAN, COHERE])
async def test_embeddings_are_not_streamed(front: Front, body: Json) -> None:
    with pytest.raises(ClientError, match="not streamed"):
        await front.stream("titan", body)
