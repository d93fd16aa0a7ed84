"""How long sessions last, whose ids hold all there is to know of them but two things: when they were used last, and
whether they have ended.

Both are in the gateway's store, a value a session, until its longest lifetime is over: for all who share the store, and
after a restart. All workers of the machine know it besides, from buckets that they share: their stores may be apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from agentgateway.errors import StoreFailed
from agentgateway.interfaces import Bucket, Host
from agentgateway.tasks import in_a_task
from agentgateway_mcp.door import gone
from agentgateway_mcp.sessions import Opened

FRESH = 2.0
"""Seconds for which nobody asks whether somebody else has ended a session."""
GRAIN = 8
"""Into so many parts is the idle limit divided: what is written of a session's last use is at most one of them old."""
MOST = 10_000
"""Sessions that a worker remembers; the one that was asked for longest ago is looked up again."""
ENDED = b"ended"

logger = logging.getLogger("agentgateway.mcp")
Run = Callable[[Coroutine[Any, Any, None]], object]


@dataclass(eq=False, slots=True)
class Lease:
    """One session, as this worker knows it. Times are seconds since the epoch; `users` are messages under way."""

    name: str
    until: float
    used: float
    written: float = 0.0
    checked: float = 0.0
    users: int = 0


class Leases:
    """The sessions of one backend: at most `idle` seconds without a message, `lifetime` altogether."""

    def __init__(self, host: Host, idle: float, lifetime: float, run: Run) -> None:
        self._store = host.store("mcp.sessions")
        self._idle = idle
        self._lifetime = lifetime
        self._run = run
        self._known: OrderedDict[str, Lease] = OrderedDict()
        self._in_use: set[Lease] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._ended = host.buckets("mcp sessions")
        self._once = Bucket(1, 1, lifetime)
        self._used = host.buckets("mcp sessions in use")
        self._lately = Bucket(1, 1, idle * (1 + 2 / GRAIN))

    def begin(self, session: Opened) -> None:
        """It is open from now on."""
        lease = self._lease(session)
        lease.used = lease.checked = time.time()
        self._write_soon(lease)

    async def enter(self, session: Opened) -> Lease:
        """A message of a session begins; `leave` when it is over. Raises `McpError` (404) where the session is."""
        lease, now = self._lease(session), time.time()
        if now - lease.checked >= FRESH:
            await in_a_task()
            await self._look_up(lease, now)
        late = now - lease.used > self._idle * (1 + 1 / GRAIN)
        if late and not lease.users and not self._used_here(lease.name, now):
            raise gone()
        self._use(lease, now)
        lease.users += 1
        self._in_use.add(lease)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return lease

    def leave(self, lease: Lease) -> None:
        lease.users -= 1
        if not lease.users:
            self._in_use.discard(lease)
        self._use(lease, time.time())

    def has_ended(self, session: Opened) -> bool:
        """As far as this machine knows."""
        return not self._ended.take(session.nonce, self._once, 0).allowed

    async def end(self, session: Opened) -> None:
        """It is over, for everybody."""
        self._ended.take(session.nonce, self._once, force=True)
        self._known.pop(session.nonce, None)
        left = session.since + self._lifetime - time.time()
        if left <= 0:
            return
        try:
            await self._store.put(session.nonce, ENDED, ttl=left)
        except StoreFailed as error:
            logger.warning("that a session has ended is known to this machine alone: %s", error.detail or error.message)

    def stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()

    def _lease(self, session: Opened) -> Lease:
        lease = self._known.get(session.nonce)
        if lease is None:
            lease = self._known[session.nonce] = Lease(session.nonce, session.since + self._lifetime, 0.0)
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        self._known.move_to_end(session.nonce)
        return lease

    async def _look_up(self, lease: Lease, now: float) -> None:
        """What others know of it. Of a session that nobody has written anything of, its use begins now: it is from a
        gateway with another store."""
        try:
            raw = await self._store.get(lease.name)
        except StoreFailed as error:
            logger.warning("sessions cannot be looked up: %s", error.detail or error.message)
            raw = None
        if raw == ENDED:
            raise gone()
        written = float(raw) if raw is not None else 0.0
        lease.written = max(lease.written, written)
        lease.used = max(lease.used, written) or now
        lease.checked = now

    def _use(self, lease: Lease, now: float) -> None:
        lease.used = now
        if now - lease.written > self._idle / GRAIN:
            self._write_soon(lease)

    def _write_soon(self, lease: Lease) -> None:
        lease.written = lease.used
        self._used.take(f"{lease.name} {self._part(lease.used)}", self._lately, force=True)
        self._run(self._write(lease, b"%.3f" % lease.used))

    async def _write(self, lease: Lease, value: bytes) -> None:
        """Unless it has ended. Somebody else may write at the same time: either is right."""
        left = lease.until - time.time()
        if left <= 0:
            return
        before = await self._store.get(lease.name)
        if before != ENDED:
            await self._store.swap(lease.name, before, value, ttl=left)

    def _used_here(self, name: str, now: float) -> bool:
        """Whether another worker of this machine has written so."""
        part = self._part(now)
        keys = (f"{name} {one}" for one in range(part - GRAIN - 1, part + 1))
        return any(not self._used.take(key, self._lately, 0).allowed for key in keys)

    def _part(self, moment: float) -> int:
        return int(moment * GRAIN / self._idle)

    async def _renew(self) -> None:
        """A session is in use while somebody listens, or waits for an answer."""
        while self._in_use:
            await asyncio.sleep(max(self._idle / GRAIN, 0.05))
            for lease in list(self._in_use):
                self._use(lease, time.time())
