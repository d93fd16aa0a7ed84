"""Streams of bytes on their way to the client: look at one, take it whole, know when it ends.

Who opens a stream closes it. Everything here that wraps one owns it from then on: `aclose` closes the source too, also
when nobody ever asked for a first chunk, and so do its end and its failure. Streams of model calls that guards look at
are in `agentgateway.guarded`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from agentgateway.errors import UpstreamError

Stream = AsyncIterator[bytes]
OnChunk = Callable[[bytes], None]
OnEnd = Callable[[Exception | None], None]


class Taskless:
    """Base of streams that wait for nothing but the bytes of an upstream: the edge reads them without a task. One that
    has something else to wait for asks for a task first (`agentgateway.tasks`).

    Before it is read, such a stream may be asked to `push`.
    """

    __slots__ = ()

    def push(self, on_chunk: OnChunk, on_end: OnEnd) -> bool:
        """Have every chunk handed to `on_chunk` at once, in the callback of the upstream's socket, until `on_end`:
        iteration gives what is left, and raises what went wrong. Neither may raise. False where that cannot be done."""
        return False

    def pause(self) -> None:
        """Of what is pushed, no more for a while."""

    def resume(self) -> None:
        """The rest of it."""


async def aclose(stream: Stream) -> None:
    """Let go of a stream that may or may not hold something open."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


class OwnedStream:
    """`pieces`, made from `source`; at the end of them, however it comes, both are closed and `on_close` is called
    once."""

    __slots__ = ("_closed", "_on_close", "_pieces", "_source")

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], source: Stream, on_close: Callable[[], object] | None = None
    ) -> None:
        self._pieces = pieces
        self._source = source
        self._on_close = on_close
        self._closed = False

    def __aiter__(self) -> OwnedStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._pieces.__anext__()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._pieces.aclose()
        finally:
            try:
                await aclose(self._source)
            finally:
                if self._on_close is not None:
                    self._on_close()


def closing(stream: Stream, on_close: Callable[[], object]) -> OwnedStream:
    """The same chunks; `on_close` is called exactly once, when the stream ends, fails or is given up."""
    return OwnedStream(_each(stream, None), stream, on_close)


def tap(stream: Stream, see: Callable[[bytes], object]) -> OwnedStream:
    """The same chunks; `see` is shown each of them before it goes on."""
    return OwnedStream(_each(stream, see), stream)


async def _each(stream: Stream, see: Callable[[bytes], object] | None) -> AsyncGenerator[bytes, None]:
    async for chunk in stream:
        if see is not None:
            see(chunk)
        yield chunk


async def buffer(stream: Stream, limit: int) -> bytes:
    """All of a stream, which is closed then. Raises `UpstreamError` above `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in stream:
            size += len(chunk)
            if size > limit:
                raise UpstreamError("the upstream's reply is too large", detail=f"over {limit} bytes")
            chunks.append(chunk)
    finally:
        await aclose(stream)
    return b"".join(chunks)
