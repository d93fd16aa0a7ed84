"""A stream in the client's own dialect, without the usage that only the gateway asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.replies import LlmStream
from agentgateway.llm.streams import UsageSieve
from agentgateway.llm.usage import UsageMeter
from agentgateway.testing import chat

GOLDEN = Path(__file__).parent / "golden"
TEXT = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"a \\"usage\\":{} b"}}],"usage":null}\n\n'
FILTERS = b': warming up\n\ndata: {"model":"m","choices":[],"prompt_filter_results":[],"usage":null}\n\n'
LAST = b'data: {"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"model":"m","choices": [ ], "usage" : {"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
WITH_USAGE = TEXT + FILTERS + LAST + USAGE + DONE
WITHOUT = TEXT + FILTERS + LAST + DONE


def sifted(dialect: Dialect, chunks: Iterator[bytes]) -> bytes:
    sieve, meter = UsageSieve(dialect), UsageMeter(dialect)
    out = [sieve.feed(chunk, meter.see(chunk)) for chunk in chunks]
    assert meter.usage().estimated is False
    return b"".join(out) + sieve.end()


def cut(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[at : at + size] for at in range(0, len(stream), size))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_one_event_goes_and_nothing_else_wherever_chunks_end(completions: Dialect, end: bytes) -> None:
    stream, wanted = WITH_USAGE.replace(b"\n", end), WITHOUT.replace(b"\n", end)
    for border in range(len(stream)):
        assert sifted(completions, iter((stream[:border], stream[border:]))) == wanted
    for size in range(1, 80):
        assert sifted(completions, cut(stream, size)) == wanted


def test_whole_events_pass_at_once(completions: Dialect) -> None:
    sieve, meter = UsageSieve(completions), UsageMeter(completions)
    for event in (TEXT, FILTERS, LAST, DONE, TEXT.replace(b"\n", b"\r\n")):
        assert sieve.feed(event, meter.see(event)) is event


def test_usage_beside_a_choice_stays(completions: Dialect) -> None:
    stream = TEXT.replace(b"null", b'{"prompt_tokens":3,"completion_tokens":1}') + DONE
    assert sifted(completions, cut(stream, 10)) == stream


def test_an_event_without_its_blank_line_is_one_too(completions: Dialect) -> None:
    assert sifted(completions, iter((TEXT, USAGE.rstrip()))) == TEXT
    assert sifted(completions, iter((USAGE, TEXT, DONE.rstrip()))) == TEXT + DONE.rstrip()


def test_an_event_too_long_to_hold_passes_and_all_that_follows(completions: Dialect) -> None:
    sieve = UsageSieve(completions, limit=100)
    assert sieve.feed(b"data: " + b"x" * 94, False) == b""
    assert sieve.feed(b"x", False) == b"data: " + b"x" * 95
    assert sieve.feed(b"\n\n" + USAGE[:9], True) == b"\n\n" + USAGE[:9]
    assert sieve.feed(USAGE[9:], True) + sieve.end() == USAGE[9:]


def test_streams_of_the_other_dialect_have_no_such_event(messages: Dialect) -> None:
    stream = (GOLDEN / "anthropic_text.in.sse").read_bytes()
    assert sifted(messages, cut(stream, 1000)) == stream


async def stream_of(chunks: Iterator[bytes], error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def test_what_is_withheld_is_counted(completions: Dialect, read: Callable[..., LlmCall]) -> None:
    for size in (1, 7, 1000):
        exchange = chat()
        source = stream_of(cut(WITH_USAGE, size))
        stream = LlmStream(exchange, source, completions, completions, read("completions"), hides_usage=True)
        assert b"".join([chunk async for chunk in stream]) == WITHOUT
        assert (exchange.usage, exchange.finished) == (Usage(3, 2), True)


async def test_who_asked_gets_it(completions: Dialect, read: Callable[..., LlmCall]) -> None:
    stream = LlmStream(chat(), stream_of(cut(WITH_USAGE, 7)), completions, completions, read("completions"))
    assert b"".join([chunk async for chunk in stream]) == WITH_USAGE


async def test_an_upstream_that_dies_inside_an_event_is_told_of_because_no_piece_of_it_left(
    completions: Dialect, read: Callable[..., LlmCall]
) -> None:
    exchange = chat()
    source = stream_of(iter((TEXT, LAST[:9])), UpstreamError("cut"))
    stream = LlmStream(exchange, source, completions, completions, read("completions"), hides_usage=True)
    out = b"".join([chunk async for chunk in stream])
    assert out.startswith(TEXT + b'data: {"error":') and out.endswith(b"\n\n")
    assert exchange.error is not None


def test_the_gateway_remembers_that_it_asked(completions: Dialect, read: Callable[..., LlmCall]) -> None:
    for asked, added in (
        ({"stream": True}, True),
        ({"stream": True, "stream_options": None}, True),
        ({"stream": True, "stream_options": {}}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, False),
        ({"stream": True, "stream_options": {"include_usage": False}}, False),
        ({}, False),
    ):
        call = read("completions", **asked)
        assert (call.outbound(completions).prepared, call.prepared) == (added, False)
