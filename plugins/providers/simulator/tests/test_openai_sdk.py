"""The official client of OpenAI against the standalone simulator: what it accepts is OpenAI's format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import openai
import pytest
from agentgateway_simulator.server import Server
from openai import AsyncOpenAI
from pydantic import BaseModel

KEY = "sk-simulated-key"
USER = [{"role": "user", "content": "hello there"}]
PIXEL = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as opened:
        yield opened


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def test_chat(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="gpt-5", messages=USER)
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-")
    assert reply.choices[0].message.content == "You said: hello there"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (2, 4, 6)


async def test_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-5", messages=USER, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: hello there"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 6
    assert len({c.id for c in chunks}) == 1 and chunks[0].object == "chat.completion.chunk"


async def test_stream_without_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="gpt-5", messages=USER, stream=True)
    assert all(chunk.choices and chunk.usage is None for chunk in [chunk async for chunk in stream])


async def test_parallel_tools_buffered_and_streamed_agree(client: AsyncOpenAI) -> None:
    asked = {"model": "gpt-5", "messages": user("weather and clock"), "tools": [WEATHER, CLOCK]}
    whole = await client.chat.completions.create(**asked)
    assert whole.choices[0].finish_reason == "tool_calls"
    calls = whole.choices[0].message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("weather", {"city": "city"}),
        ("clock", {}),
    ]
    async with client.chat.completions.stream(**asked) as stream:
        final = await stream.get_final_completion()
    streamed = final.choices[0].message.tool_calls or []
    assert [(c.function.name, c.function.arguments) for c in streamed] == [
        (c.function.name, c.function.arguments) for c in calls
    ]


async def test_tool_results_come_back_in_the_answer(client: AsyncOpenAI) -> None:
    first = await client.chat.completions.create(model="gpt-5", messages=user("weather"), tools=[WEATHER])
    message = first.choices[0].message
    assert message.tool_calls
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "18 C"}
    second = await client.chat.completions.create(
        model="gpt-5", messages=[*user("weather"), message.model_dump(exclude_none=True), result], tools=[WEATHER]
    )
    assert second.choices[0].message.content == "The tool said: 18 C"


async def test_images_are_accepted(client: AsyncOpenAI) -> None:
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    reply = await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": content}])
    assert reply.choices[0].message.content == "You said: look [image: image/png, 12 characters]"


class Answer(BaseModel):
    city: str
    degrees: int


async def test_structured_output(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.parse(model="gpt-5", messages=USER, response_format=Answer)
    assert reply.choices[0].message.parsed == Answer(city="city", degrees=1)


async def test_the_limit_on_tokens(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="gpt-5", messages=USER, max_completion_tokens=2)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("You said:", "length")


async def test_fields_that_the_simulator_does_not_know_are_accepted(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(
        model="gpt-5", messages=USER, logprobs=True, store=False, extra_body={"something_new": 1}
    )
    assert reply.choices[0].message.content


async def test_models(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-5", "claude-opus-4-5"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_the_clients_own(
    client: AsyncOpenAI, status: int, error: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(error) as caught:
        await client.chat.completions.create(
            model="gpt-5", messages=user(f"[[simulate error={status}]]"), stream=stream
        )
    assert caught.value.status_code == status
    assert caught.value.body and "simulated error" in caught.value.message
    assert caught.value.request_id


async def test_a_rate_limit_says_when_to_come_back(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="gpt-5", messages=user("[[simulate error=429 retry-after=3s]]"))
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"


async def test_a_wrong_key_is_refused_and_not_shown(server: Server) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="canary-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="gpt-5", messages=USER)
    assert caught.value.code == "invalid_api_key"
    assert "canary" not in str(caught.value.body)


async def test_a_stream_that_fails_midway(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-5", messages=user("a b c d [[simulate error=500 after=2]]"), stream=True
    )
    seen = ""
    with pytest.raises(openai.APIError):
        async for chunk in stream:
            seen += chunk.choices[0].delta.content or ""
    assert seen == "You said:"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_breaks(client: AsyncOpenAI, stream: bool) -> None:
    with pytest.raises(Exception) as caught:
        reply = await client.chat.completions.create(
            model="gpt-5", messages=user("a b c d [[simulate disconnect after=2]]"), stream=stream
        )
        async for _ in reply:
            pass
    assert type(caught.value).__name__ in {"APIConnectionError", "RemoteProtocolError"}
