"""Calls other than chat, by the official SDK through a real gateway: embeddings, older completions, pictures, sound,
moderations, and reranking by hand."""

import base64
import json
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

KEY = "canary-operator-77aa"
VECTORS = [[0.5, -0.25, 1.0], [0.0, 2.0, -1.5]]
SOUND = bytes(range(256)) * 2000


def answer(request: Received) -> Any:
    """What OpenAI's pages say such calls are answered with."""
    document = json.loads(request.body)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    usage = {"prompt_tokens": 7, "total_tokens": 7}
    match request.target:
        case "/v1/embeddings":
            assert document["model"] == "text-embedding-3-small"
            pack = document.get("encoding_format") == "base64"
            rows = [
                {"object": "embedding", "index": i, "embedding": packed(vector) if pack else vector}
                for i, vector in enumerate(VECTORS)
            ]
            return reply(200, {"object": "list", "data": rows, "model": document["model"], "usage": usage})
        case "/v1/completions" if document.get("stream"):
            return spoken()
        case "/v1/completions":
            choice = {"index": 0, "text": f"after {document['prompt']}", "finish_reason": "stop", "logprobs": None}
            used = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            return reply(
                200, {"id": "c", "object": "text_completion", "choices": [choice], "model": "m", "usage": used}
            )
        case "/v1/moderations":
            return reply(200, {"id": "m", "model": "omni", "results": [{"flagged": False, "categories": {}}]})
        case "/v1/images/generations":
            used = {"input_tokens": 11, "output_tokens": 100, "total_tokens": 111}
            return reply(200, {"created": 1, "data": [{"b64_json": "aGk=", "revised_prompt": "a fox"}], "usage": used})
        case "/v1/audio/speech":
            head = f"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: {len(SOUND)}\r\n\r\n"
            return head.encode() + SOUND
        case "/v1/rerank" | "/v2/rerank" as path:
            assert path == "/v2/rerank"
            return reply(200, {"id": "r", "results": [{"index": 1, "relevance_score": 0.9}], "usage": usage})
    return reply(404, {"error": {"message": f"no {request.target}", "type": "invalid_request_error"}})


def packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


async def spoken() -> AsyncIterator[bytes]:
    yield stream_head()
    for text in ("one ", "secret-1234 ", "two"):
        piece = {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": None}]}
        yield chunk(b"data: " + json.dumps(piece).encode() + b"\n\n")
    yield chunk(b"data: [DONE]\n\n") + LAST


CONFIG = """
llm:
  port: 0
  policies: {policies}
  models:
  - name: "*"
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{address}"}}
  - {{name: "claude*", provider: anthropic, params: {{apiKey: k, hostOverride: "{address}"}}}}
"""


@pytest.fixture
async def sdk(serve):
    async with Upstream(answer) as upstream, AsyncExitStack() as open_clients:

        async def start(policies: str = "{}") -> openai.AsyncOpenAI:
            gateway = await serve(CONFIG.format(policies=policies, key=KEY, address=upstream.address))
            made = openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="mine", max_retries=0)
            await open_clients.enter_async_context(made)
            made.gateway, made.upstream = gateway, upstream
            return made

        yield start


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_embeddings(sdk, encoding):
    client = await sdk()
    made = await client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format=encoding)
    if encoding == "base64":
        assert [one.embedding for one in made.data] == [packed(vector) for vector in VECTORS]
    else:
        assert [one.embedding for one in made.data] == VECTORS
    line = await client.gateway.logged("http.path=/v1/embeddings")
    assert "gen_ai.operation.name=embeddings" in line and "gen_ai.usage.input_tokens=7" in line


async def test_the_sdks_own_default_is_decoded_to_numbers(sdk):
    client = await sdk()
    made = await client.embeddings.create(model="text-embedding-3-small", input="a")
    assert made.data[0].embedding == VECTORS[0]


async def test_older_completions_whole_and_streamed(sdk):
    client = await sdk()
    whole = await client.completions.create(model="m", prompt="before")
    assert whole.choices[0].text == "after before"
    stream = await client.completions.create(model="m", prompt="before", stream=True)
    assert "".join([piece.choices[0].text async for piece in stream]) == "one secret-1234 two"


async def test_pictures_and_moderations(sdk):
    client = await sdk()
    assert (await client.images.generate(model="gpt-image-1", prompt="a fox")).data[0].b64_json == "aGk="
    assert not (await client.moderations.create(model="omni-moderation-latest", input="hi")).results[0].flagged
    assert "gen_ai.usage.output_tokens=100" in await client.gateway.logged("http.path=/v1/images/generations")


async def test_sound_passes_as_it_comes(sdk):
    client = await sdk()
    async with client.audio.speech.with_streaming_response.create(model="tts-1", voice="alloy", input="hi") as heard:
        assert heard.headers["content-type"] == "audio/mpeg"
        assert b"".join([piece async for piece in heard.iter_bytes()]) == SOUND


async def test_reranking(sdk, client):
    gateway = (await sdk()).gateway
    call = {"model": "rerank-v3.5", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 1}
    for path in ("/v1/rerank", "/v2/rerank"):
        answered = await client.post(gateway.url + path, json=call)
        assert answered.json()["results"] == [{"index": 1, "relevance_score": 0.9}]


GUARDED = """
    guardrails:
      request: [{regex: {action: reject, rules: [{pattern: forbidden}]}, rejection: {status: 422}}]
      response: [{regex: {rules: [{pattern: "secret-[0-9]+"}]}}]
"""


async def test_guards_read_all_of_them(sdk):
    client = await sdk(GUARDED)
    model: dict[str, Any] = {"model": "m"}
    for call in (
        client.embeddings.create(**model, input=["fine", "forbidden"]),
        client.completions.create(**model, prompt="forbidden"),
        client.images.generate(**model, prompt="forbidden"),
        client.moderations.create(**model, input="forbidden"),
        client.audio.speech.create(**model, voice="alloy", input="forbidden"),
    ):
        with pytest.raises(openai.UnprocessableEntityError):
            await call
    assert not client.upstream.received
    stream = await client.completions.create(**model, prompt="fine", stream=True)
    assert "".join([piece.choices[0].text async for piece in stream]) == "one <masked> two"
    assert (await client.audio.speech.create(**model, voice="alloy", input="fine")).content == SOUND


async def test_what_a_guard_cannot_read_is_refused_where_guards_stand(sdk):
    tokens = [[1, 2, 3]]
    unguarded, guarded = await sdk(), await sdk(GUARDED)
    assert (await unguarded.embeddings.create(model="text-embedding-3-small", input=tokens)).data
    with pytest.raises(openai.BadRequestError, match="guards can read texts only"):
        await guarded.embeddings.create(model="text-embedding-3-small", input=tokens)
    with pytest.raises(openai.BadRequestError, match="guards can read texts only"):
        await guarded.completions.create(model="m", prompt=tokens)


async def test_a_provider_that_has_no_such_thing_says_so(sdk):
    client = await sdk()
    with pytest.raises(openai.NotFoundError, match="has no `embeddings`"):
        await client.embeddings.create(model="claude-sonnet", input="a")


@pytest.mark.parametrize(
    ("path", "call", "field"),
    [
        ("/v1/embeddings", {"model": "m"}, "input"),
        ("/v1/embeddings", {"model": "m", "input": []}, "input"),
        ("/v1/embeddings", {"model": "m", "input": [1, "a"]}, "input"),
        ("/v1/embeddings", {"model": "m", "input": [[]]}, "input"),
        ("/v1/embeddings", {"input": "a"}, "model"),
        ("/v1/embeddings", {"model": "m", "input": "a", "Input": "b"}, "Input"),
        ("/v2/rerank", {"model": "m", "documents": ["a"]}, "query"),
        ("/v2/rerank", {"model": "m", "query": "q", "documents": []}, "documents"),
        ("/v2/rerank", {"model": "m", "query": "q", "documents": [1]}, "documents"),
        ("/v1/images/generations", {"prompt": "a"}, "model"),
    ],
)
async def test_bad_calls_are_refused_by_field(sdk, client, path, call, field):
    gateway = (await sdk()).gateway
    answered = await client.post(gateway.url + path, json=call)
    assert (answered.status_code, answered.json()["error"]["param"]) == (400, field)
