"""`promptCaching`: marks in what Anthropic and Bedrock are sent, whatever the client speaks."""

import json
from typing import Any

import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

LONG = "Follow these rules. " * 250
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1200},
}
BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 1205, "cacheReadInputTokens": 1200},
    "metrics": {"latencyMs": 7},
}
OPENAI = {
    "id": "c",
    "object": "chat.completion",
    "model": "gpt-5",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
MARK = {"type": "ephemeral"}
POINT = {"cachePoint": {"type": "default"}}


def answer(request: Received) -> bytes:
    if request.target == "/v1/messages":
        return reply(200, ANTHROPIC)
    return reply(200, BEDROCK if request.target.endswith("/converse") else OPENAI)


CONFIG = """
llm:
  port: 0
  providers:
  - name: shared
    provider: anthropic
    params: {{apiKey: k, hostOverride: "{address}", model: claude-sonnet-4-5}}
    defaults: {{promptCaching: {{cacheTools: true}}}}
  models:
  - {{name: claude, provider: {{reference: shared}}}}
  - {{name: quiet, provider: {{reference: shared}}, promptCaching: {{cacheSystem: false, cacheMessages: false}}}}
  - name: bedrock
    provider: bedrock
    params: {{apiKey: k, hostOverride: "{address}", awsRegion: eu-west-1, model: eu.anthropic.claude-sonnet-4-5-v1:0}}
    promptCaching: {{cacheTools: true}}
  - {{name: gpt, provider: openAI, params: {{apiKey: k, hostOverride: "{address}"}}, promptCaching: {{}}}}
  - {{name: plain, provider: anthropic, params: {{apiKey: k, hostOverride: "{address}"}}}}
  virtualModels:
  - {{name: virtual, routing: {{weighted: {{targets: [{{model: claude}}]}}}}}}
"""
SCHEMA = {"type": "object", "properties": {}}
COMPLETIONS = (
    "/v1/chat/completions",
    {
        "messages": [
            {"role": "system", "content": LONG},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    },
)
MESSAGES = (
    "/v1/messages",
    {
        "max_tokens": 9,
        "system": LONG,
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "tools": [{"name": "f", "input_schema": SCHEMA}],
    },
)
RESPONSES = (
    "/v1/responses",
    {
        "instructions": LONG,
        "input": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
    },
)
CONVERSE = (
    "/model/{model}/converse",
    {
        "system": [{"text": LONG}],
        "messages": [
            {"role": "user", "content": [{"text": "one"}]},
            {"role": "assistant", "content": [{"text": "two"}]},
            {"role": "user", "content": [{"text": "three"}]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": SCHEMA}}}]},
    },
)
CALLS = pytest.mark.parametrize(
    "call", [COMPLETIONS, MESSAGES, RESPONSES, CONVERSE], ids=["completions", "messages", "responses", "converse"]
)


@pytest.fixture
async def send(serve, client):
    """`await send(model, call)`: what the vendor was sent."""
    async with Upstream(answer) as upstream:
        gateway = await serve(CONFIG.format(address=upstream.address))

        async def made(model: str, call: tuple[str, dict[str, Any]]) -> dict[str, Any]:
            path, document = call
            body = document if "{model}" in path else {"model": model, **document}
            answered = await client.post(gateway.url + path.format(model=model), json=body)
            assert answered.status_code == 200, answered.text
            made.raw = upstream.received[-1].body
            found: dict[str, Any] = json.loads(made.raw)
            return found

        made.gateway = gateway
        yield made


@CALLS
@pytest.mark.parametrize("model", ["claude", "virtual"])
async def test_anthropic_is_sent_marks_whatever_the_client_speaks(send, model, call):
    sent = await send(model, call)
    assert sent["system"][-1]["cache_control"] == MARK
    assert sent["tools"][-1]["cache_control"] == MARK
    assert [holds(message, "cache_control") for message in sent["messages"]] == [False, True, False]


@CALLS
async def test_bedrock_is_sent_cache_points_whatever_the_client_speaks(send, call):
    sent = await send("bedrock", call)
    assert sent["system"][-1] == POINT
    assert sent["toolConfig"]["tools"][-1] == POINT
    assert [POINT in message["content"] for message in sent["messages"]] == [False, True, False]


def holds(message: dict[str, Any], key: str) -> bool:
    return any(key in block for block in message["content"] if isinstance(block, dict))


async def test_a_clients_own_marks_are_kept_and_none_are_added(send):
    own = {"type": "ephemeral", "ttl": "1h"}
    path, document = MESSAGES
    marked = document | {"system": [{"type": "text", "text": LONG, "cache_control": own}]}
    sent = await send("claude", (path, marked))
    assert sent["system"] == marked["system"]
    assert json.dumps(sent).count("cache_control") == 1
    sent = await send("bedrock", (path, marked))
    assert sent["system"][-1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert json.dumps(sent).count("cachePoint") == 1


async def test_short_instructions_and_first_questions_are_not_marked(send):
    short = {"max_tokens": 9, "system": "Be brief.", "messages": [{"role": "user", "content": "one"}]}
    sent = await send("claude", ("/v1/messages", short))
    assert "cache_control" not in json.dumps(sent)
    assert "cachePoint" not in json.dumps(await send("bedrock", ("/v1/messages", short)))


@CALLS
async def test_a_models_own_word_wins_over_its_shared_providers(send, call):
    assert b"cache_control" not in json.dumps(await send("quiet", call)).encode()


async def test_a_vendor_without_such_marks_and_a_model_without_the_policy_get_none(send):
    assert b"cache_control" not in json.dumps(await send("gpt", COMPLETIONS)).encode()
    await send("plain", MESSAGES)
    assert b"cache_control" not in send.raw


async def test_what_was_read_from_the_cache_is_counted(send):
    await send("claude", COMPLETIONS)
    line = await send.gateway.logged("http.path=/v1/chat/completions")
    assert "gen_ai.usage.input_tokens=1203" in line
    assert "1200" in line


FULL = """
gateways: {{default: {{port: 0}}}}
routes:
- policies: {{ai: {{promptCaching: {{cacheSystem: false}}}}}}
  backends:
  - ai:
      groups:
      - providers:
        - provider: {{anthropic: {{model: a}}}}
          hostOverride: "127.0.0.1:9"
        - provider: {{anthropic: {{model: b}}}}
          hostOverride: "{address}"
          policies: {{ai: {{promptCaching: {{cacheMessages: false, minTokens: 1}}}}}}
"""


async def test_the_innermost_place_decides_and_each_attempt_is_marked_anew(serve, client):
    async with Upstream(answer) as upstream:
        gateway = await serve(FULL.format(address=upstream.address))
        for _ in range(4):
            body = {"model": "m", **MESSAGES[1], "system": "Be brief."}
            answered = await client.post(gateway.url + "/v1/messages", json=body)
            assert answered.status_code == 200
            sent = json.loads(upstream.received[-1].body)
            assert sent["model"] == "b"
            assert sent["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
            assert sent["messages"] == body["messages"]
