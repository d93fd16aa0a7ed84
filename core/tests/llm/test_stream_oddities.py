"""Streams as vendors really write them, event by event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.chat import (
    Delta,
    Ended,
    Failed,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolArgumentsDelta,
)
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event
from agentgateway.llm.streams import EventRewriter, Translator

Json = dict[str, Any]


def chunk(finish: str | None = None, **delta: Any) -> Json:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def tool(arguments: str | None = None, **rest: Any) -> Json:
    function = {
        key: value for key, value in (("name", rest.pop("name", None)), ("arguments", arguments)) if value is not None
    }
    return {"function": function, **rest}


def decode(dialect: Dialect, *documents: Json | bytes) -> list[Delta]:
    decoder = dialect.decoder()
    events = [Event(document if isinstance(document, bytes) else dump(document)) for document in documents]
    deltas = [delta for event in events for delta in decoder.feed(event)]
    return [*deltas, *decoder.end()]


def test_every_call_may_come_whole_under_one_index(completions: Dialect) -> None:
    """Google's compatibility layer numbers all of them 0."""
    deltas = decode(
        completions,
        chunk(tool_calls=[tool('{"a":1}', index=0, id="x", name="f")]),
        chunk(tool_calls=[tool('{"b":2}', index=0, id="y", name="g")]),
        chunk("stop"),
        b"[DONE]",
    )
    assert deltas == [
        Started("c", "m"),
        PartStarted(0, "tool_use", "x", "f"),
        ToolArgumentsDelta(0, '{"a":1}'),
        PartEnded(0),
        PartStarted(1, "tool_use", "y", "g"),
        ToolArgumentsDelta(1, '{"b":2}'),
        PartEnded(1),
        Ended("tool_use"),
    ]


def test_an_id_may_be_repeated_or_missing(completions: Dialect) -> None:
    deltas = decode(
        completions,
        chunk(tool_calls=[tool('{"a"', index=0, id="x", name="f")]),
        chunk(tool_calls=[tool(":1}", index=0, id="x", name="f")]),
        chunk(tool_calls=[tool("{}", index=1, name="g")]),
        chunk("tool_calls"),
    )
    starts = [delta for delta in deltas if isinstance(delta, PartStarted)]
    assert [(start.name, bool(start.id)) for start in starts] == [("f", True), ("g", True)]
    assert "".join(d.json for d in deltas if isinstance(d, ToolArgumentsDelta) and d.index == 0) == '{"a":1}'


def test_text_may_follow_a_call_and_thinking_text(completions: Dialect) -> None:
    deltas = decode(
        completions,
        chunk(content="a"),
        chunk(reasoning="b"),
        chunk(content="c"),
        chunk(tool_calls=[tool("{}", index=0, id="x", name="f")]),
        chunk(content="d"),
        chunk("stop"),
        b"[DONE]",
    )
    assert [delta for delta in deltas if not isinstance(delta, Started | Ended)] == [
        PartStarted(0, "text"),
        TextDelta(0, "a"),
        PartEnded(0),
        PartStarted(1, "thinking"),
        ThinkingDelta(1, "b"),
        PartEnded(1),
        PartStarted(2, "text"),
        TextDelta(2, "c"),
        PartEnded(2),
        PartStarted(3, "tool_use", "x", "f"),
        ToolArgumentsDelta(3, "{}"),
        PartStarted(4, "text"),
        TextDelta(4, "d"),
        PartEnded(4),
        PartEnded(3),
    ]


def test_signatures_and_redacted_thinking_come_back(completions: Dialect) -> None:
    deltas = decode(
        completions,
        chunk(reasoning_content="hm"),
        chunk(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "s"}]),
        chunk(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}]),
        chunk("stop", content="Ho"),
        b"[DONE]",
    )
    assert deltas[1:-2] == [
        PartStarted(0, "thinking"),
        ThinkingDelta(0, "hm"),
        SignatureDelta(0, "s"),
        PartEnded(0),
        PartStarted(1, "redacted_thinking", data="x"),
        PartEnded(1),
        PartStarted(2, "text"),
        TextDelta(2, "Ho"),
    ]


def test_content_in_parts(completions: Dialect) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    deltas = decode(completions, chunk(content=[thought]), chunk("stop", content=[{"type": "text", "text": "a"}]))
    assert [delta for delta in deltas if isinstance(delta, ThinkingDelta | TextDelta)] == [
        ThinkingDelta(0, "hm"),
        TextDelta(1, "a"),
    ]


def test_other_choices_and_unknown_fields_are_left_alone(completions: Dialect) -> None:
    other = {"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}
    first = chunk(content="a")
    first["choices"].append(other)
    deltas = decode(completions, first, chunk("stop") | {"x_groq": {"usage": 1}}, {"choices": None}, b"[DONE]")
    assert deltas[-3:] == [TextDelta(0, "a"), PartEnded(0), Ended("stop")]


def test_usage_may_come_before_in_or_after_the_last_chunk(completions: Dialect) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    for stream in (
        (chunk(content="a") | {"usage": usage}, chunk("stop")),
        (chunk("stop", content="a") | {"usage": usage},),
        (chunk("stop", content="a"), {"choices": [], "usage": usage}),
    ):
        assert decode(completions, *stream, b"[DONE]")[-1] == Ended("stop", None, Usage(3, 2))


def test_a_missing_terminator_is_forgiven_a_missing_end_is_not(completions: Dialect, messages: Dialect) -> None:
    assert decode(completions, chunk("stop", content="a"))[-1] == Ended("stop")
    assert isinstance(decode(completions, chunk(content="a"))[-1], Failed)
    assert isinstance(decode(completions, chunk(content="a"), b"[DONE]")[-1], Failed)
    assert isinstance(decode(completions)[-1], Failed)
    start = {"type": "message_start", "message": {"id": "i", "model": "m"}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
    assert decode(messages, start, delta) == [Started("i", "m"), Ended("end_turn" and "stop", None, Usage(0, 2))]
    assert isinstance(decode(messages, start)[-1], Failed)


@pytest.mark.parametrize("data", [b"<html>", b"{", b"[1]", b"null"])
def test_an_event_that_is_no_object_breaks_the_stream(completions: Dialect, messages: Dialect, data: bytes) -> None:
    for dialect in (completions, messages):
        deltas = decode(dialect, data, dump(chunk(content="late")))
        assert [type(delta) for delta in deltas] == [Failed]


def test_an_error_says_its_status_where_it_can(completions: Dialect, messages: Dialect) -> None:
    for code, status in ((429, 429), ("503", 503), ("rate_limit_exceeded", 429), ("odd", 502), (None, 502)):
        (failed,) = decode(completions, {"error": {"message": "no", "code": code}})
        assert isinstance(failed, Failed)
        assert (failed.facts.status, failed.facts.message) == (status, "no")
    for kind, status in (("rate_limit_error", 429), ("overloaded_error", 529), ("api_error", 500), ("odd", 502)):
        (failed,) = decode(messages, {"type": "error", "error": {"type": kind, "message": "no"}})
        assert isinstance(failed, Failed)
        assert (failed.facts.status, failed.facts.message) == (status, "no")


def test_blocks_may_begin_full(messages: Dialect) -> None:
    """Compatible vendors send a tool's whole input, or text, with the block's start."""
    starts: list[Json] = [
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": "b", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        {"type": "server_tool_use", "id": "u", "name": "w", "input": {}},
        {"type": "tool_use", "id": "v", "name": "g", "input": {}},
    ]
    events: list[Json] = []
    for index, block in enumerate(starts):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        if index == 3:
            delta = {"type": "input_json_delta", "partial_json": '{"query":1}'}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    assert decode(messages, {"type": "ping"}, *events, {"type": "news"}, {"type": "message_stop"}) == [
        PartStarted(0, "text"),
        TextDelta(0, "a"),
        PartEnded(0),
        PartStarted(1, "thinking"),
        ThinkingDelta(1, "b"),
        SignatureDelta(1, "s"),
        PartEnded(1),
        PartStarted(2, "tool_use", "t", "f"),
        ToolArgumentsDelta(2, '{"x":1}'),
        PartEnded(2),
        PartStarted(3, "tool_use", "v", "g"),
        PartEnded(3),
        Ended("tool_use"),
    ]


def test_a_delta_that_does_not_fit_its_block_breaks_the_stream(messages: Dialect) -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    citation = {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {}}}
    deltas = decode(messages, start, citation, delta, {"type": "message_stop"})
    assert deltas[0] == PartStarted(0, "text")
    assert [type(one) for one in deltas[1:]] == [Failed]


def test_a_block_that_begins_again_ends_the_one_before(messages: Dialect) -> None:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}}
    deltas = decode(messages, start, start, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    assert [type(one) for one in deltas] == [
        PartStarted,
        TextDelta,
        PartEnded,
        PartStarted,
        TextDelta,
        PartEnded,
        Ended,
    ]


def test_arguments_survive_both_ways_whatever_their_portions(
    completions: Dialect, messages: Dialect, read: Callable[..., LlmCall], accepts_stream: Mapping[str, Any]
) -> None:
    """litellm#29491, #25561: works whole, comes out empty when streamed."""
    arguments = ['{"city": "Paris", "days": [1, 2]}', "{}", '{"note": "a \\"b\\" é"}']
    deltas: list[Delta] = [Started("i", "m")]
    for index, text in enumerate(arguments):
        deltas.append(PartStarted(index, "tool_use", f"t{index}", "f"))
        deltas += [ToolArgumentsDelta(index, text[at : at + 3]) for at in range(0, len(text), 3) if text != "{}"]
        deltas.append(PartEnded(index))
    deltas.append(Ended("tool_use", None, Usage(1, 1)))
    for source, target, call in (
        (completions, messages, read("messages", stream=True)),
        (messages, completions, read("completions", stream=True)),
    ):
        encoder = source.encoder(include_usage=True)
        translator = Translator(source, target, call)
        out = b"".join(translator.feed(encoder.feed(delta)) for delta in deltas) + translator.end()
        accepts_stream[target.name](out)
        found: dict[int, str] = {}
        seen = target.decoder()
        parser_events = []
        EventRewriter(parser_events.append).feed(out)
        for event in parser_events:
            for delta in seen.feed(event):
                if isinstance(delta, PartStarted):
                    found[delta.index] = ""
                elif isinstance(delta, ToolArgumentsDelta):
                    found[delta.index] += delta.json
        assert [text or "{}" for text in found.values()] == arguments


def test_a_client_that_wants_no_usage_gets_none(messages: Dialect, completions: Dialect, read: Any) -> None:
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"i","model":"m","usage":{}}}\n\n'
    end = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n'
    for wants, options in ((False, {}), (True, {"stream_options": {"include_usage": True}})):
        translator = Translator(messages, completions, read("completions", stream=True, **options))
        out = translator.feed(start + end) + translator.end()
        assert (b'"usage"' in out) == wants
        assert out.endswith(b"data: [DONE]\n\n")


def test_an_event_beyond_the_limit_breaks_the_stream(messages: Dialect, completions: Dialect, read: Any) -> None:
    translator = Translator(completions, messages, read("messages", stream=True), limit=1000)
    with pytest.raises(UpstreamError):
        translator.feed(b"data: " + b"x" * 2000)


def test_an_edit_may_hold_replace_and_drop_events() -> None:
    held: list[Event] = []

    def edit(event: Event) -> list[Event] | None:
        if event.data == b"hold":
            held.append(event)
            return []
        if event.data == b"double":
            return [event, Event.of({"made": "here"})]
        return None

    rewriter = EventRewriter(edit, lambda: held)
    out = rewriter.feed(b"data: hold\n\ndata: double\n\ndata:  same\r\n\r\n") + rewriter.end()
    assert out == b'data: double\n\ndata: {"made":"here"}\n\ndata:  same\r\n\r\ndata: hold\n\n'
