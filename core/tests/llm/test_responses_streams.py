"""Streams of OpenAI's responses, as its pages show them, for clients of the other dialects; and theirs for its own.

`golden/responses/<name>.in.sse` comes from the upstream, `<name>.<dialect>.sse` is what a client gets, and
`from_<name>.sse` what a client of this dialect gets of the stream `<name>.in.sse` of another vendor. Ids that the
gateway makes are numbered there, and times are zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json

from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser
from agentgateway.llm.streams import EventRewriter, Translator
from agentgateway.llm.usage import UsageMeter

GOLDEN = Path(__file__).parent / "golden"
FOLDER = GOLDEN / "responses"
NAMES = sorted(path.name.removesuffix(".in.sse") for path in FOLDER.glob("*.in.sse"))
OTHERS = sorted(path.name.removesuffix(".in.sse") for path in GOLDEN.glob("*.in.sse"))
BROKEN = {"failed": 502, "limited": 429, "truncated": 502}
TOLD = {"anthropic_overloaded": 529, "anthropic_truncated": 502, "openai_error": 502}
DIALECTS = ("completions", "messages")
Read = Callable[..., LlmCall]
Judges = Mapping[str, Callable[[bytes], None]]
Cuts = Callable[[bytes], list[int]]
MADE = re.compile(rb"\b(?:msg|fc|rs|resp)_[0-9a-f]{32}\b")


def source(name: str) -> bytes:
    return (FOLDER / f"{name}.in.sse").read_bytes()


def timeless(stream: bytes) -> str:
    """Without what differs each time."""
    ids: dict[bytes, bytes] = {}
    numbered = MADE.sub(lambda found: ids.setdefault(found[0], b"made_%d" % len(ids)), stream)
    return re.sub(rb'"created(_at)?":\d+', rb'"created\1":0', numbered).decode()


def wanted(name: str) -> str:
    return (FOLDER / f"{name}.sse").read_text()


@pytest.fixture
def translator(responses: Dialect, completions: Dialect, messages: Dialect, read: Read) -> Callable[[str], Translator]:
    def make(to: str) -> Translator:
        if to == "completions":
            call = read("completions", stream=True, stream_options={"include_usage": True})
            return Translator(responses, completions, call)
        return Translator(responses, messages, read("messages", stream=True))

    return make


@pytest.mark.parametrize("to", DIALECTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_translated(
    name: str, to: str, translator: Callable[[str], Translator], accepts_stream: Judges
) -> None:
    one = translator(to)
    out = one.feed(source(name)) + one.end()
    assert timeless(out) == wanted(f"{name}.{to}")
    accepts_stream[to](out)
    assert (one.failed and one.failed.status) == BROKEN.get(name)


@pytest.mark.parametrize("to", DIALECTS)
@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_where_chunks_end(
    name: str, to: str, translator: Callable[[str], Translator], cuts: Cuts
) -> None:
    stream = source(name)
    expected = wanted(f"{name}.{to}")
    for cut in cuts(stream):
        one = translator(to)
        assert timeless(one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.end()) == expected, cut


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends", [b"\r\n", b"\r"])
def test_it_does_not_matter_how_lines_end(name: str, ends: bytes, translator: Callable[[str], Translator]) -> None:
    one, stream = translator("messages"), source(name).replace(b"\n", ends)
    out = b"".join(one.feed(stream[i : i + 1]) for i in range(len(stream))) + one.end()
    assert timeless(out) == wanted(f"{name}.messages")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BROKEN])
@pytest.mark.parametrize("to", DIALECTS)
def test_an_upstream_that_dies_is_reported_in_the_clients_words(
    name: str, to: str, translator: Callable[[str], Translator], accepts_stream: Judges
) -> None:
    one, stream = translator(to), source(name)
    first = stream.index(b"\n\n") + 2
    out = one.feed(stream[:first]) + one.fail(ErrorFacts(502, "the upstream failed"))
    accepts_stream[to](out)
    assert b"the upstream failed" in out
    assert one.end() == one.fail(ErrorFacts(502, "again")) == b""


# what its own clients get


@pytest.fixture
def to_responses(responses: Dialect, completions: Dialect, messages: Dialect, read: Read) -> Callable[..., Translator]:
    def make(name: str) -> Translator:
        vendor = messages if name.startswith("anthropic") else completions
        return Translator(vendor, responses, read("responses", stream=True))

    return make


@pytest.mark.parametrize("name", OTHERS)
def test_another_vendors_stream_is_translated(
    name: str, to_responses: Callable[[str], Translator], accepts_stream: Judges
) -> None:
    one = to_responses(name)
    out = one.feed((GOLDEN / f"{name}.in.sse").read_bytes()) + one.end()
    assert timeless(out) == wanted(f"from_{name}")
    accepts_stream["responses"](out)
    assert (one.failed and one.failed.status) == TOLD.get(name)


@pytest.mark.parametrize("name", OTHERS)
def test_its_chunks_may_end_anywhere(name: str, to_responses: Callable[[str], Translator], cuts: Cuts) -> None:
    stream, expected = (GOLDEN / f"{name}.in.sse").read_bytes(), wanted(f"from_{name}")
    for cut in cuts(stream):
        one = to_responses(name)
        assert timeless(one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.end()) == expected, cut


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in TOLD])
def test_a_vendor_that_dies_ends_the_stream_with_an_error_and_a_failed_response(
    name: str, to_responses: Callable[[str], Translator], accepts_stream: Judges
) -> None:
    one, stream = to_responses(name), (GOLDEN / f"{name}.in.sse").read_bytes()
    out = one.feed(stream[: len(stream) // 2]) + one.fail(ErrorFacts(502, "the upstream failed", code="upstream_error"))
    accepts_stream["responses"](out)
    error, failed = Parser().feed(out)[-2:]
    assert error.document and failed.document
    assert error.document["error"]["message"] == error.document["message"] == "the upstream failed"
    assert error.document["error"]["code"] == error.document["code"] == "upstream_error"
    assert failed.document["response"]["error"] == {"code": "server_error", "message": "the upstream failed"}
    assert one.end() == one.fail(ErrorFacts(502, "again")) == b""


def test_an_error_can_be_told_in_a_stream_that_somebody_else_began(responses: Dialect, accepts_stream: Judges) -> None:
    out = responses.encoder().fail(ErrorFacts(403, "blocked", code="guard_rejected"))
    accepts_stream["responses"](out)
    assert responses.decoder().feed(Parser().feed(out)[0]) != []


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in TOLD])
def test_what_was_streamed_is_what_the_response_holds_in_the_end(
    name: str, to_responses: Callable[[str], Translator], responses: Dialect
) -> None:
    """Read as pieces or as the last event alone: the same answer."""
    one = to_responses(name)
    events = Parser().feed(one.feed((GOLDEN / f"{name}.in.sse").read_bytes()) + one.end())
    last = responses.decoder()
    told = [repr(delta) for delta in last.feed(events[-1])]
    heard = responses.decoder()
    pieces = [repr(delta) for event in events for delta in heard.feed(event)]
    for shown in (told, pieces):
        assert shown[-1].startswith("Ended")
    assert told[-1] == pieces[-1]

    def said(deltas: list[str]) -> str:
        found = re.findall(r"index=(\d+).*?(?:text|json|signature|data)=(['\"])(.*?)\2", "\n".join(deltas))
        return "".join(words for _, _, words in sorted(found, key=lambda one: int(one[0])))

    assert said(told) == said(pieces)


# usage


COSTS = {
    "text": Usage(37, 11, 16),
    "tools": Usage(291, 46),
    "reasoning": Usage(12, 140, reasoning_tokens=128),
    "refusal": Usage(80, 10),
    "length": Usage(11, 16),
    "searched": Usage(328, 60),
    "failed": Usage(0, 1, estimated=True),
    "limited": Usage(0, 0, estimated=True),
    "truncated": Usage(0, 4, estimated=True),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 40, 100_000])
def test_what_a_stream_cost_is_seen_in_chunks_of_any_size(responses: Dialect, name: str, size: int) -> None:
    meter, stream = UsageMeter(responses), source(name)
    for at in range(0, len(stream), size):
        meter.see(stream[at : at + size])
    assert meter.usage() == COSTS[name]
    assert (meter.model or "").startswith("gpt-")
    assert meter.ended == meter.complete == (name not in BROKEN)
    assert (meter.failure and meter.failure.status) == (BROKEN[name] if name in ("failed", "limited") else None)


def test_a_server_that_writes_done_after_the_end_has_ended(responses: Dialect) -> None:
    meter = UsageMeter(responses)
    meter.see(source("text"))
    meter.see(b"data: [DONE]\n\n")
    assert meter.complete
    assert meter.ended
    assert meter.usage() == COSTS["text"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_only_looked_at_stays_the_same_to_the_byte(name: str, responses: Dialect) -> None:
    stream = source(name)
    for size in (1, 7, 4096):
        rewriter = EventRewriter(lambda event: [event] if responses.event_segments(event) else None)
        out = b"".join(rewriter.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + rewriter.end()
        assert out == stream


# oddities


def read_all(responses: Dialect, *documents: Any) -> list[str]:
    decoder = responses.decoder()
    deltas = [delta for one in documents for delta in decoder.feed(Event(dump(one)))]
    return [repr(delta) for delta in (*deltas, *decoder.end())]


def test_a_server_that_tells_everything_in_the_end_is_heard(responses: Dialect) -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    told = "\n".join(read_all(responses, {"type": "response.completed", "response": {"id": "r", "output": output}}))
    assert "ThinkingDelta(index=0, text='hm')" in told
    assert "TextDelta(index=1, text='hi')" in told
    assert "id='c', name='f'" in told
    assert "stop_reason='tool_use'" in told


def test_a_part_that_comes_only_when_it_is_done_is_heard_once(responses: Dialect) -> None:
    done = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "whole"}
    told = "".join(read_all(responses, done, done, {"type": "response.completed", "response": {}}))
    assert told.count("whole") == 1


def test_arguments_that_come_only_with_their_item_are_heard_once(responses: Dialect) -> None:
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
    told = "".join(
        read_all(
            responses,
            {"type": "response.output_item.added", "output_index": 0, "item": item | {"arguments": ""}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": {"output": [item]}},
        )
    )
    assert told.count('{"a":1}') == 1


def test_a_piece_that_does_not_fit_its_part_breaks_the_stream(responses: Dialect) -> None:
    place = {"output_index": 0, "content_index": 0}
    added = {"type": "response.content_part.added", "part": {"type": "refusal", "refusal": ""}, **place}
    told = read_all(responses, added, {"type": "response.output_text.delta", "delta": "x", **place})
    assert "Failed" in told[-1]


def test_an_event_that_is_no_json_breaks_the_stream(responses: Dialect) -> None:
    (delta,) = responses.decoder().feed(Event(b"{"))
    assert "Failed" in repr(delta)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "server_error", "message": "it broke", "param": None, "sequence_number": 1},
        {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "it broke"}},
        {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "it broke"}}},
    ],
)
def test_errors_are_understood_as_documented_and_as_sent(responses: Dialect, event: Any) -> None:
    (told,) = read_all(responses, event)
    assert "it broke" in told
    assert "code='server_error'" in told


def test_every_golden_stream_is_json_of_its_own_type() -> None:
    for name in NAMES:
        for event in Parser().feed(source(name)):
            assert from_json(event.data or b"")["type"] == event.name
