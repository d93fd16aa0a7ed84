"""The official client of Anthropic against the standalone simulator: what it accepts is Anthropic's format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from agentgateway_simulator.server import Server
from anthropic import AsyncAnthropic

KEY = "sk-simulated-key"
USER = [{"role": "user", "content": "hello there"}]
ASKED: dict[str, Any] = {"model": "claude-opus-4-5", "max_tokens": 100, "messages": USER}
WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=server.url, api_key=KEY, max_retries=0) as opened:
        yield opened


def asked(text: str, **rest: Any) -> dict[str, Any]:
    return {**ASKED, "messages": [{"role": "user", "content": text}], **rest}


async def test_chat(client: AsyncAnthropic) -> None:
    reply = await client.messages.create(**ASKED)
    assert (reply.type, reply.role, reply.stop_reason) == ("message", "assistant", "end_turn")
    assert reply.id.startswith("msg_")
    assert [block.text for block in reply.content if block.type == "text"] == ["You said: hello there"]
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (2, 4)


async def test_stream(client: AsyncAnthropic) -> None:
    async with client.messages.stream(**ASKED) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert "".join(texts) == "You said: hello there" and len(texts) == 4
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == ("end_turn", 2, 4)


async def test_a_streams_events_are_the_published_ones(client: AsyncAnthropic) -> None:
    stream = await client.messages.create(**ASKED, stream=True)
    kinds = [event.type async for event in stream]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_parallel_tools_buffered_and_streamed_agree(client: AsyncAnthropic) -> None:
    call = asked("weather and clock", tools=[WEATHER, CLOCK])
    whole = await client.messages.create(**call)
    assert whole.stop_reason == "tool_use"
    blocks = [(block.name, block.input) for block in whole.content if block.type == "tool_use"]
    assert blocks == [("weather", {"city": "city"}), ("clock", {})]
    async with client.messages.stream(**call) as stream:
        final = await stream.get_final_message()
    assert [(block.name, block.input) for block in final.content if block.type == "tool_use"] == blocks


async def test_tool_results_come_back_in_the_answer(client: AsyncAnthropic) -> None:
    first = await client.messages.create(**asked("weather", tools=[WEATHER]))
    (block,) = first.content
    assert block.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "18 C"}
    called = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
    messages = [
        {"role": "user", "content": "weather"},
        {"role": "assistant", "content": [called]},
        {"role": "user", "content": [result]},
    ]
    second = await client.messages.create(**{**ASKED, "messages": messages, "tools": [WEATHER]})
    assert second.content[0].type == "text" and second.content[0].text == "The tool said: 18 C"


async def test_images_and_documents_are_accepted(client: AsyncAnthropic) -> None:
    content = [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
    ]
    reply = await client.messages.create(**{**ASKED, "messages": [{"role": "user", "content": content}]})
    assert reply.content[0].type == "text"
    assert reply.content[0].text == (
        "You said: look [image: image/png, 12 characters] [document: application/pdf, 8 characters]"
    )


async def test_thinking(client: AsyncAnthropic) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    call = {**ASKED, "max_tokens": 4096, "thinking": thinking}
    whole = await client.messages.create(**call)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    async with client.messages.stream(**call) as stream:
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    one, other = whole.content[0], final.content[0]
    assert one.type == other.type == "thinking"
    assert one.thinking == other.thinking and one.signature and other.signature


async def test_a_cached_prompt(client: AsyncAnthropic) -> None:
    system = [{"type": "text", "text": "four words of prompt", "cache_control": {"type": "ephemeral"}}]
    first = await client.messages.create(**ASKED, system=system)
    assert (first.usage.input_tokens, first.usage.cache_creation_input_tokens) == (2, 4)
    again = [*USER, {"role": "assistant", "content": "You said: hello there"}, {"role": "user", "content": "more"}]
    later = await client.messages.create(**{**ASKED, "messages": again, "system": system})
    assert (later.usage.input_tokens, later.usage.cache_read_input_tokens) == (7, 4)


async def test_stop_sequences_and_limits(client: AsyncAnthropic) -> None:
    stopped = await client.messages.create(**ASKED, stop_sequences=["hello"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "hello")
    cut = await client.messages.create(**{**ASKED, "max_tokens": 2})
    assert cut.stop_reason == "max_tokens"


async def test_models(client: AsyncAnthropic) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-5", "claude-opus-4-5"]


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_the_clients_own(
    client: AsyncAnthropic, status: int, error: type[anthropic.APIStatusError], kind: str, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        await client.messages.create(**asked(f"[[simulate error={status}]]"), stream=stream)
    assert (caught.value.status_code, caught.value.type) == (status, kind)
    assert caught.value.request_id


async def test_a_rate_limit_says_when_to_come_back(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.messages.create(**asked("[[simulate error=429 retry-after=3s]]"))
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


async def test_a_wrong_key_is_refused_and_not_shown(server: Server) -> None:
    async with AsyncAnthropic(base_url=server.url, api_key="canary-wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await client.messages.create(**ASKED)
    assert "canary" not in str(caught.value.body)


async def test_a_stream_that_fails_midway(client: AsyncAnthropic) -> None:
    stream = await client.messages.create(**asked("a b c d [[simulate error=529 after=2]]"), stream=True)
    seen = ""
    with pytest.raises(anthropic.APIStatusError) as caught:
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                seen += event.delta.text
    assert seen == "You said:"
    assert caught.value.type == "overloaded_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_breaks(client: AsyncAnthropic, stream: bool) -> None:
    with pytest.raises(Exception) as caught:
        reply = await client.messages.create(**asked("a b c d [[simulate disconnect after=2]]"), stream=stream)
        async for _ in reply:
            pass
    assert type(caught.value).__name__ in {"APIConnectionError", "RemoteProtocolError"}
