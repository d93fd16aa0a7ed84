"""The transport's one suspension point, and a deadline that is cheap to move."""

import asyncio
import math
import types
from collections.abc import Callable, Generator


class Suspension:
    """Something a coroutine waits on, one at a time.

    Every wait of the raw face ends in `suspend`, and every event that ends one in `wake`. Here the two are a future and
    so need a task; a driver without tasks replaces these two methods and nothing else.
    """

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    @types.coroutine
    def suspend(self) -> Generator[asyncio.Future[None], None, None]:
        future = self._future = self._loop.create_future()
        try:
            yield from future
        finally:
            self._future = None

    def wake(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)


def _nothing() -> None: ...


class Watchdog:
    """Calls `expired` when a deadline passes; moving or lifting the deadline touches no timer.

    One loop timer is kept and armed again if it fires early: a connection that is used a thousand times within one
    timeout costs one timer.
    """

    __slots__ = ("_at", "_expired", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._at = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """Expire in so many seconds, whatever was set before."""
        at = self._at = self._loop.time() + seconds
        handle = self._handle
        if handle is None:
            self._handle = self._loop.call_at(at, self._fire)
        elif handle.when() > at + 0.001:  # uvloop rounds to whole milliseconds
            handle.cancel()
            self._handle = self._loop.call_at(at, self._fire)

    def stop(self) -> None:
        self._at = math.inf

    def close(self) -> None:
        self._at = math.inf
        self._expired = _nothing  # let go of the owner, which holds this object
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        # Timers may fire a little early (clock resolution; whole milliseconds in uvloop): 1 ms is close enough.
        if self._loop.time() + 0.001 >= self._at:
            self._at = math.inf
            self._expired()
        elif self._at != math.inf:
            self._handle = self._loop.call_at(self._at, self._fire)
