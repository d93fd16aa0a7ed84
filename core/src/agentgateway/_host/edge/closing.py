"""Closing so that the client gets to read the last that was said: within bounds of time and bytes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentgateway._host.edge.clock import Clock
    from agentgateway._host.edge.pausing import Pausing

LINGER_BYTES = 4 * 1024 * 1024
LINGER_SECONDS = 1.0
"""What a client that is cut off may still send, so that it gets to read why."""
GOODBYE_SECONDS = 0.5
"""How long an idle client may take to answer the goodbye of TLS."""


class Closing:
    """The end of one connection, and its clock for a client that does not read."""

    __slots__ = ("_clock", "_pausing", "_refused", "_transport", "_unsent")

    def __init__(self, transport: asyncio.Transport, clock: Clock, pausing: Pausing) -> None:
        self._transport = transport
        self._clock = clock
        self._pausing = pausing
        self._unsent = 0  # bytes the client had yet to take when the clock was started for it
        self._refused = 0  # bytes that came when nothing was read any more

    def close(self, seconds: float) -> None:
        """Close as soon as the client has taken everything; it may take so long for each step."""
        self._transport.close()
        self.wait_for_reader(seconds)

    def close_idle(self, seconds: float) -> None:
        """Close, when all there is to wait for may be the answer to TLS's goodbye."""
        self.close(seconds)
        if not self._unsent:
            self._clock.wait_for("write", GOODBYE_SECONDS)

    def linger(self) -> None:
        """Say that nothing follows, and close when a client that is still sending has had time to read why: closing on
        bytes that nobody read would reset the connection."""
        with suppress(OSError):  # it has reset the connection meanwhile, which is told us later
            if self._transport.can_write_eof():
                self._transport.write_eof()
        self._clock.wait_for("linger", LINGER_SECONDS)

    def refuse_bytes(self, size: int) -> None:
        self._refused += size
        if self._refused > LINGER_BYTES:
            self._pausing.pause()  # closed now, the client would not get to read

    def wait_for_reader(self, seconds: float) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._clock.wait_for("write", seconds)

    def reads(self) -> bool:
        """Whether a client that is waited for has taken some of it meanwhile."""
        return 0 < self._transport.get_write_buffer_size() < self._unsent
