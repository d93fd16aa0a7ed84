"""The connections to one origin: how many, who gets the next one, how long an idle one is kept."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from agentgateway._host.dial import dial
from agentgateway._host.h1_client import H1Connection
from agentgateway.endpoints import Origin, PoolLimits
from agentgateway.errors import ConnectFailed, UpstreamError, UpstreamTimeout

_CLOSING = "the gateway is closing its connections"


class PoolExhausted(ConnectFailed):
    """Every connection the limit allows is in use, and none became free in time."""

    code = "upstream_busy"
    default_message = "too many requests to the upstream at once"


class Pool:
    """Idle connections are reused youngest first, so that the surplus ages and is closed.

    `_slots` counts connections open, opening, or promised to a waiter. While somebody waits nothing is idle: what
    becomes free goes to the one who has waited longest.
    """

    def __init__(
        self,
        origin: Origin,
        limits: PoolLimits,
        loop: asyncio.AbstractEventLoop,
        context: Callable[[Origin], ssl.SSLContext | None],
    ) -> None:
        self.origin = origin
        self.loop = loop
        self._limits = limits
        self._context = context
        self._idle: deque[H1Connection] = deque()
        self._open: set[H1Connection] = set()
        self._waiters: deque[asyncio.Future[H1Connection | None]] = deque()
        self._slots = 0
        self._opened = 0
        self._reused = 0
        self._reaper: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[None] | None = None

    def take(self) -> H1Connection | None:
        """An idle connection, if there is one, without waiting."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                self._reused += 1
                return connection
        return None

    async def acquire(self, within: float | None, *, fresh: bool = False) -> H1Connection:
        """A connection, if need be a new one, if need be after others; `fresh` prefers a new one to an idle one.

        Raises `PoolExhausted`, `ConnectFailed`, or `UpstreamTimeout`; in all of them `sent` is False.
        """
        queued = False
        try:
            async with asyncio.timeout(self._limits.connect_timeout if within is None else within):
                while True:
                    connection = None if fresh else self.take()
                    if connection is None and self._slots >= self._limits.max_connections:
                        if self._idle:  # passed over for a new one, which needs its place
                            self._idle.popleft().close()
                        queued = True
                        connection = await self._wait()
                        queued = False
                    elif connection is None:
                        self._slots += 1
                    if connection is None:
                        return await self._dial()
                    if connection.usable:
                        return connection
        except TimeoutError:
            raise self._timeout(queued) from None

    def opened(self, connection: H1Connection) -> None:
        self._opened += 1
        self._open.add(connection)

    def release(self, connection: H1Connection) -> None:
        if self._waiters and self._grant(connection):
            self._reused += 1
        elif self._closing is not None or len(self._idle) >= self._limits.max_idle:
            connection.close()
        else:
            connection.idle_since = self.loop.time()
            self._idle.append(connection)
            if self._reaper is None:
                self._reaper = self.loop.call_later(self._limits.idle_timeout, self._reap)

    def lost(self, connection: H1Connection) -> None:
        if connection not in self._open:
            return
        self._open.remove(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._free_slot()
        if self._closing is not None and not self._open and not self._closing.done():
            self._closing.set_result(None)

    @property
    def empty(self) -> bool:
        return not self._slots

    def stats(self) -> dict[str, int]:
        idle = len(self._idle)
        return {
            "opened": self._opened,
            "reused": self._reused,
            "active": len(self._open) - idle,
            "idle": idle,
            "waiting": sum(not waiter.done() for waiter in self._waiters),
        }

    async def aclose(self) -> None:
        """Close every connection, running exchanges included, and wait until the sockets are gone."""
        if self._reaper is not None:
            self._reaper.cancel()
        if self._closing is None:
            self._closing = self.loop.create_future()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(ConnectFailed(detail=_CLOSING))
        for connection in list(self._open):
            connection.fail(UpstreamError(detail=_CLOSING))
        if self._open:
            await asyncio.shield(self._closing)

    async def _dial(self) -> H1Connection:
        """Open a connection in a slot that is already ours."""
        label = self.origin.unix or self.origin.authority
        connection = H1Connection(self, self.loop, max_head=self._limits.max_head_bytes, label=label)
        try:
            self._refuse_if_closing()
            try:
                context = self._context(self.origin)
            except OSError as error:
                raise ConnectFailed(detail=f"{label}: TLS settings: {error}") from error
            await dial(self.origin, self._limits, context, lambda: connection)
            self._refuse_if_closing()
        except BaseException:
            if connection in self._open:
                connection.close()
                self.lost(connection)  # uvloop, when cancelled just after it has connected, never says so itself
            else:
                self._free_slot()
            raise
        return connection

    def _refuse_if_closing(self) -> None:
        if self._closing is not None:
            raise ConnectFailed(detail=_CLOSING)

    async def _wait(self) -> H1Connection | None:
        """Queue for a connection; None is a free slot, taken for us."""
        waiter: asyncio.Future[H1Connection | None] = self.loop.create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _pass_on(self, granted: H1Connection | None) -> None:
        if granted is None:
            self._free_slot()
        elif granted.usable:
            self.release(granted)

    def _grant(self, connection: H1Connection | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _free_slot(self) -> None:
        if not self._grant(None):
            self._slots -= 1

    def _reap(self) -> None:
        """Close what has been idle too long; the oldest stand on the left."""
        oldest_allowed = self.loop.time() - self._limits.idle_timeout
        self._reaper = None
        for connection in list(self._idle):
            if connection.idle_since > oldest_allowed + 0.001:
                due = connection.idle_since - oldest_allowed
                self._reaper = self.loop.call_later(due, self._reap)
                return
            self._idle.popleft()
            connection.close()

    def _timeout(self, queued: bool) -> ConnectFailed | UpstreamTimeout:
        label = self.origin.unix or self.origin.authority
        if queued:
            return PoolExhausted(detail=f"{label}: all {self._limits.max_connections} connections are in use")
        error = UpstreamTimeout("the upstream cannot be reached in time", detail=f"{label}: connect timeout")
        error.sent = False
        return error
