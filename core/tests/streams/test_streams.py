"""Streams end once, and close what they came from."""

import asyncio
from typing import Any

import pytest

from agentgateway.errors import UpstreamError
from agentgateway.streams import buffer, closing, tap

CHUNKS = [b"one", b"two", b"three"]


async def test_a_closing_stream_passes_everything_and_calls_once_at_its_end(source: Any) -> None:
    calls: list[str] = []
    below = source(CHUNKS)
    stream = closing(below, lambda: calls.append("closed"))
    assert [chunk async for chunk in stream] == CHUNKS
    await stream.aclose()
    assert calls == ["closed"] and below.closed == 1


async def test_a_closing_stream_that_is_given_up_closes_its_source(source: Any) -> None:
    calls: list[str] = []
    below = source(CHUNKS)
    stream = closing(below, lambda: calls.append("closed"))
    assert await anext(stream) == b"one"
    await stream.aclose()
    await stream.aclose()
    assert calls == ["closed"] and below.closed == 1 and below.asked == 1


async def test_a_stream_nobody_read_is_closed_all_the_same(source: Any) -> None:
    calls: list[str] = []
    below = source(CHUNKS)
    await closing(below, lambda: calls.append("closed")).aclose()
    assert calls == ["closed"] and below.closed == 1 and below.asked == 0


async def test_a_failing_source_is_closed_and_its_failure_passed_on(source: Any) -> None:
    calls: list[str] = []
    below = source(CHUNKS, UpstreamError())
    stream = closing(below, lambda: calls.append("closed"))
    with pytest.raises(UpstreamError):
        async for _ in stream:
            pass
    assert calls == ["closed"] and below.closed == 1


async def test_cancelling_a_reader_closes_the_source() -> None:
    closed = asyncio.Event()

    async def never() -> Any:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = tap(never(), lambda chunk: None)
    assert await anext(stream) == b"one"
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert closed.is_set()


async def test_a_tap_sees_each_chunk_before_the_reader_does(source: Any) -> None:
    seen: list[bytes] = []
    stream = tap(source(CHUNKS), seen.append)
    assert await anext(stream) == b"one"
    assert seen == [b"one"]
    await stream.aclose()


async def test_a_reader_that_waits_makes_the_source_wait(source: Any) -> None:
    below = source(CHUNKS)
    stream = tap(below, lambda chunk: None)
    await anext(stream)
    await asyncio.sleep(0)
    assert below.asked == 1
    await stream.aclose()


async def test_a_buffer_takes_all_of_a_stream_up_to_its_limit(source: Any) -> None:
    assert await buffer(source(CHUNKS), 11) == b"onetwothree"
    below = source(CHUNKS)
    with pytest.raises(UpstreamError):
        await buffer(below, 10)
    assert below.closed == 1
