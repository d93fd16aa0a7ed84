"""The one clock of a connection: what it waits for at the moment, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentgateway._host.suspension import Watchdog


class Clock(Watchdog):
    """`waits_for` is a `head`, bytes of a `body`, the next request (`idle`), the rest of a body that nobody wants
    (`drop`), a client that reads what was written (`write`), or the end of one that was told why (`linger`)."""

    __slots__ = ("waits_for",)

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        super().__init__(loop, expired)
        self.waits_for = ""

    def wait_for(self, what: str, seconds: float) -> None:
        self.waits_for = what
        self.start(seconds)
