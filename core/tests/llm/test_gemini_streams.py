"""Streams of Google's format, as its documentation shows them, for clients of the other dialects; and theirs for its.

`golden/gemini/<name>.in.sse` comes from the upstream, `<name>.<dialect>.sse` is what a client gets. Times are zero
there: Google's streams tell none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.genai import types

from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser
from agentgateway.llm.streams import EventRewriter, Translator
from agentgateway.llm.usage import UsageMeter

GOLDEN = Path(__file__).parent / "golden"
FOLDER = GOLDEN / "gemini"
NAMES = sorted(path.name.removesuffix(".in.sse") for path in FOLDER.glob("*.in.sse"))
BROKEN = {"overloaded": 503, "truncated": 502, "malformed": 502}
OTHERS = ("completions", "messages")
Read = Callable[..., LlmCall]


def source(name: str) -> bytes:
    return (FOLDER / f"{name}.in.sse").read_bytes()


@pytest.fixture
def translator(gemini: Dialect, completions: Dialect, messages: Dialect, read: Read) -> Callable[[str], Translator]:
    def make(to: str) -> Translator:
        if to == "completions":
            call = read("completions", stream=True, stream_options={"include_usage": True})
            return Translator(gemini, completions, call)
        return Translator(gemini, messages, read("messages", stream=True))

    return make


def timeless(stream: bytes) -> str:
    return re.sub(rb'"created":\d+', b'"created":0', stream).decode()


def wanted(name: str, to: str) -> str:
    return (FOLDER / f"{name}.{to}.sse").read_text()


@pytest.mark.parametrize("to", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_translated(
    name: str, to: str, translator: Callable[[str], Translator], accepts_stream: Mapping[str, Callable[[bytes], None]]
) -> None:
    one = translator(to)
    out = one.feed(source(name)) + one.end()
    assert timeless(out) == wanted(name, to)
    accepts_stream[to](out)
    assert (one.failed and one.failed.status) == BROKEN.get(name)


@pytest.mark.parametrize("to", OTHERS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends", [b"\r\n", b"\n", b"\r"])
def test_it_does_not_matter_where_chunks_and_lines_end(
    name: str, to: str, ends: bytes, translator: Callable[[str], Translator], cuts: Callable[[bytes], list[int]]
) -> None:
    stream = source(name).replace(b"\r\n", ends)
    expected = wanted(name, to)
    for cut in cuts(stream):
        one = translator(to)
        assert timeless(one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.end()) == expected, cut


@pytest.mark.parametrize("to", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_byte_by_byte_is_as_good_as_whole(name: str, to: str, translator: Callable[[str], Translator]) -> None:
    one, stream = translator(to), source(name)
    out = b"".join(one.feed(stream[i : i + 1]) for i in range(len(stream))) + one.end()
    assert timeless(out) == wanted(name, to)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BROKEN])
@pytest.mark.parametrize("to", OTHERS)
def test_an_upstream_that_dies_is_reported_in_the_clients_words(
    name: str, to: str, translator: Callable[[str], Translator], accepts_stream: Mapping[str, Callable[[bytes], None]]
) -> None:
    one, stream = translator(to), source(name)
    first = stream.index(b"\r\n\r\n") + 4
    out = one.feed(stream[:first]) + one.fail(ErrorFacts(502, "the upstream failed"))
    accepts_stream[to](out)
    assert b"the upstream failed" in out
    assert one.end() == one.fail(ErrorFacts(502, "again")) == b""


COSTS = {
    "text": Usage(8, 5, 4),
    "thinking": Usage(20, 148, reasoning_tokens=141),
    "tools": Usage(90, 60, reasoning_tokens=30),
    "hidden": Usage(38, 9),
    "blocked": Usage(12, 0),
    "length": Usage(11, 3),
    "safety": Usage(12, 3),
    "malformed": Usage(8, 0),
    "overloaded": Usage(8, 2, estimated=True),
    "truncated": Usage(8, 2, estimated=True),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 7, 40, 100_000])
def test_what_a_stream_cost_is_seen_in_chunks_of_any_size(gemini: Dialect, name: str, size: int) -> None:
    meter, stream = UsageMeter(gemini), source(name)
    for at in range(0, len(stream), size):
        meter.see(stream[at : at + size])
    assert meter.usage() == COSTS[name]
    assert (meter.model or "").startswith("gemini-")
    assert meter.ended == meter.complete == (name not in ("overloaded", "truncated"))
    assert (meter.failure is not None) == (name == "overloaded")


def test_a_stream_that_breaks_off_after_counting_is_estimated_from_there(gemini: Dialect) -> None:
    meter = UsageMeter(gemini)
    meter.see(source("thinking")[: source("thinking").index(b"21.")])
    assert meter.usage() == Usage(20, 146, reasoning_tokens=141, estimated=True)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_only_looked_at_stays_the_same_to_the_byte(name: str, gemini: Dialect) -> None:
    stream = source(name)
    for size in (1, 7, 4096):
        rewriter = EventRewriter(lambda event: [event] if gemini.event_segments(event) else None)
        out = b"".join(rewriter.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + rewriter.end()
        assert out == stream


# what its own clients get


def events(stream: bytes) -> list[Any]:
    """The events, each as the SDK's own types hold it."""
    parser = Parser()
    found = [event.document for event in parser.feed(stream)]
    assert not parser.end()
    for document in found:
        assert document is not None
        if "error" not in document:
            types.GenerateContentResponse.model_validate(document, strict=False)
    return found


def parts(found: list[Any]) -> list[Any]:
    return [part for one in found if "candidates" in one for part in one["candidates"][0]["content"]["parts"]]


def to_gemini(name: str, gemini: Dialect, vendor: Dialect) -> tuple[list[Any], Translator]:
    call = LlmCall.read(gemini, b'{"contents":[]}', "/v1beta/models/m:streamGenerateContent")
    one = Translator(vendor, gemini, call)
    return events(one.feed((GOLDEN / f"{name}.in.sse").read_bytes()) + one.end()), one


def test_a_text_for_a_client_of_google(gemini: Dialect, completions: Dialect) -> None:
    found, _ = to_gemini("openai_text", gemini, completions)
    assert "".join(part["text"] for part in parts(found)) == "Hello été"
    assert [one["candidates"][0].get("finishReason") for one in found] == [*[None] * (len(found) - 1), "STOP"]
    assert found[-1]["usageMetadata"]["totalTokenCount"] > 0
    assert len({one["responseId"] for one in found}) == 1


def test_calls_of_tools_are_whole_for_a_client_of_google(gemini: Dialect, completions: Dialect) -> None:
    found, _ = to_gemini("openai_interleaved_tools", gemini, completions)
    calls = [part["functionCall"] for part in parts(found) if "functionCall" in part]
    assert [(call["name"], call["args"]) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Rome"}),
        ("get_time", {}),
    ]
    assert len({call["id"] for call in calls}) == 3


def test_a_signature_stands_on_the_part_after_its_thought(gemini: Dialect, messages: Dialect) -> None:
    """https://ai.google.dev/gemini-api/docs/thought-signatures"""
    found, _ = to_gemini("anthropic_thinking", gemini, messages)
    told = parts(found)
    first = next(i for i, part in enumerate(told) if "thoughtSignature" in part)
    assert all(part.get("thought") for part in told[:first])
    assert "".join(part["text"] for part in told[:first]) == "I need to find the GCD of 1071 and 462."


@pytest.mark.parametrize(
    ("name", "status"), [("anthropic_overloaded", 529), ("anthropic_truncated", 502), ("openai_error", 502)]
)
def test_a_broken_stream_ends_with_googles_error(
    name: str, status: int, gemini: Dialect, messages: Dialect, completions: Dialect
) -> None:
    found, one = to_gemini(name, gemini, messages if name.startswith("anthropic") else completions)
    assert found[-1]["error"]["code"] == status
    assert found[-1]["error"]["status"] in ("UNAVAILABLE", "INTERNAL")
    assert one.failed is not None
    assert one.fail(ErrorFacts(502, "again")) == b""


@pytest.mark.parametrize("name", ["openai_text", "openai_interleaved_tools", "openai_reasoning", "anthropic_thinking"])
def test_what_a_client_of_google_sends_back_is_what_the_vendor_had_said(
    name: str, gemini: Dialect, messages: Dialect, completions: Dialect
) -> None:
    """A client glues the parts of a stream into its next call: the vendor gets its own words, and signatures, back."""
    vendor = messages if name.startswith("anthropic") else completions
    found, _ = to_gemini(name, gemini, vendor)
    contents = [{"role": "model", "parts": parts(found)}]
    call = LlmCall.read(gemini, dump({"contents": contents}), "/v1beta/models/m:generateContent")
    (said,) = call.translated(vendor).document["messages"]
    if name == "anthropic_thinking":
        thinking, withheld, text = said["content"]
        assert (thinking["thinking"], thinking["signature"][:4]) == ("I need to find the GCD of 1071 and 462.", "EqQB")
        assert withheld == {"type": "redacted_thinking", "data": withheld["data"]}
        assert text == {"type": "text", "text": "The GCD is 21."}
    elif name == "openai_text":
        assert said["content"] == "Hello été"
    elif name == "openai_reasoning":
        assert (said["reasoning_content"], said["content"]) == ("We must add.", "4")
    else:
        assert [call["function"]["arguments"] for call in said["tool_calls"]] == [
            '{"city":"Paris"}',
            '{"city":"Rome"}',
            "{}",
        ]


# oddities


def read_all(gemini: Dialect, *documents: Any) -> list[str]:
    decoder = gemini.decoder()
    deltas = [delta for one in documents for delta in decoder.feed(Event(dump(one)))]
    return [repr(delta) for delta in (*deltas, *decoder.end())]


def candidate(*said: Any, **more: Any) -> Any:
    return {"candidates": [{"content": {"parts": list(said)}, **more}]}


def test_calls_without_ids_get_one_each(gemini: Dialect) -> None:
    call = {"functionCall": {"name": "f"}}
    told = "\n".join(read_all(gemini, candidate(call, call, finishReason="STOP")))
    identities = re.findall("id='(call_[0-9a-f]{24})'", told)
    assert len(set(identities)) == 2
    assert told.count("json='{}'") == 2
    assert "stop_reason='tool_use'" in told


def test_only_the_first_candidate_is_told(gemini: Dialect) -> None:
    second = {"content": {"parts": [{"text": "no"}]}, "index": 1, "finishReason": "STOP"}
    document = candidate({"text": "yes"}, index=0, finishReason="STOP")
    document["candidates"].append(second)
    told = "".join(read_all(gemini, document))
    assert "yes" in told
    assert "no'" not in told


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}], "willContinue": True}},
    ],
)
def test_what_no_client_could_be_told_breaks_the_stream(gemini: Dialect, part: Any) -> None:
    told = read_all(gemini, candidate(part))
    assert "Failed" in told[-1]
    assert "status=502" in told[-1]


def test_an_event_that_is_no_json_breaks_the_stream(gemini: Dialect) -> None:
    (delta,) = gemini.decoder().feed(Event(b"{"))
    assert "Failed" in repr(delta)


def test_an_event_of_usage_after_the_end_is_part_of_the_answer(gemini: Dialect) -> None:
    stream = b"".join(
        b"data: %b\r\n\r\n" % dump(one)
        for one in (candidate({"text": "hi"}, finishReason="STOP"), {"usageMetadata": {"promptTokenCount": 3}})
    )
    meter = UsageMeter(gemini)
    meter.see(stream)
    assert meter.complete
    assert meter.usage().input_tokens == 3
