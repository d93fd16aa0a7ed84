"""Streams that are no server-sent events: cut, metered, translated, guarded and restored by what their dialect says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from agentgateway.errors import GuardRejected, UpstreamError
from agentgateway.exchange import Exchange, Usage
from agentgateway.guarded import guarded
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import LlmCall, LlmReply
from agentgateway.llm.chat import ChatReply, Delta, ErrorFacts, Text, TextDelta, ToolUse
from agentgateway.llm.dialect import StreamEncoder
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.documents import dump
from agentgateway.llm.framed import FramedMeter, meter
from agentgateway.llm.replies import LlmStream
from agentgateway.llm.restoring import restored, restoring
from agentgateway.llm.sse import EVENT_LIMIT, Event
from agentgateway.llm.streams import Translator
from agentgateway.llm.usage import UsageMeter
from agentgateway.testing import chat


class Line(Event):
    def encode(self) -> bytes:
        return line(self.document) if self.changed else self.raw


def line(document: Any) -> bytes:
    """`4:{"a":1}`: a length, a colon, JSON."""
    data = dump(document)
    return b"%d:%b" % (len(data), data)


class Lines:
    """Frames of that kind; a length that is no number cannot be read."""

    def __init__(self, limit: int) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> list[Event]:
        self._held += chunk
        events: list[Event] = []
        while b":" in self._held:
            length, _, rest = self._held.partition(b":")
            if not length.isdigit():
                raise UpstreamError("no frame")
            if len(rest) < int(length):
                break
            data, self._held = rest[: int(length)], rest[int(length) :]
            events.append(Line(data, None, length + b":" + data))
        return events

    @property
    def waiting(self) -> int:
        return len(self._held)

    def end(self) -> list[Event]:
        return []


class Encoder(StreamEncoder):
    def feed(self, delta: Delta) -> bytes:
        return line({"text": delta.text}) if isinstance(delta, TextDelta) else b""

    def end(self) -> bytes:
        return b""

    def fail(self, facts: ErrorFacts) -> bytes:
        return line({"error": facts.message})


class Framed(Completions):
    """Completions in frames, whose model stands in the path and whose tools have short names."""

    name = "framed"
    model_in_path: ClassVar[bool] = True
    stream_content_type: ClassVar[str] = "application/x-frames"

    def parser(self, limit: int = EVENT_LIMIT) -> Lines:
        return Lines(limit)

    def encoder(self, *, include_usage: bool = False) -> Any:
        return Encoder()

    def tool_name(self, name: str) -> str:
        return name[:3]

    def ends(self, event: Event) -> bool:
        return "end" in (event.document or {})

    def event_segments(self, event: Event) -> list[Segment]:
        document = event.document or {}
        if "text" not in document:
            return []

        def put(text: str) -> None:
            document["text"] = text
            event.mark_changed()

        return [Segment("assistant", "messages", "text", document["text"], put)]


HEAD = {"id": "i", "model": "", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}}]}
LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}
STREAM = [line(HEAD), line(LAST), line(USAGE), line({"end": True})]


def exchange(**fields: Any) -> tuple[Exchange, LlmCall]:
    made = chat(speaks="messages", stream=True, **fields)
    assert isinstance(made.call, LlmCall)
    return made, made.call


async def chunks(parts: Sequence[bytes | Exception]) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


async def read(stream: Any) -> bytes:
    return b"".join([chunk async for chunk in stream])


def test_lines_have_the_meter_of_lines_and_frames_one_of_their_own() -> None:
    assert type(meter(Completions())) is UsageMeter
    assert type(meter(Framed())) is FramedMeter


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_usage_is_met_event_by_event(size: int) -> None:
    data, counter = b"".join(STREAM), meter(Framed())
    told = [counter.see(data[i : i + size]) for i in range(0, len(data), size)]
    assert told.count(True) == 1
    assert (counter.ended, counter.complete, counter.failure) == (True, True, None)
    assert counter.usage() == Usage(3, 5)


@pytest.mark.parametrize("size", [1, 5, 10_000])
async def test_a_framed_stream_is_translated_and_names_the_model_that_was_asked(size: int) -> None:
    made, call = exchange()
    data = b"".join(STREAM)
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    out = await read(LlmStream(made, chunks(parts), Framed(), Messages(), call))
    assert b'"text":"Hello"' in out
    assert b'"model":"test-model"' in out
    assert made.usage == Usage(3, 5)


async def test_equal_dialects_pass_frames_and_an_upstream_that_dies_between_them_is_told() -> None:
    made, call = exchange()
    out = await read(LlmStream(made, chunks([*STREAM[:1], UpstreamError("gone")]), Framed(), Framed(), call))
    assert out == STREAM[0] + line({"error": "gone"})
    with pytest.raises(UpstreamError):
        await read(LlmStream(made, chunks([STREAM[0][:-1], UpstreamError("gone")]), Framed(), Framed(), call))


async def test_frames_that_cannot_be_read_break_a_translation_and_pass_otherwise() -> None:
    made, call = exchange()
    out = await read(LlmStream(made, chunks([b"x:{}"]), Framed(), Messages(), call))
    assert b"no frame" in out
    made, call = exchange()
    assert await read(LlmStream(made, chunks([b"x:{}", b"more"]), Framed(), Framed(), call)) == b"x:{}more"
    assert made.usage is not None and made.usage.estimated
    with pytest.raises(UpstreamError, match="gone"):
        await read(LlmStream(made, chunks([b"x:{}", UpstreamError("gone")]), Framed(), Framed(), call))


async def test_guards_work_on_frames() -> None:
    frames = [line({"text": part}) for part in ("Hello ", "Ada", ".")] + [line({"end": True})]

    async def masks(segments: Sequence[Segment]) -> list[str]:
        return [segment.text.replace("Ada", "***") for segment in segments]

    async def blocks(segments: Sequence[Segment]) -> list[str]:
        raise GuardRejected("no")

    def judged(check: Any) -> Any:
        scopes = frozenset({"messages"})
        return guarded(chunks(frames), Framed(), check, lambda *_: None, scopes=scopes, window=8, limit=1000)

    shown = [json.loads(event.data or b"") for event in Lines(0).feed(await read(judged(masks)))]
    assert "".join(one.get("text", "") for one in shown) == "Hello ***."
    assert await read(judged(blocks)) == line({"error": "no"})


def test_tools_are_called_back_by_the_names_the_client_gave_them() -> None:
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    canonical = exchange(tools=tools)[1].canonical()
    reply = ChatReply("i", "", (Text("a"), ToolUse("1", "wea", "{}"), ToolUse("2", "other", "{}")))
    back = restored(reply, Framed(), canonical)
    assert [part.name for part in back.parts if isinstance(part, ToolUse)] == ["weather", "other"]
    assert back.model == "test-model"
    called = {"index": 0, "id": "1", "function": {"name": "wea", "arguments": "{}"}}
    event = {"id": "i", "model": "", "choices": [{"index": 0, "delta": {"tool_calls": [called]}}]}
    out = Translator(Framed(), Messages(), exchange(tools=tools)[1]).feed(line(event))
    assert b'"name":"weather"' in out


def test_a_reply_that_names_its_model_keeps_it() -> None:
    canonical = exchange()[1].canonical()
    assert restored(ChatReply("i", "own", ()), Completions(), canonical).model == "own"
    assert LlmReply(Messages(), {}).translated(Messages(), canonical).document == {}


def test_nothing_is_restored_where_there_is_nothing_to_restore() -> None:
    assert restoring(Completions(), exchange()[1].canonical()) is None


def test_a_model_in_the_path_stays_what_was_asked_last() -> None:
    call = LlmCall(Framed(), {"messages": []}, exchange()[1], raw=b'{"messages": []}')
    call.ask("other")
    assert (call.model, call.changed, call.document) == ("other", False, {"messages": []})
