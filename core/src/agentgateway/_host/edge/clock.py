"""The one clock of a connection: what it waits for at the moment, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentgateway._host.suspension import Watchdog


class Clock:
    """`waits_for` is a head, bytes of a `body`, the next request (`idle`), the rest of a body that nobody wants
    (`drop`), a client that reads what was written (`write`), or the end of one that was told why (`linger`)."""

    __slots__ = ("_expired", "_watchdog", "waits_for")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[str], None]) -> None:
        """`expired` is told what was waited for."""
        self.waits_for = ""
        self._expired = expired
        self._watchdog = Watchdog(loop, self._fire)

    def start(self, what: str, seconds: float) -> None:
        self.waits_for = what
        self._watchdog.start(seconds)

    def stop(self) -> None:
        self.waits_for = ""
        self._watchdog.stop()

    def close(self) -> None:
        """Stop, and let go of the owner, which holds this object."""
        self._watchdog.close()
        self._expired = _nothing

    def _fire(self) -> None:
        what, self.waits_for = self.waits_for, ""
        self._expired(what)


def _nothing(what: str) -> None: ...
