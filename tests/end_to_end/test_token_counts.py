"""How many tokens does this call have? Asked with the official SDKs, answered by the vendor or by the gateway."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anthropic
import pytest
from google import genai

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

KEY = "AIza-canary-operator-51cc"
SECRET = "4012-8888-8888-1881"
SAID = [{"role": "user", "content": "How many tokens has this sentence, and who counts them?"}]
TOOLS = [{"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}]
HOSTED = [{"type": "web_search_20250305", "name": "web_search"}]
CHAT_TOKENS = 90


def answer(request: Received) -> Any:
    document = json.loads(request.body)
    assert SECRET not in request.body.decode()
    match request.target:
        case "/v1/messages/count_tokens":
            assert request.headers["x-api-key"] == KEY and request.headers["anthropic-version"] == "2023-06-01"
            if document["model"] == "claude-gone":
                error = {"type": "not_found_error", "message": "model: claude-gone"}
                return reply(404, {"type": "error", "error": error})
            assert document.keys() <= {"model", "messages", "system", "tools", "tool_choice"}, document
            return reply(200, {"input_tokens": 2095, "context_management": {"original_input_tokens": 2095}})
        case "/v1beta/models/gemini-3:countTokens":
            assert request.headers["x-goog-api-key"] == KEY
            whole = document.get("generateContentRequest", document)
            assert whole["contents"][0]["parts"][0]["text"] == SAID[0]["content"]
            assert whole.get("model", "models/gemini-3") == "models/gemini-3"
            return reply(200, {"totalTokens": 31, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 31}]})
        case "/v1/chat/completions":
            choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": CHAT_TOKENS, "completion_tokens": 1, "total_tokens": CHAT_TOKENS + 1}
            return reply(200, {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})
    return reply(404, {"error": {"message": f"no {request.target}"}})


CONFIG = """
llm:
  port: 0
  policies: {policies}
  models:
  - {{name: "claude-alias", provider: anthropic, params: {{model: claude-x, {where}}}}}
  - {{name: "claude*", provider: anthropic, params: {{{where}}}}}
  - {{name: "gemini*", provider: gemini, params: {{{where}}}}}
  - {{name: "fast", provider: gemini, params: {{model: gemini-3, {where}}}}}
  - {{name: "*", provider: openAI, params: {{{where}}}}}
"""


@pytest.fixture
async def start(serve):
    async with Upstream(answer) as upstream, AsyncExitStack() as open_clients:

        async def one(policies: str = "{}") -> Any:
            where = f'apiKey: {KEY}, hostOverride: "{upstream.address}"'
            gateway = await serve(CONFIG.format(policies=policies, where=where))
            client = anthropic.AsyncAnthropic(base_url=gateway.url, api_key="mine", max_retries=0)
            await open_clients.enter_async_context(client)
            client.gateway, client.upstream = gateway, upstream
            return client

        yield one


@pytest.mark.parametrize("model", ["claude-3", "claude-alias"])
async def test_a_vendor_that_counts_is_asked(start, model):
    client = await start()
    counted = await client.messages.count_tokens(model=model, messages=SAID, tools=TOOLS, system="Be kind.")
    assert counted.input_tokens == 2095
    sent = json.loads(client.upstream.received[-1].body)
    assert sent["model"] == {"claude-3": "claude-3", "claude-alias": "claude-x"}[model]
    line = await client.gateway.logged("count_tokens")
    assert "gen_ai.operation.name=count_tokens" in line and "gen_ai.usage" not in line


async def test_its_errors_are_the_sdks_own(start):
    client = await start()
    with pytest.raises(anthropic.NotFoundError, match="claude-gone"):
        await client.messages.count_tokens(model="claude-gone", messages=SAID)
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await client.messages.count_tokens(model="claude-3", messages="no list")


async def test_one_question_is_put_to_another_vendor(start):
    client = await start()
    counted = await client.messages.count_tokens(model="gemini-3", messages=SAID)
    assert counted.input_tokens == 31


@pytest.mark.parametrize(("model", "tokens"), [("gemini-3", 31), ("fast", 31), ("claude-3", 2095)])
async def test_googles_sdk_asks_google_and_others(start, model, tokens):
    client = await start()
    options = genai.types.HttpOptions(base_url=client.gateway.url)
    google = genai.Client(api_key="mine", http_options=options)
    try:
        counted = await google.aio.models.count_tokens(model=model, contents=SAID[0]["content"])
        assert counted.total_tokens == tokens
    finally:
        await google.aio.aclose()
        google.close()


async def test_a_whole_call_asked_about_names_the_model_that_is_asked(start, client):
    sdk = await start()
    parts = [{"parts": [{"text": SAID[0]["content"]}]}]
    whole = {"generateContentRequest": {"model": "models/fast", "contents": parts}}
    found = await client.post(f"{sdk.gateway.url}/v1beta/models/fast:countTokens", json=whole)
    assert found.status_code == 200 and found.json()["totalTokens"] == 31, found.text


async def test_where_nobody_counts_the_gateway_estimates_and_learns(start):
    client = await start()
    first = await client.messages.count_tokens(model="gpt-5", messages=SAID)
    assert 10 <= first.input_tokens <= 30
    assert not client.upstream.received
    await client.messages.create(model="gpt-5", messages=SAID, max_tokens=5)
    second = await client.messages.count_tokens(model="gpt-5", messages=SAID)
    assert second.input_tokens == pytest.approx(first.input_tokens * 4, abs=1)  # no further away than that
    other = await client.messages.count_tokens(model="gpt-6", messages=SAID)
    assert other.input_tokens == first.input_tokens


MADE = Path(__file__).parents[1] / "fixtures/made_encoding"
EXACT = """
config:
  adminAddr: "off"
  statsAddr: "off"
  readinessAddr: "off"
  tokenEncodings: {{folder: {folder}, models: {{mine: made_base, lost: o200k_base}}}}
"""


async def counted(client: Any, model: str, text: str) -> int:
    found = await client.messages.count_tokens(model=model, messages=[{"role": "user", "content": text}])
    return int(found.input_tokens)


async def test_a_published_encoding_counts_to_the_token(serve, tmp_path, monkeypatch):
    """The encoding is made up: this tree has no published vocabulary."""
    monkeypatch.syspath_prepend(str(MADE))
    from tiktoken_ext.made import FILE

    (tmp_path / "made_base.tiktoken").write_bytes(FILE)
    config = EXACT.format(folder=tmp_path) + CONFIG.format(policies="{}", where=f"apiKey: {KEY}")
    gateway = await serve(config, env={"PYTHONPATH": str(MADE)})
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="mine", max_retries=0) as client:
        text = "falcon falcons"  # falcon, a blank, falcon, s
        async with asyncio.timeout(20):
            while await counted(client, "mine", text) != 4 + len("user") + 3 + 3:
                await asyncio.sleep(0.05)  # an estimate, until the vocabulary was read
        assert await counted(client, "mine", "falcon " * 1000) == len("user") + 2000 + 3 + 3
        assert await counted(client, "lost", text) == await counted(client, "unknown", text)
        await gateway.told("tokens are estimated where `o200k_base` would count them: `o200k_base.tiktoken` is not in")


async def test_a_folder_that_is_not_there_stops_the_start(serve):
    config = EXACT.format(folder="/nowhere-at-all") + CONFIG.format(policies="{}", where=f"apiKey: {KEY}")
    with pytest.raises(AssertionError, match="no such folder"):
        await serve(config)


@pytest.mark.parametrize("extra", [{"tools": HOSTED}, {"tools": TOOLS}, {"system": "x" * 400}])
async def test_an_estimate_refuses_nothing_that_could_be_said(start, extra):
    client = await start()
    plain = await client.messages.count_tokens(model="gpt-5", messages=SAID)
    more = await client.messages.count_tokens(model="gpt-5", messages=SAID, **extra)
    assert more.input_tokens > plain.input_tokens


async def test_a_picture_counts_as_a_picture_and_not_as_its_base64(start):
    client = await start()
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0K" * 50_000}
    said = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    counted = await client.messages.count_tokens(model="gpt-5", messages=said)
    assert 900 < counted.input_tokens < 1100


GUARD = "{promptGuard: {request: [{regex: {action: %s, rules: [{builtin: creditCard}]}}]}}"
CARD = [{"role": "user", "content": f"Pay with {SECRET}"}]


async def test_guards_read_the_question_too(start):
    client = await start(GUARD % "mask")
    assert (await client.messages.count_tokens(model="claude-3", messages=CARD)).input_tokens == 2095
    client = await start(GUARD % "reject")
    with pytest.raises(anthropic.PermissionDeniedError):
        await client.messages.count_tokens(model="claude-3", messages=CARD)


async def test_counting_uses_no_tokens(start):
    limit = "{localRateLimit: [{maxTokens: 50, tokensPerFill: 1, fillInterval: 3600s, type: tokens}]}"
    client = await start(limit)
    await client.messages.create(model="gpt-5", messages=SAID, max_tokens=5)
    with pytest.raises(anthropic.RateLimitError):
        await client.messages.create(model="gpt-5", messages=SAID, max_tokens=5)
    assert (await client.messages.count_tokens(model="claude-3", messages=SAID)).input_tokens == 2095
