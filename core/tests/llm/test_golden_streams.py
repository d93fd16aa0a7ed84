"""Transcripts of streams, in as the vendors publish them, out as the other vendor's clients expect them.

`golden/<name>.in.sse` comes from the upstream, `<name>.out.sse` is what the client gets; the name says whose stream it
is. Times are zero in what is expected: Anthropic's streams tell none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.streams import EventRewriter, Translator

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".in.sse") for path in GOLDEN.glob("*.in.sse"))
BROKEN = {"anthropic_overloaded": 529, "anthropic_truncated": 502, "openai_error": 502}


@pytest.fixture
def translator(
    request: pytest.FixtureRequest, completions: Dialect, messages: Dialect, read: Callable[..., LlmCall]
) -> Callable[[str], Translator]:
    def make(name: str) -> Translator:
        if name.startswith("anthropic"):
            call = read("completions", stream=True, stream_options={"include_usage": True})
            return Translator(messages, completions, call)
        return Translator(completions, messages, read("messages", stream=True))

    return make


def timeless(stream: bytes, name: str) -> bytes:
    return re.sub(rb'"created":\d+', b'"created":0', stream) if name.startswith("anthropic") else stream


def wanted(name: str) -> bytes:
    return (GOLDEN / f"{name}.out.sse").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_translated(
    name: str, translator: Callable[[str], Translator], accepts_stream: Mapping[str, Callable[[bytes], None]]
) -> None:
    one = translator(name)
    out = one.feed((GOLDEN / f"{name}.in.sse").read_bytes()) + one.end()
    assert timeless(out, name).decode() == wanted(name).decode()
    accepts_stream["completions" if name.startswith("anthropic") else "messages"](out)
    assert (one.failed and one.failed.status) == BROKEN.get(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_it_does_not_matter_where_chunks_and_lines_end(
    name: str, ends: bytes, translator: Callable[[str], Translator], cuts: Callable[[bytes], list[int]]
) -> None:
    stream = (GOLDEN / f"{name}.in.sse").read_bytes().replace(b"\n", ends)
    expected = wanted(name)
    for cut in cuts(stream):
        one = translator(name)
        out = one.feed(stream[:cut]) + one.feed(stream[cut:]) + one.end()
        assert timeless(out, name) == expected, cut


@pytest.mark.parametrize("name", NAMES)
def test_byte_by_byte_is_as_good_as_whole(name: str, translator: Callable[[str], Translator]) -> None:
    one = translator(name)
    stream = (GOLDEN / f"{name}.in.sse").read_bytes()
    out = b"".join(one.feed(stream[i : i + 1]) for i in range(len(stream))) + one.end()
    assert timeless(out, name) == wanted(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_only_looked_at_stays_the_same_to_the_byte(name: str, completions: Dialect, messages: Dialect) -> None:
    spoken = messages if name.startswith("anthropic") else completions
    stream = (GOLDEN / f"{name}.in.sse").read_bytes().replace(b"\n\n", b"\r\n\r\n", 3)
    for size in (1, 7, 4096):
        rewriter = EventRewriter(lambda event: [event] if spoken.event_segments(event) else None)
        out = b"".join(rewriter.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + rewriter.end()
        assert out == stream


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BROKEN])
def test_an_upstream_that_dies_is_reported_in_the_clients_words(
    name: str, translator: Callable[[str], Translator], accepts_stream: Mapping[str, Callable[[bytes], None]]
) -> None:
    one = translator(name)
    stream = (GOLDEN / f"{name}.in.sse").read_bytes()
    out = one.feed(stream[: len(stream) // 2]) + one.fail(ErrorFacts(502, "the upstream failed"))
    accepts_stream["completions" if name.startswith("anthropic") else "messages"](out)
    assert b"the upstream failed" in out
    assert one.end() == one.fail(ErrorFacts(502, "again")) == b""
