"""The connections to one origin: how many, who gets the next one, how long an idle one is kept."""

import asyncio
from collections import deque

from agentgateway._host.dial import Contexts, dial
from agentgateway._host.h1_client import H1Connection
from agentgateway._host.suspension import until_done
from agentgateway._host.tls_sessions import keep_session
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
        contexts: Contexts,
    ) -> None:
        self.origin = origin
        self.loop = loop
        self._limits = limits
        self._contexts = contexts
        self._idle: deque[H1Connection] = deque()
        self._open: set[H1Connection] = set()
        self._waiters: deque[asyncio.Future[H1Connection | None]] = deque()
        self._acquiring: set[asyncio.Task[H1Connection]] = set()
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

        The work is done in a task of the pool's, since whoever asks may have none of its own. Raises `PoolExhausted`,
        `ConnectFailed`, or `UpstreamTimeout`; in all of them `sent` is False.
        """
        task = self.loop.create_task(self._acquire(within, fresh))
        self._acquiring.add(task)
        task.add_done_callback(self._acquired)
        try:
            await until_done(task)
            if task.cancelled():
                raise ConnectFailed(detail=_CLOSING)
            return task.result()
        except BaseException:
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                self._pass_on(task.result())  # whoever asked left in the same moment
            raise
        finally:
            del task  # an error it has raised refers to this frame

    async def _acquire(self, within: float | None, fresh: bool) -> H1Connection:
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

    def _acquired(self, task: "asyncio.Task[H1Connection]") -> None:
        self._acquiring.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    def opened(self, connection: H1Connection) -> None:
        self._opened += 1
        self._open.add(connection)
        if self._limits.max_age:
            # Connections opened together end apart: each tenth of the golden ratio falls where no other did.
            spread = 1 - 0.1 * (self._opened * 0.618034 % 1)
            connection.retire_at = self.loop.time() + self._limits.max_age * spread

    def proven(self, connection: H1Connection) -> None:
        keep_session(connection.transport.get_extra_info("ssl_object"))

    def release(self, connection: H1Connection) -> None:
        now = self.loop.time()
        if now >= connection.retire_at or self._closing is not None:
            connection.close()
        elif self._waiters and self._grant(connection):
            self._reused += 1
        elif len(self._idle) >= self._limits.max_idle:
            connection.close()
        else:
            connection.idle_since = now
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
        for task in self._acquiring:
            task.cancel()
        for connection in list(self._open):
            connection.fail(UpstreamError(detail=_CLOSING))
        if self._acquiring:
            await asyncio.wait(self._acquiring)
        if self._open:
            await asyncio.shield(self._closing)

    async def _dial(self) -> H1Connection:
        """Open a connection in a slot that is already ours."""
        connection = H1Connection(self, self.loop, max_head=self._limits.max_head_bytes, label=self.origin.label)
        try:
            self._refuse_if_closing()
            await dial(self.origin, self._limits, self._contexts, lambda: connection)
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
        """Close what has been idle too long, or is too old; the longest idle stand on the left."""
        now = self.loop.time()
        self._reaper = None
        for connection in list(self._idle):
            if connection.idle_since + self._limits.idle_timeout <= now + 0.001 or connection.retire_at <= now:
                self._idle.remove(connection)
                connection.close()
        if self._idle:
            due = self._idle[0].idle_since + self._limits.idle_timeout - now
            self._reaper = self.loop.call_later(due, self._reap)

    def _timeout(self, queued: bool) -> ConnectFailed | UpstreamTimeout:
        label = self.origin.label
        if queued:
            return PoolExhausted(detail=f"{label}: all {self._limits.max_connections} connections are in use")
        error = UpstreamTimeout("the upstream cannot be reached in time", detail=f"{label}: connect timeout")
        error.sent = False
        return error
