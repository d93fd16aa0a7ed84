"""Reading no more from a client for a while, and noticing all the same that it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentgateway._host.edge.peeking import peer_closed

LOOK_SECONDS = 0.5
"""How often a client that is not being read is looked after."""


class Pausing:
    """Whether one connection is read."""

    __slots__ = ("_left", "_looking", "_loop", "_transport", "paused")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, left: Callable[[], None]) -> None:
        """`left` is called when the client has left, where the system tells."""
        self.paused = False
        self._left = left
        self._looking = False
        self._loop = loop
        self._transport = transport

    def pause(self) -> None:
        if self.paused or self._transport.is_closing():
            return
        self.paused = True
        self._transport.pause_reading()
        if not self._looking:
            self._looking = True
            self._loop.call_later(LOOK_SECONDS, self._look)

    def lift(self) -> None:
        self.paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Let go of the owner, which holds this object."""
        self._left = _nothing

    def _look(self) -> None:
        self._looking = self.paused and not self._transport.is_closing()
        if not self._looking:
            return
        if peer_closed(self._transport.get_extra_info("socket").fileno()):
            self._left()
            self._transport.abort()
        else:
            self._loop.call_later(LOOK_SECONDS, self._look)


def _nothing() -> None: ...
