"""The official SDKs, unmodified, as clients of a gateway: each reaches either vendor, and the simulator."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .matrix.cases import CLOCK, PDF, PIXEL, WEATHER
from .matrix.transcripts import pieces, played, streamed, whole
from .sdks import ANTHROPIC, OPENAI, UNREAD, closed, collected, connect, events, old_style, result, told

__all__ = ["collected"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
FOLDERS = {"/v1/chat/completions": ("completions-compatible", "completions"), "/v1/messages": ("messages",)}
VENDORS = ("gpt-5.1", "claude-haiku-4-5")
HELLO = "Hello Ada ☕, schön dich zu sehen."
USER: list[Any] = [{"role": "user", "content": "Say hello to Ada."}]
FUNCTIONS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
    for name, description, schema in (WEATHER, CLOCK)
]
TOOLS: list[Any] = [
    {"name": name, "description": description, "input_schema": schema} for name, description, schema in (WEATHER, CLOCK)
]
ARGUMENTS = [("get_weather", {"city": "Paris", "days": 3}), ("get_time", {"zone": "Europe/Paris"})]


@dataclass
class Front:
    """A gateway in front of one upstream, which plays both vendors: the path says which, `plays` what."""

    url: str = ""
    gateway: Any = None
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    plays: str = "text"

    def answer(self, request: Received) -> Any:
        folders = FOLDERS[request.target]
        if request.json().get("stream"):
            return played(pieces(*streamed(folders, self.plays)))
        return b"".join(whole(folders, self.plays))

    def play(self, what: str | Callable[[Received], Any]) -> None:
        self.upstream.received.clear()
        self.upstream.gone.clear()
        self.plays = what if isinstance(what, str) else ""
        self.upstream.answer = self.answer if isinstance(what, str) else what

    @property
    def received(self) -> Received:
        (only,) = self.upstream.received
        return only


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Any) -> AsyncIterator[Front]:
    front = Front()
    async with front.upstream as upstream:
        address = {"hostOverride": upstream.address}
        models = [
            {"name": "gpt-*", "provider": "openAI", "params": address},
            {"name": "claude-*", "provider": "anthropic", "params": address},
            {"name": "local-*", "provider": {"custom": {"formats": [{"type": "completions"}]}}, "params": address},
            {"name": "demo", "provider": "simulator"},
            {"name": "claude-demo", "provider": {"simulator": {"dialects": ["messages"]}}},
            {"name": "hidden", "provider": "simulator", "visibility": "internal"},
        ]
        gateways = {"default": {"port": 0, "address": "127.0.0.1"}}
        front.gateway = await serve_all(
            f"gateways: {json.dumps(gateways)}\nllm: {json.dumps({'gateways': 'default', 'models': models})}\n"
        )
        front.url = front.gateway.url
        yield front


def clients(sdks: tuple[Any, ...]) -> Any:
    @pytest_asyncio.fixture(loop_scope="module", params=sdks, ids=lambda sdk: sdk.__name__)
    async def opened(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
        front.play("text")
        client = connect(request.param, front.url)
        yield client
        await closed(client)

    return opened


oai = clients(OPENAI)
ant = clients(ANTHROPIC)
either_vendor = pytest.mark.parametrize("model", VENDORS)


class Person(BaseModel):
    name: str
    age: int


# --- OpenAI's client -------------------------------------------------------------------------------------------------


@either_vendor
async def test_openai_chat(front: Front, oai: Any, model: str) -> None:
    answer = await result(oai, lambda: oai.chat.completions.create(model=model, messages=USER, user="ada"))
    assert answer.object == "chat.completion" and answer.id and answer.model.startswith(model)
    assert answer.choices[0].message.content == HELLO
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (120, 9, 129)
    assert usage.prompt_tokens_details.cached_tokens == 64


@either_vendor
async def test_openai_stream_with_usage(front: Front, oai: Any, model: str) -> None:
    chunks = await events(
        oai,
        lambda: oai.chat.completions.create(
            model=model, messages=USER, stream=True, stream_options={"include_usage": True}
        ),
    )
    *spoken, last = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in spoken) == HELLO
    assert [chunk.choices[0].finish_reason for chunk in spoken][-1] == "stop"
    assert last.choices == [] and (last.usage.prompt_tokens, last.usage.completion_tokens) == (120, 9)
    assert last.usage.prompt_tokens_details.cached_tokens == 64
    assert len({chunk.id for chunk in chunks}) == 1


async def test_openai_stream_of_the_other_vendor_has_no_usage_unasked(front: Front, oai: Any) -> None:
    chunks = await events(
        oai, lambda: oai.chat.completions.create(model="claude-haiku-4-5", messages=USER, stream=True)
    )
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@either_vendor
async def test_openai_parallel_tools(front: Front, oai: Any, model: str) -> None:
    front.play("parallel-tools")
    answer = await result(
        oai, lambda: oai.chat.completions.create(model=model, messages=USER, tools=FUNCTIONS, tool_choice="auto")
    )
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and message.content == "I ask both."
    assert [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls] == ARGUMENTS
    front.play("text")
    history = [
        *USER,
        message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in message.tool_calls),
    ]
    after = await result(oai, lambda: oai.chat.completions.create(model=model, messages=history, tools=FUNCTIONS))
    assert after.choices[0].message.content == HELLO


@either_vendor
async def test_openai_streamed_tool_arguments(front: Front, oai: Any, model: str) -> None:
    front.play("parallel-tools")
    heard, final = await told(
        oai,
        lambda: oai.chat.completions.stream(
            model=model, messages=USER, tools=FUNCTIONS, stream_options={"include_usage": True}
        ),
        "get_final_completion",
    )
    done = [event for event in heard if event.type == "tool_calls.function.arguments.done"]
    assert [(event.name, json.loads(event.arguments)) for event in done] == ARGUMENTS
    message = final.choices[0].message
    assert [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls] == ARGUMENTS
    assert (message.content, final.choices[0].finish_reason) == ("I ask both.", "tool_calls")
    assert final.usage.total_tokens == 190


@either_vendor
async def test_openai_structured_output(front: Front, oai: Any, model: str) -> None:
    front.play("structured-output")
    answer = await result(oai, lambda: oai.chat.completions.parse(model=model, messages=USER, response_format=Person))
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)
    assert "Person" in front.received.body.decode() or model.startswith("claude")


@pytest.mark.parametrize("model", ["local-r1", "claude-haiku-4-5"])
async def test_openai_sees_thoughts_as_vendors_of_open_models_show_them(front: Front, oai: Any, model: str) -> None:
    front.play("reasoning")
    answer = await result(
        oai,
        lambda: oai.chat.completions.create(
            model=model, messages=USER, reasoning_effort="high", max_completion_tokens=8000
        ),
    )
    assert answer.choices[0].message.reasoning_content == "The user wrote 4 words. I shall answer."
    assert answer.usage.completion_tokens_details.reasoning_tokens == 22


async def test_openai_hands_thoughts_back_with_their_signatures(front: Front, oai: Any) -> None:
    """What a client keeps of an answer is what it got: `model_dump`, as agents do."""
    front.play("reasoning")
    asked: Any = {"model": "claude-haiku-4-5", "reasoning_effort": "low", "max_completion_tokens": 8000}
    answer = await result(oai, lambda: oai.chat.completions.create(messages=USER, **asked))
    front.play("text")
    said = answer.choices[0].message.model_dump(exclude_none=True)
    history = [*USER, said, {"role": "user", "content": "Why?"}]
    await result(oai, lambda: oai.chat.completions.create(messages=history, **asked))
    thought, text = front.received.json()["messages"][1]["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", "The user wrote 4 words. I shall answer.")
    assert thought["signature"].startswith("EqQB")
    assert text["text"] == "42, of course."


@pytest.mark.parametrize("model", ["demo", "claude-demo"])
async def test_openai_pictures_and_files(front: Front, oai: Any, model: str) -> None:
    content: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/ada.jpg"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    ]
    answer = await result(
        oai, lambda: oai.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    )
    assert answer.choices[0].message.content == (
        f"You said: What is this? [image: image/png, {len(PIXEL)} characters] "
        f"[image: https://pictures.example/ada.jpg] [document: application/pdf, {len(PDF)} characters]"
    )


# --- Anthropic's client ----------------------------------------------------------------------------------------------


@either_vendor
async def test_anthropic_message(front: Front, ant: Any, model: str) -> None:
    answer = await result(ant, lambda: ant.messages.create(model=model, max_tokens=300, messages=USER))
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert answer.id and answer.model.startswith(model)
    assert [block.text for block in answer.content] == [HELLO]
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (40, 64, 9)
    assert usage.cache_creation_input_tokens == 16


@either_vendor
async def test_anthropic_raw_stream(front: Front, ant: Any, model: str) -> None:
    heard = await events(ant, lambda: ant.messages.create(model=model, max_tokens=300, messages=USER, stream=True))
    assert [heard[0].type, *[event.type for event in heard[-2:]]] == ["message_start", "message_delta", "message_stop"]
    deltas = [event.delta.text for event in heard if event.type == "content_block_delta"]
    assert "".join(deltas) == HELLO and len(deltas) > 1
    assert heard[-2].usage.output_tokens == 9


@either_vendor
async def test_anthropic_stream_helper(front: Front, ant: Any, model: str) -> None:
    heard, final = await told(
        ant, lambda: ant.messages.stream(model=model, max_tokens=300, messages=USER), "get_final_message"
    )
    assert "".join(event.text for event in heard if event.type == "text") == HELLO
    assert [block.text for block in final.content] == [HELLO]
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 9)
    assert final.usage.cache_read_input_tokens == 64


@either_vendor
async def test_anthropic_parallel_tools(front: Front, ant: Any, model: str) -> None:
    front.play("parallel-tools")
    answer = await result(ant, lambda: ant.messages.create(model=model, max_tokens=300, messages=USER, tools=TOOLS))
    text, *calls = answer.content
    assert (text.text, answer.stop_reason) == ("I ask both.", "tool_use")
    assert [(call.name, call.input) for call in calls] == ARGUMENTS
    front.play("text")
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "fine"} for call in calls]
    history = [*USER, {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    after = await result(ant, lambda: ant.messages.create(model=model, max_tokens=300, messages=history, tools=TOOLS))
    assert after.content[0].text == HELLO


@either_vendor
async def test_anthropic_streamed_tool_arguments(front: Front, ant: Any, model: str) -> None:
    front.play("parallel-tools")
    heard, final = await told(
        ant,
        lambda: ant.messages.stream(model=model, max_tokens=300, messages=USER, tools=TOOLS),
        "get_final_message",
    )
    assert len([event for event in heard if event.type == "input_json"]) > 2
    assert [(block.name, block.input) for block in final.content[1:]] == ARGUMENTS
    assert final.stop_reason == "tool_use"


@pytest.mark.parametrize("model", ["local-r1", "claude-haiku-4-5"])
async def test_anthropic_thinking(front: Front, ant: Any, model: str) -> None:
    front.play("reasoning")
    asked: Any = {"max_tokens": 8000, "messages": USER, "thinking": {"type": "enabled", "budget_tokens": 4096}}
    answer = await result(ant, lambda: ant.messages.create(model=model, **asked))
    _, final = await told(ant, lambda: ant.messages.stream(model=model, **asked), "get_final_message")
    for message in (answer, final):
        thought, text = message.content
        assert thought.thinking == "The user wrote 4 words. I shall answer."
        assert bool(thought.signature) is model.startswith("claude")
        assert text.text == "42, of course."


@pytest.mark.parametrize("model", ["demo", "claude-demo"])
async def test_anthropic_pictures_and_documents(front: Front, ant: Any, model: str) -> None:
    content: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/ada.jpg"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    ]
    answer = await result(
        ant,
        lambda: ant.messages.create(model=model, max_tokens=300, messages=[{"role": "user", "content": content}]),
    )
    assert answer.content[0].text == (
        f"You said: What is this? [image: image/png, {len(PIXEL)} characters] "
        f"[image: https://pictures.example/ada.jpg] [document: application/pdf, {len(PDF)} characters]"
    )


# --- what passes ----------------------------------------------------------------------------------------------------


async def test_openai_bytes_pass_where_nothing_has_to_change(front: Front, oai: Any) -> None:
    """Fields that nobody knows survive, both ways, to the byte."""
    said = (
        b'{"id": "c", "object":"chat.completion","created":1,"model":"gpt-9", "choices":[], "news": {"b":1, "a": 1.50}}'
    )
    front.play(lambda request: reply(200, said))
    raw = await result(
        oai,
        lambda: oai.chat.completions.with_raw_response.create(
            model="gpt-9", messages=USER, extra_body={"of_tomorrow": {"z": [1.50, "ü"], "a": None}}
        ),
    )
    assert front.received.body == raw.http_request.content
    assert b'"of_tomorrow"' in front.received.body
    assert raw.content == said
    assert raw.parse().news == {"b": 1, "a": 1.5}


async def test_anthropic_bytes_pass_where_nothing_has_to_change(front: Front, ant: Any) -> None:
    said = (
        b'{"id":"m","type":"message","role":"assistant","model":"claude-9","content":[{"type":"dream", "of":"sheep"}],'
    )
    said += b'"stop_reason":"tired", "usage":{"input_tokens":1,"output_tokens":1,"dreams":2}}'
    front.play(lambda request: reply(200, said))
    raw = await result(
        ant,
        lambda: ant.messages.with_raw_response.create(
            model="claude-9", max_tokens=5, messages=USER, extra_body={"of_tomorrow": {"z": [1.50, "ü"]}}
        ),
    )
    assert front.received.body == raw.http_request.content
    assert b'"of_tomorrow"' in front.received.body
    assert raw.http_response.content == said


@pytest.mark.parametrize("sdk", ANTHROPIC, ids=lambda sdk: sdk.__name__)
@pytest.mark.parametrize("connected", [connect, old_style])
async def test_anthropic_keys_old_and_new_reach_the_vendor_where_it_wants_them(
    front: Front, sdk: Any, connected: Any
) -> None:
    front.play("text")
    client = connected(sdk, front.url, "sk-ant-own")
    await result(client, lambda: client.messages.create(model="claude-haiku-4-5", max_tokens=5, messages=USER))
    await closed(client)
    assert front.received.headers["x-api-key"] == "sk-ant-own"
    assert "authorization" not in front.received.headers
    assert front.received.headers["anthropic-version"] == "2023-06-01"


# --- listings --------------------------------------------------------------------------------------------------------


async def test_openai_models(front: Front, oai: Any) -> None:
    listed = await events(oai, lambda: oai.models.list())
    assert [(model.id, model.object) for model in listed] == [("demo", "model"), ("claude-demo", "model")]
    found = await result(oai, lambda: oai.models.retrieve("claude-demo"))
    assert (found.id, found.object, found.owned_by) == ("claude-demo", "model", "agentgateway") and found.created


async def test_anthropic_models(front: Front, ant: Any) -> None:
    listed = await events(ant, lambda: ant.models.list())
    assert [(model.id, model.type) for model in listed] == [("demo", "model"), ("claude-demo", "model")]
    found = await result(ant, lambda: ant.models.retrieve("claude-demo"))
    assert (found.id, found.type, found.display_name) == ("claude-demo", "model", "claude-demo")
    assert found.created_at.year >= 2026


# --- leaving ---------------------------------------------------------------------------------------------------------

DELTA = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-endless"}


async def endless() -> AsyncIterator[bytes]:
    yield stream_head()
    choice = {"index": 0, "delta": {"role": "assistant", "content": "and so on "}, "finish_reason": None}
    while True:
        yield chunk(b"data: " + json.dumps(DELTA | {"choices": [choice]}).encode() + b"\n\n")
        await asyncio.sleep(0.005)


async def leave_after(client: Any, most: int, ask: Callable[[], Any]) -> None:
    """Read some events of a stream, and close it."""
    if isinstance(client, (OPENAI[1], ANTHROPIC[1])):
        async with await ask() as stream:
            async for _ in stream:
                if not (most := most - 1):
                    return

    def read() -> None:
        left = most
        with ask() as stream:
            for _ in stream:
                if not (left := left - 1):
                    return

    await asyncio.to_thread(read)


async def test_a_client_that_leaves_closes_the_upstream_and_is_counted(front: Front, oai: Any) -> None:
    front.play(lambda request: endless())
    model = f"gpt-endless-{type(oai).__name__}"
    await leave_after(oai, 10, lambda: oai.chat.completions.create(model=model, messages=USER, stream=True))
    async with asyncio.timeout(5):
        await front.upstream.gone.wait()
    check_left(await front.gateway.logged(model))


async def test_a_client_of_the_other_dialect_that_leaves_too(front: Front, ant: Any) -> None:
    front.play(lambda request: endless())
    model = f"gpt-endless-{type(ant).__name__}"
    await leave_after(ant, 10, lambda: ant.messages.create(model=model, max_tokens=300, messages=USER, stream=True))
    async with asyncio.timeout(5):
        await front.upstream.gone.wait()
    check_left(await front.gateway.logged(model))


def check_left(line: str) -> None:
    assert "gen_ai.usage.estimated=" in line
    assert "client disconnected" in line
    output = int(line.partition("gen_ai.usage.output_tokens=")[2].split()[0])
    assert output >= 10


async def test_a_client_that_stops_reading_at_the_last_event_is_counted_in_full(front: Front, oai: Any) -> None:
    """OpenAI's client closes the connection on `[DONE]`, before the end of the body: nothing is to be estimated."""

    async def slow_end() -> AsyncIterator[bytes]:
        head, body = streamed(("completions",), "text")
        yield head + chunk(body)
        await asyncio.sleep(0.2)
        yield LAST

    front.play(lambda request: slow_end())
    model = f"gpt-done-{type(oai).__name__}"
    await events(oai, lambda: oai.chat.completions.create(model=model, messages=USER, stream=True))
    line = await front.gateway.logged(model)
    assert "gen_ai.usage.output_tokens=9" in line and "estimated" not in line
