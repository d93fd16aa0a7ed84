"""Streams of a server's messages, each of which somebody may put another one in the place of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, cast

from agentgateway.exchange import Stream
from agentgateway.llm.sse import Event, Parser
from agentgateway.streams import OnChunk, OnEnd, Taskless, aclose
from agentgateway_mcp.servers import Said
from agentgateway_mcp.streamable import event, said_in

Sift = Callable[[bytes], Awaitable[bytes]]
"""What goes in the place of a message; the same object for one that stays."""


ENDS = (b"\n\n", b"\r\n\r\n")
"""Of events, as most servers write them."""


class Sifted:
    """Messages that come one by one."""

    def __init__(self, messages: AsyncIterator[Said], sift: Sift) -> None:
        self._messages = messages
        self._sift = sift

    def __aiter__(self) -> AsyncIterator[Said]:
        return self

    async def __anext__(self) -> Said:
        said = await self._messages.__anext__()
        data = await self._sift(said.data) if said.data else said.data
        return said if data is said.data else Said(data, said.event, said.retry)

    async def aclose(self) -> None:
        close = getattr(self._messages, "aclose", None)
        if close is not None:
            await close()


class Pushing(Protocol):
    """A source that can hand its chunks over by itself (as in `agentgateway.streams`), until it is told to `pull`."""

    def push(self, on_chunk: OnChunk, on_end: OnEnd) -> bool | None: ...
    def pull(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class SiftedStream(Taskless):
    """The bytes of an event stream, event by event. What stays is the same to the byte. Whole events of which `skips`
    says that they stay, all of them together, are not even read. Ids of events become what `place` makes of them."""

    def __init__(
        self,
        stream: Stream,
        sift: Sift,
        skips: Callable[[bytes], bool],
        limit: int,
        place: Callable[[str | None], str | None] | None = None,
    ) -> None:
        self._stream = stream
        self._place = place
        self._sift = sift
        self._skips = skips
        self._limit = limit
        self._parser: Parser | None = None
        self._ended = False
        self._held = b""
        """A chunk that was pushed, and is not to pass unread."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            parser = self._parser
            try:
                chunk, self._held = self._held, b""
                chunk = chunk or await self._stream.__anext__()
                if (parser is None or not parser.waiting) and self._stays(chunk):
                    return chunk
                if parser is None:
                    parser = self._parser = Parser(self._limit)
                events = parser.feed(chunk)
            except StopAsyncIteration:
                self._ended = True
                events = parser.end() if parser is not None else []
            if events:
                return await self._passed(events)
        raise StopAsyncIteration

    def push(self, on_chunk: OnChunk, on_end: OnEnd) -> bool:
        """The same, until a chunk has to be read."""

        def pushed(chunk: bytes) -> None:
            if self._stays(chunk):
                on_chunk(chunk)
            else:
                self._held = chunk
                self.pull()
                on_end(None)

        return hasattr(self._stream, "push") and self._source.push(pushed, on_end) is not False

    def pull(self) -> None:
        self._source.pull()

    def pause(self) -> None:
        self._source.pause()

    def resume(self) -> None:
        self._source.resume()

    @property
    def _source(self) -> Pushing:
        return cast("Pushing", self._stream)

    def _stays(self, chunk: bytes) -> bool:
        """Whether these are whole events, which need not be read."""
        return chunk.endswith(ENDS) and (self._place is None or not has_id(chunk)) and self._skips(chunk)

    async def _passed(self, events: Sequence[Event]) -> bytes:
        return b"".join([await self._one(one) for one in events])

    async def _one(self, one: Event) -> bytes:
        data = await self._sift(one.data) if one.data else one.data
        named = self._place is not None and has_id(one.raw)
        said = said_in(one.raw, data) if named or data is not one.data else None
        if said is None:
            return one.raw
        return event(said if self._place is None else Said(said.data, self._place(said.event), said.retry))

    async def aclose(self) -> None:
        await aclose(self._stream)


def has_id(data: bytes) -> bool:
    """Whether an event among them has an id, or takes the last one away."""
    return data.startswith(b"id") or b"\nid" in data or b"\rid" in data
