"""Messages for one client, who may lose the stream that they come on, and come back for the rest
(specification 2025-11-25, "Resumability and Redelivery")."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from agentgateway_mcp.inbox import ROOM, Letter
from agentgateway_mcp.servers import Said

KEPT = 64 * 1024
"""Bytes that are kept of what has been read already."""
AWAY = 30.0
"""Seconds that a client has to come back."""


class Tape:
    """Its messages have numbers from 1 on, and ids as soon as it has a `name`: `NAME:NUMBER`. Without one it is read
    once, by who cannot come back.

    Above `ROOM` messages or `room` bytes the oldest goes, read or not. `on_close` is called once, when the reader has
    let go and does not come back; `on_end` when nothing more comes.
    """

    def __init__(self, room: int, *, primed: bool = False) -> None:
        self.name = ""
        self.on_close: Callable[[], object] | None = None
        self.on_end: Callable[[], object] | None = None
        self.ended = False
        self.bytes = 0
        self._room = room
        self._primed = primed
        self._letters: deque[bytes] = deque()
        self._first = 1
        self._read = 0
        self._reader: Reader | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._given = False
        self._away: asyncio.TimerHandle | None = None

    @property
    def last(self) -> int:
        """The number of the last message."""
        return self._first + len(self._letters) - 1

    def put(self, letter: Letter) -> None:
        self._letters.append(letter.data)
        self.bytes += len(letter.data)
        while len(self._letters) > 1 and self._is_full():
            self.bytes -= len(self._letters.popleft())
            self._first += 1
        self._wake()

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
        self._reader = Reader(self, number)
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
        if self._given:
            self._away = asyncio.get_running_loop().call_later(AWAY, self._gone)
        else:
            self._gone()

    def _wake(self) -> None:
        """There is something for the reader, or somebody else reads now."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _next(self, reader: Reader) -> Said:
        number = reader.number = max(reader.number + 1, self._first)
        self._read = max(self._read, number)
        self._given = bool(self.name)
        return Said(self._letters[number - self._first], self._id(number))

    def _is_full(self) -> bool:
        over = len(self._letters) > ROOM or self.bytes > self._room
        return over or (self._first <= self._read and self.bytes > KEPT)

    def _id(self, number: int) -> str | None:
        return f"{self.name}:{number}" if self.name else None

    def _gone(self) -> None:
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


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
