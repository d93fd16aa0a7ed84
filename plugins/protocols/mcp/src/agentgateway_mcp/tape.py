"""Messages for one client, who may lose the stream that they come on, and come back for the rest
(specification 2025-11-25, "Resumability and Redelivery")."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from itertools import islice

from agentgateway.errors import UpstreamError
from agentgateway_mcp.inbox import ROOM, Letter
from agentgateway_mcp.servers import Said

KEPT = 64 * 1024
"""Bytes that are kept of what has been read already."""
AWAY = 30.0
"""Seconds that a client has to come back."""


class Tape:
    """Its messages have numbers from 1 on, and ids as soon as it has a `name`: `NAME:NUMBER`. Without one it is read
    once, by who cannot come back.

    Above `ROOM` messages or `room` bytes the oldest goes, read or not: a reader that has not had it gets an
    `UpstreamError` and no more. `on_close` is called once, when the reader has let go and does not come back; `on_end`
    when nothing more comes; `on_away` when the reader has left or come back, and when more comes while it is away.
    """

    def __init__(self, room: int, *, primed: bool = False) -> None:
        self.name = ""
        self.on_close: Callable[[], object] | None = None
        self.on_end: Callable[[], object] | None = None
        self.on_away: Callable[[], object] | None = None
        self.ended = False
        self.bytes = 0
        self.first = 1
        """The number of the first message that is kept."""
        self._room = room
        self._primed = primed
        self._letters: deque[bytes] = deque()
        self._read = 0
        self._read_bytes = 0
        self._reader: Reader | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._given = False
        self._away: asyncio.TimerHandle | None = None

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self.first + len(self._letters) - 1

    @property
    def is_away(self) -> bool:
        """Whether its reader has left, and may come back."""
        return self._away is not None and not self.ended

    def put(self, letter: Letter) -> None:
        self._letters.append(letter.data)
        self.bytes += len(letter.data)
        while len(self._letters) > 1 and self._is_full():
            gone = len(self._letters.popleft())
            self.bytes -= gone
            self._read_bytes -= gone if self.first <= self._read else 0
            self.first += 1
        self._wake()
        if self.is_away:
            self._moved()

    def end(self) -> None:
        """Nothing more will come."""
        if not self.ended:
            self.ended = True
            self._wake()
            if self.on_end is not None:
                self.on_end()

    def opened(self) -> Reader:
        """A reader from the beginning. Where a name allows to come back, it can do so from the very first event."""
        return self.resumed(-1 if self._primed and self.name else 0)

    def resumed(self, number: int) -> Reader:
        """A reader of what is behind that message; it ends the one before."""
        if self._away is not None:
            self._away.cancel()
            self._away = None
            self._moved()
        self._reader = Reader(self, number)
        self._read = max(number, 0)
        self._read_bytes = sum(map(len, islice(self._letters, max(self._read + 1 - self.first, 0))))
        self._wake()
        return self._reader

    async def read(self, reader: Reader) -> Said:
        while reader is self._reader:
            if reader.number < 0:
                reader.number, self._given = 0, True
                return Said(b"", self._id(0))
            if reader.number < self.last:
                return self._next(reader)
            if self.ended:
                break
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        raise StopAsyncIteration

    def left(self, reader: Reader) -> None:
        """The reader has let go."""
        if reader is not self._reader:
            return
        self._reader = None
        if self.ended or self.on_close is None:
            return
        if self._given and not self._lacks(reader):
            self._away = asyncio.get_running_loop().call_later(AWAY, self.give_up)
            self._moved()
        else:
            self.give_up()

    def give_up(self) -> None:
        """The reader does not come back."""
        if self._away is not None:
            self._away.cancel()
            self._away = None
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()

    def _wake(self) -> None:
        """There is something for the reader, or somebody else reads now."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _next(self, reader: Reader) -> Said:
        if self._lacks(reader):
            raise UpstreamError("messages were lost: they came faster than they were read")
        number = self._read = reader.number = reader.number + 1
        self._given = bool(self.name)
        data = self._letters[number - self.first]
        self._read_bytes += len(data)
        return Said(data, self._id(number))

    def _lacks(self, reader: Reader) -> bool:
        """Whether what it has to read next is gone."""
        return max(reader.number, 0) + 1 < self.first

    def _moved(self) -> None:
        if self.on_away is not None:
            self.on_away()

    def _is_full(self) -> bool:
        return len(self._letters) > ROOM or self.bytes > self._room or self._read_bytes > KEPT

    def _id(self, number: int) -> str | None:
        return f"{self.name}:{number}" if self.name else None


class Reader:
    """Of a tape, once: an `Answer.messages`. `number` is that of the message it read last."""

    def __init__(self, tape: Tape, number: int) -> None:
        self.number = number
        self._tape = tape

    def __aiter__(self) -> AsyncIterator[Said]:
        return self

    async def __anext__(self) -> Said:
        return await self._tape.read(self)

    async def aclose(self) -> None:
        self._tape.left(self)
