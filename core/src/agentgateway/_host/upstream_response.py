"""An upstream's answer: its head, and its body read whole, chunk by chunk, or pushed."""

import asyncio
import sys
from collections.abc import Callable
from typing import Protocol

from agentgateway._host.suspension import Suspension
from agentgateway.errors import UpstreamError

HIGH_WATER = 256 * 1024
"""Unread bytes above which a body's socket is no longer read."""

_EVERYTHING = sys.maxsize


class Source(Protocol):
    """The connection a response arrives on."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def fail(self, error: Exception) -> None:
        """Close the connection at once; the response on it, if any, ends with this error."""


class UpstreamResponse(Suspension):
    """Status, headers (names in lower case) and a body, to be consumed in one of three ways: `read`, iteration, `push`.

    Whoever got it reads it to its end or calls `abort`/`aclose`: an unfinished body occupies a connection. A body that
    ended well has given its connection back already. `complete` tells that all of it has arrived, read or not;
    `content_length` is what the head announced. The content encoding is left as it came.
    """

    __slots__ = (
        *("status", "reason", "headers", "content_length", "complete"),
        *("_source", "_failure", "_parts", "_unread", "_wake_at", "_pause_at", "_paused", "_on_chunk", "_on_end"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Source, wake_at: int) -> None:
        """`wake_at`: how many unread bytes, after the head, the first waiter waits for (the whole body at most)."""
        self._loop = loop
        self._waiter = None
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.content_length: int | None = None
        self.complete = False
        self._source: Source | None = source
        self._failure: Exception | None = None
        self._parts: list[bytes] = []
        self._unread = 0
        self._wake_at = wake_at
        self._pause_at = HIGH_WATER
        self._paused = False
        self._on_chunk: Callable[[bytes], None] | None = None
        self._on_end: Callable[[Exception | None], None] | None = None

    def __repr__(self) -> str:
        return f"<UpstreamResponse {self.status}{' complete' if self.complete else ''}>"

    # What the consumer calls.

    @property
    def body(self) -> bytes | None:
        """What is unread of the body if all of it is here, else None."""
        return self._peek() if self.complete else None

    async def read(self, limit: int | None = None) -> bytes:
        """The rest of the body. Raises `UpstreamError` if it is cut short, or (and aborts it) longer than `limit`."""
        most = _EVERYTHING - 1 if limit is None else limit
        if self._source is not None:
            self._wake_at = self._pause_at = most + 1
            if self.content_length is not None and self.content_length > most:
                self._too_long(most)
            self.resume()
            try:
                while self._source is not None and self._unread <= most:
                    await self.suspend()
            except BaseException:  # the reader left: half a body is of no use to anybody
                self.abort()
                raise
        if self._unread > most:
            self._too_long(most)
        if self._failure is not None:
            raise self.told()
        return self._take()

    def __aiter__(self) -> "UpstreamResponse":
        return self

    async def __anext__(self) -> bytes:
        """What has arrived since the last time, in one piece. The socket is not read while 256 KiB wait here."""
        while not self._parts:
            if self._source is None:
                if self._failure is not None:
                    raise self.told()
                raise StopAsyncIteration
            self._wake_at = 1
            await self.suspend()
        chunk = self._take()
        if self._paused:
            self.resume()
        return chunk

    def told(self) -> Exception:
        """What went wrong, to be raised. It is not kept: its traceback leads to this response, and the two would be in
        memory until the collector of cycles comes."""
        failure, self._failure = self._failure, UpstreamError(detail="the answer had been broken off before")
        assert failure is not None
        return failure

    def push(self, on_chunk: Callable[[bytes], None], on_end: Callable[[Exception | None], None]) -> None:
        """Hand every chunk to `on_chunk` from the socket's callback, those already here at once; `on_end` comes once.

        Use `pause` and `resume` for back-pressure. After `abort` neither is called again. Neither may raise: the
        event loop would close the connection for it.
        """
        self._on_chunk, self._on_end = on_chunk, on_end
        self.resume()
        if self._parts:
            on_chunk(self._take())
        if self._source is None:
            self._tell_end()

    def pull(self) -> None:
        """Push no more, and tell of no end: what comes from now on waits for iteration."""
        self._on_chunk = self._on_end = None
        self.resume()

    def pause(self) -> None:
        """Stop reading the socket: the upstream notices when the buffers between are full."""
        if self._source is not None and not self._paused:
            self._paused = True
            self._source.pause()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._source is not None:
                self._source.resume()

    def abort(self) -> None:
        """Close the connection at once if the body is unfinished; harmless afterwards."""
        self._on_chunk = self._on_end = None
        if self._source is not None:
            self._source.fail(UpstreamError("the exchange with the upstream was abandoned"))

    async def aclose(self) -> None:
        self.abort()

    # What the connection calls.

    def arrived(self, chunk: bytes) -> None:
        """Some of the body, perhaps empty, after the head and before the end."""
        if self._on_chunk is not None:
            if chunk:
                self._on_chunk(chunk)
            return
        if chunk:
            self._parts.append(chunk)
            self._unread += len(chunk)
            if self._unread > self._pause_at:
                self.pause()
        if self._unread >= self._wake_at:
            self.wake()

    def finished(self, chunk: bytes) -> None:
        """The last of the body, perhaps empty; the connection is already somebody else's."""
        self._source = None
        self.complete = True
        if self._on_chunk is not None:
            if chunk:
                self._on_chunk(chunk)
            self._tell_end()
            return
        if chunk:
            self._parts.append(chunk)
            self._unread += len(chunk)
        self.wake()

    def failed(self, error: Exception) -> None:
        """There will be no more; the connection is closed."""
        self._source = None
        self._failure = error
        self._tell_end()
        self.wake()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def failure(self) -> Exception | None:
        return self._failure

    @property
    def awaited(self) -> bool:
        """Whether the head is still to come."""
        return self.status == 0 and self._source is not None

    @property
    def ready(self) -> bool:
        """Whether the first waiter has nothing to wait for: the head and what `wake_at` asks for, or the end."""
        return self._source is None or (self.status != 0 and self._unread >= self._wake_at)

    def _tell_end(self) -> None:
        on_end, self._on_end, self._on_chunk = self._on_end, None, None
        if on_end is not None:
            on_end(self._failure)

    def _peek(self) -> bytes:
        parts = self._parts
        if len(parts) != 1:
            parts[:] = [b"".join(parts)]
        return parts[0]

    def _take(self) -> bytes:
        parts = self._parts
        chunk = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self._unread = 0
        return chunk

    def _too_long(self, most: int) -> None:
        self.abort()
        raise UpstreamError("the upstream's answer is too large", detail=f"more than {most} bytes")
