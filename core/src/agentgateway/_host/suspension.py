"""The one suspension point of the raw face and of the edge, under a task or under a driver without one.

A coroutine of the core waits only here. In a task it waits for a future; driven inline it yields `PARK` and is entered
again by its driver, in the very callback that brought what it waits for.
"""

import asyncio
import math
import types
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol


class Driver(Protocol):
    """Who runs a coroutine by `send` and `throw`, without a task.

    While one of them runs, `suspension.present` is the driver; before and after it is what it was before, because one
    driver's step may wake another. When the coroutine yields, it must have yielded `PARK`: nothing else can be waited
    for here.
    """

    def resume(self) -> None:
        """Run the parked coroutine on, at once. Called at most once for each `PARK`. Raises nothing: the caller is a
        connection that serves somebody else, too."""


present: Driver | None = None
"""The driver whose coroutine is running just now; None inside tasks and callbacks. One event loop, one thread."""


class Park:
    """What a coroutine yields to its driver when it waits."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PARK"


PARK: Final = Park()


class Suspension:
    """Something a coroutine waits on, one at a time. Who waits tests its condition first, and again after waking."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: Driver | asyncio.Future[None] | None = None

    @types.coroutine
    def suspend(self) -> Generator[Any, None, None]:
        """Wait for the next `wake`, or for what the driver or the task throws in."""
        driver = present
        try:
            if driver is not None:
                self._waiter = driver
                yield PARK
            else:
                future = self._waiter = self._loop.create_future()
                yield from future
        finally:
            self._waiter = None

    def wake(self) -> None:
        """End the wait. Nothing happens while nobody waits: a running coroutine is never entered again."""
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        if not isinstance(waiter, asyncio.Future):
            waiter.resume()
        elif not waiter.done():
            waiter.set_result(None)


async def sleep(seconds: float) -> None:
    """`asyncio.sleep`, under a driver too."""
    loop = asyncio.get_running_loop()
    waiting = Suspension(loop)
    timer = loop.call_later(seconds, waiting.wake)
    try:
        await waiting.suspend()
    finally:
        timer.cancel()


async def until_done(future: "asyncio.Future[Any]") -> None:
    """Wait for a future or task, whatever comes of it, under a driver too. Cancelling the wait leaves it alone."""
    if future.done():
        return
    waiting = Suspension(future.get_loop())
    future.add_done_callback(lambda _: waiting.wake())
    while not future.done():
        await waiting.suspend()


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
