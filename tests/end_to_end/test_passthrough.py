"""Calls that are passed on as they are: `passthrough` of models, and its words in `ai.routes`."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

KEY = "canary-operator-77aa"
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
CHAT = {
    "id": "c",
    "object": "chat.completion",
    "model": "served",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "secret-1234"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
PIECES = [
    b'data: {"type": "begun", "model": "served"}\n\n',
    b'data: {"type": "done", "usage": {"input_tokens": 11, "output_tokens": 4}}\n\n',
]
SOUND = bytes(range(256)) * 400


def answer(request: Received) -> bytes | AsyncIterator[bytes]:
    assert request.headers.get("authorization", request.headers.get("x-api-key", "")).removeprefix("Bearer ") == KEY
    document = json.loads(request.body)
    match request.target.partition("?")[0]:
        case "/v1/refused":
            return reply(418, {"strange": f"you said {KEY}"})
        case "/v1/sound":
            head = f"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: {len(SOUND)}\r\n\r\n"
            return head.encode() + SOUND
        case "/v1/broken":
            return reply(200, b"{not json")
        case "/v1/images/edits":
            return reply(200, {"data": [], "usage": {"input_tokens": 5, "output_tokens": 90}})
        case "/v1/messages":
            usage = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 100}
            return reply(200, {"type": "message", "model": "served", "content": [], "usage": usage})
    if document.get("stream"):
        return streamed()
    return reply(200, CHAT)


async def streamed() -> AsyncIterator[bytes]:
    yield stream_head()
    for piece in PIECES:
        yield chunk(piece)
    yield LAST


CONFIG = """
llm:
  port: 0
  policies: {policies}
  models:
  - name: seen
    provider: anthropic
    params: {{apiKey: {key}, hostOverride: "{address}"}}
    passthrough: detect
  - name: renamed
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{address}", model: other}}
    passthrough: detect
  - name: unseen
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{address}"}}
    passthrough: opaque
  - name: based
    provider: openAI
    params: {{apiKey: {key}, baseUrl: "http://{address}/v1"}}
    passthrough: opaque
  - name: guardrailed
    provider: {{bedrock: {{guardrailIdentifier: g, guardrailVersion: "1"}}}}
    params: {{apiKey: {key}, hostOverride: "{address}", awsRegion: eu-west-1}}
    passthrough: opaque
  - {{name: plain, provider: openAI, params: {{apiKey: {key}, hostOverride: "{address}"}}}}
  virtualModels:
  - {{name: virtual, routing: {{weighted: {{targets: [{{model: seen}}]}}}}}}
"""
ODD = '{ "model":"%s",  "temperature": 1.50, "strange": {"b": 1, "a": [ ]} }'


@pytest.fixture
async def start(serve, client):
    async with Upstream(answer) as upstream:

        async def made(policies: str = "{}") -> Any:
            gateway = await serve(CONFIG.format(policies=policies, key=KEY, address=upstream.address))

            async def post(path: str, body: str | bytes | dict[str, Any], **headers: str) -> Any:
                content = json.dumps(body) if isinstance(body, dict) else body
                fields = {"content-type": "application/json", **headers}
                return await client.post(gateway.url + path, content=content, headers=fields)

            post.gateway, post.upstream = gateway, upstream
            return post

        yield made


@pytest.mark.parametrize("model", ["seen", "unseen", "based"])
async def test_a_call_in_no_known_format_passes_byte_for_byte_to_where_it_came(start, model):
    post = await start()
    answered = await post("/v1/files/strange?a=1&key=mine&b=%20", ODD % model, **{"x-own": "kept", "cookie": "c=1"})
    assert answered.status_code == 200
    assert answered.json() == CHAT
    (received,) = post.upstream.received
    assert received.target == "/v1/files/strange?a=1&b=%20"
    assert received.body.decode() == ODD % model
    assert received.headers["x-own"] == "kept"
    assert "cookie" not in received.headers


async def test_a_known_format_is_not_translated(start):
    post = await start()
    body = ODD.replace("strange", "messages").replace('{"b": 1, "a": [ ]}', '[{"role": "user", "content": "hi"}]')
    for model in ("seen", "unseen"):
        answered = await post("/v1/chat/completions", body % model)
        assert answered.json() == CHAT
        received = post.upstream.received[-1]
        assert (received.target, received.body.decode()) == ("/v1/chat/completions", body % model)


async def test_what_it_cost_is_detected_and_an_opaque_call_tells_nothing(start):
    post = await start()
    await post("/v1/files/strange", ODD % "seen")
    line = await post.gateway.logged("http.path=/v1/files/strange")
    assert "gen_ai.usage.input_tokens=7" in line
    assert "gen_ai.request.model=seen" in line
    assert "gen_ai.response.model=served" in line
    await post("/v1/images/edits", ODD % "seen")
    assert "gen_ai.usage.output_tokens=90" in await post.gateway.logged("http.path=/v1/images/edits")
    await post("/v1/messages", {"model": "seen", "max_tokens": 1, "messages": []})
    assert "gen_ai.usage.input_tokens=103" in await post.gateway.logged("http.path=/v1/messages")
    await post("/v1/files/other", ODD % "unseen")
    line = await post.gateway.logged("http.path=/v1/files/other")
    assert "gen_ai.request.model=unseen" in line
    assert "usage" not in line


@pytest.mark.parametrize("model", ["seen", "unseen"])
async def test_streams_in_no_known_format_pass_as_they_come(start, model):
    post = await start()
    answered = await post("/v1/strange", {"model": model, "stream": True})
    assert answered.headers["content-type"] == "text/event-stream"
    assert answered.content == b"".join(PIECES)
    line = await post.gateway.logged("http.path=/v1/strange")
    assert ("gen_ai.usage.input_tokens=11" in line) is (model == "seen")
    assert ("gen_ai.usage.output_tokens=4" in line) is (model == "seen")


@pytest.mark.parametrize("model", ["seen", "unseen"])
async def test_other_replies_pass_as_they_come(start, model):
    post = await start()
    assert (await post("/v1/sound", {"model": model})).content == SOUND
    assert (await post("/v1/broken", {"model": model})).content == b"{not json"
    refused = await post("/v1/refused", {"model": model})
    assert (refused.status_code, refused.json()) == (418, {"strange": "you said ***"})


async def test_another_model_is_asked_for_where_that_can_be_said(start):
    post = await start()
    await post("/v1/strange", {"model": "renamed", "x": 1})
    await post("/v1/strange", {"model": "virtual", "x": 1})
    assert [json.loads(received.body) for received in post.upstream.received] == [
        {"model": "other", "x": 1},
        {"model": "seen", "x": 1},
    ]


async def test_models_that_do_not_pass_things_on_answer_404_as_ever(start):
    post = await start()
    for model in ("plain", "nobody"):
        answered = await post("/v1/strange", {"model": model})
        assert answered.status_code == 404
    for body in (b"", b"{}", b"[]", b'{"model": 7}', b'{"model": "seen", "model": "unseen"}', b"\xff"):
        assert (await post("/v1/strange", body)).status_code == 404
    assert post.upstream.received == []


async def test_errors_are_told_as_the_caller_speaks(start):
    post = await start()
    theirs = await post("/v1/strange", {"model": "plain"}, **{"anthropic-version": "2023-06-01"})
    assert theirs.json()["type"] == "error"
    assert "message" in (await post("/v1/strange", {"model": "plain"})).json()["error"]


LIMITED = """
    apiKey: {mode: strict, keys: [{key: ada-1f, allowedModels: [seen, unseen]}, {key: eve-2f, allowedModels: [plain]}]}
    localRateLimit: [{maxTokens: 2, tokensPerFill: 1, fillInterval: 1h, key: apiKey.key}]
"""


@pytest.mark.parametrize("model", ["seen", "unseen"])
async def test_callers_are_authenticated_and_limited_as_for_any_call(start, model):
    post = await start(LIMITED)
    body = {"model": model}
    assert (await post("/v1/strange", body)).status_code == 401
    assert (await post("/v1/strange", body, authorization="Bearer eve-2f")).status_code == 403
    codes = [(await post("/v1/strange", body, authorization="Bearer ada-1f")).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


TOKENS = "{localRateLimit: [{type: tokens, maxTokens: 9, tokensPerFill: 1, fillInterval: 1h}]}"


async def test_tokens_that_were_detected_are_charged(start):
    post = await start(TOKENS)
    codes = [(await post("/v1/strange", {"model": "seen"})).status_code for _ in range(2)]
    assert codes == [200, 429]


GUARDED = {
    "request": "{guardrails: {request: [{regex: {action: reject, rules: [{pattern: forbidden}]}}]}}",
    "response": '{guardrails: {response: [{regex: {rules: [{pattern: "secret-[0-9]+"}]}}]}}',
}


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("model", ["seen", "unseen"])
async def test_what_guards_cannot_read_does_not_pass_where_they_stand(start, model, side):
    post = await start(GUARDED[side])
    answered = await post("/v1/strange", {"model": model, "stream": False})
    assert answered.status_code >= 400
    assert "secret" not in answered.text
    if side == "request":
        assert post.upstream.received == []


@pytest.mark.parametrize("model", ["seen", "unseen"])
async def test_guards_read_what_comes_in_a_known_format(start, model):
    body = {"model": model, "messages": [{"role": "user", "content": "a forbidden word"}]}
    post = await start(GUARDED["request"])
    assert (await post("/v1/chat/completions", body)).status_code == 403
    assert post.upstream.received == []
    post = await start(GUARDED["response"])
    masked = await post("/v1/chat/completions", body)
    assert masked.json()["choices"][0]["message"]["content"] == "<masked>"


async def test_an_operators_guardrail_is_not_lost_in_an_opaque_call(start):
    post = await start()
    answered = await post("/model/guardrailed/invoke", {"model": "guardrailed"})
    assert answered.status_code == 400
    assert "its provider has to add something" in answered.text
    assert post.upstream.received == []


FULL = """
gateways: {{default: {{port: 0}}}}
routes:
- policies: {{ai: {{routes: {{/v1/odd: passthrough, /v1/edits: detect, /v1/chat/completions: completions}}}}}}
  backends:
  - ai: {{provider: {{openAI: {{}}}}, hostOverride: "{address}"}}
    policies: {{backendAuth: {{key: {key}}}}}
"""


async def test_a_map_of_routes_may_say_so_too(serve, client):
    async with Upstream(answer) as upstream:
        gateway = await serve(FULL.format(key=KEY, address=upstream.address))
        for path, told in (("/v1/odd", False), ("/v1/edits", True)):
            answered = await client.post(gateway.url + path, content=ODD % "m")
            assert answered.json() == CHAT
            assert upstream.received[-1].body.decode() == ODD % "m"
            line = await gateway.logged(f"http.path={path}")
            assert ("gen_ai.usage.input_tokens=7" in line) is told
        assert (await client.post(gateway.url + "/v1/other", content=ODD % "m")).status_code == 404


ELSEWHERE = [
    "/model/plain/invoke",
    "/model/plain/async-invoke",
    "//model//plain/invoke",
    "/model;a=b/plain/invoke",
    "/model%2fplain%2Finvoke",
    "/model\\plain\\invoke",
    "/v1beta/models/plain:predict",
    "/v1beta/models/{model}-2:predict",
    "/openai/deployments/plain/chat/completions",
    "/openai/deployments/{model}/model/plain/x",
    "/model/{model}:2/invoke",
    "/model/{model}%2Fplain/invoke",
]


@pytest.mark.parametrize("model", ["seen", "unseen"])
async def test_a_path_that_names_another_model_does_not_get_by(start, model):
    post = await start("{apiKey: {mode: strict, keys: [{key: ada-1f, allowedModels: [seen, unseen]}]}}")
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    for path in ELSEWHERE:
        answered = await post(path.format(model=model), body, authorization="Bearer ada-1f")
        assert answered.status_code == 400, path
        assert "is not the one in the path" in answered.text
    assert post.upstream.received == []


async def test_a_path_that_names_the_model_passes_when_no_other_is_asked_for(start):
    post = await start()
    for model, path in [("seen", "/model/seen/async-invoke"), ("unseen", "/v1beta/models/unseen:predict")]:
        assert (await post(path, {"model": model})).status_code == 200
        assert post.upstream.received[-1].target == path
    assert (await post("/model/renamed/async-invoke", {"model": "renamed"})).status_code == 400
    assert len(post.upstream.received) == 2
