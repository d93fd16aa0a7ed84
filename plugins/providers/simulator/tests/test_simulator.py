"""The provider `simulator`, as the gateway calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pydantic
import pytest
from pydantic_core import from_json

from agentgateway.errors import InvalidRequest, UpstreamError, UpstreamTimeout
from agentgateway.exchange import Headers, Outgoing, Reply
from agentgateway.llm.calls import LlmCall
from agentgateway.testing import ProviderContract, chat, make

BOTH = ["completions", "messages"]


class TestSimulatorContract(ProviderContract):
    name = "simulator"
    config = {"dialects": BOTH, "pace": "20ms", "fail": {"error": 503, "every": 3}}


async def ask(
    text: str = "hello", *, config: dict[str, Any] | None = None, speaks: str = "completions", **rest: Any
) -> Reply:
    return await answer(make("agentgateway.providers", "simulator", config or {"dialects": BOTH}), text, speaks, **rest)


async def answer(provider: Any, text: str, speaks: str = "completions", **rest: Any) -> Reply:
    call = chat(messages=[{"role": "user", "content": text}], speaks=speaks, **rest).call
    assert isinstance(call, LlmCall)
    reply = await provider.answer(call, outgoing())
    assert isinstance(reply, Reply) and reply.upstream
    return reply


def outgoing() -> Outgoing:
    return Outgoing("POST", "simulator:", "/", Headers())


def document(reply: Reply) -> Any:
    assert isinstance(reply.body, bytes)
    return from_json(reply.body)


async def chunks(reply: Reply) -> list[bytes]:
    assert isinstance(reply.body, AsyncIterator)
    return [chunk async for chunk in reply.body]


def test_the_dialects_are_those_configured() -> None:
    assert make("agentgateway.providers", "simulator", {}).dialects("chat") == ("completions",)
    only = make("agentgateway.providers", "simulator", {"dialects": ["messages", "messages"]})
    assert only.dialects("chat") == ("messages",)
    assert only.dialects("embeddings") == ()


@pytest.mark.parametrize(
    "config",
    [
        {"dialects": []},
        {"dialects": ["telepathy"]},
        {"tokens": 0},
        {"pace": 20},
        {"fail": {}},
        {"fail": {"error": 200}},
        {"fail": {"error": 500, "disconnectAfter": 1}},
        {"toolCalls": "always"},
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        make("agentgateway.providers", "simulator", config)


@pytest.mark.parametrize("speaks", BOTH)
async def test_the_answer_is_in_the_calls_dialect(speaks: str) -> None:
    reply = await ask(speaks=speaks)
    assert (reply.status, reply.headers.get("content-type")) == (200, "application/json")
    body = document(reply)
    text = body["choices"][0]["message"]["content"] if speaks == "completions" else body["content"][0]["text"]
    assert text == "You said: hello"


@pytest.mark.parametrize("speaks", BOTH)
async def test_equal_calls_get_equal_bytes(speaks: str) -> None:
    for stream in (False, True):
        one, two = await ask(speaks=speaks, stream=stream), await ask(speaks=speaks, stream=stream)
        assert (await chunks(one) == await chunks(two)) if stream else one.body == two.body


@pytest.mark.parametrize("speaks", BOTH)
async def test_a_stream_is_one_event_a_word(speaks: str) -> None:
    reply = await ask("[[simulate text=a b c]]", speaks=speaks, stream=True)
    assert (reply.headers.get("content-type") or "").startswith("text/event-stream")
    words = [chunk for chunk in await chunks(reply) if b'"a"' in chunk or b'" b"' in chunk or b'" c"' in chunk]
    assert len(words) == 3


@pytest.mark.parametrize("speaks", BOTH)
async def test_a_stream_that_breaks_raises_as_the_network_would(speaks: str) -> None:
    reply = await ask("a b c [[simulate disconnect after=2]]", speaks=speaks, stream=True)
    seen = b""
    with pytest.raises(UpstreamError):
        async for chunk in reply.body:
            seen += chunk
    assert b" said:" in seen and b'" a"' not in seen


async def test_a_whole_reply_that_breaks_raises_as_the_network_would() -> None:
    with pytest.raises(UpstreamError):
        await ask("[[simulate disconnect after=2]]")


@pytest.mark.parametrize(
    ("speaks", "error"),
    [
        (
            "completions",
            {
                "error": {
                    "message": "simulated error 429",
                    "type": "requests",
                    "param": None,
                    "code": "rate_limit_exceeded",
                }
            },
        ),
        ("messages", {"type": "error", "error": {"type": "rate_limit_error", "message": "simulated error 429"}}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_is_in_the_vendors_format(speaks: str, error: Any, stream: bool) -> None:
    reply = await ask("[[simulate error=429 retry-after=7s]]", speaks=speaks, stream=stream)
    assert (reply.status, reply.headers.get("retry-after")) == (429, "7")
    body = document(reply)
    body.pop("request_id", None)
    assert body == error


async def test_an_error_midway_is_an_event_of_the_vendors() -> None:
    reply = await ask("a b c [[simulate error=529 after=1]]", speaks="messages", stream=True)
    assert b"event: error" in (await chunks(reply))[-1]


async def test_a_whole_reply_cannot_fail_midway_and_fails_at_once() -> None:
    assert (await ask("[[simulate error=529 after=1]]")).status == 529


async def test_each_so_manieth_call_fails() -> None:
    provider = make("agentgateway.providers", "simulator", {"fail": {"error": 503, "every": 3}})
    assert [(await answer(provider, "x")).status for _ in range(6)] == [200, 200, 503, 200, 200, 503]


async def test_a_latency_beyond_what_is_left_is_a_timeout() -> None:
    provider = make("agentgateway.providers", "simulator", {"latency": "1h"})
    limited = outgoing()
    limited.head_timeout = 0.01
    with pytest.raises(UpstreamTimeout):
        await provider.answer(chat().call, limited)


async def test_latency_and_pace_only_take_time() -> None:
    slow = await ask(config={"latency": "1ms", "pace": "1ms"}, stream=True)
    assert await chunks(slow) == await chunks(await ask(stream=True))


async def test_what_it_cannot_read_is_a_bad_request() -> None:
    with pytest.raises(InvalidRequest):
        await ask(max_tokens="many")


async def test_a_stream_can_be_left_early() -> None:
    reply = await ask("[[simulate tokens=1000 pace=1ms]]", stream=True)
    await anext(reply.body)
    await reply.body.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(reply.body)
