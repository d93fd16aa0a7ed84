"""What one reader has still to be told: bounded, so that one who does not read costs no memory and stops nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from agentgateway_mcp.servers import Said

ROOM = 256
"""Messages that wait for a reader."""


class Letter(NamedTuple):
    """A message; `owed` is set for a server's request, whose `request` id somebody has to answer."""

    data: bytes
    owed: bool = False
    request: Any = None


class Inbox:
    """Messages for one reader, in order: an `Answer.messages`.

    Above `ROOM` messages or `room` bytes the oldest goes; `lost` is told of each request among them, since the server
    waits for its answer. `on_close` is called once, when the reader lets go.
    """

    def __init__(self, room: int, lost: Callable[[Letter], None]) -> None:
        self.on_close: Callable[[Inbox], None] | None = None
        self.dropped = 0
        self._room = room
        self._lost = lost
        self._letters: deque[Letter] = deque()
        self._bytes = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, letter: Letter) -> None:
        self._letters.append(letter)
        self._bytes += len(letter.data)
        while len(self._letters) > 1 and (len(self._letters) > ROOM or self._bytes > self._room):
            self.dropped += 1
            self._let_go(self._take())
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def empty_into(self, other: Inbox) -> None:
        """Give what nobody has read to somebody else."""
        while self._letters:
            other.put(self._take())

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Said:
        while not self._letters:
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return Said(self._take().data)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close(self)
        self.end()
        while self._letters:
            self._let_go(self._take())

    def _take(self) -> Letter:
        letter = self._letters.popleft()
        self._bytes -= len(letter.data)
        return letter

    def _let_go(self, letter: Letter) -> None:
        if letter.owed:
            self._lost(letter)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
