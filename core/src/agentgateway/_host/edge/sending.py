"""Replies to bytes on the way: what goes out in one system call, and when a client has read enough of it."""

from __future__ import annotations

import asyncio

from agentgateway._host.suspension import Suspension
from agentgateway._host.traffic import Traffic
from agentgateway.exchange import ClientGone

COPY_LIMIT = 64 * 1024
"""Up to this size a body is copied behind its head, to go out in one system call."""


class Sending:
    """What one connection writes."""

    __slots__ = ("_loop", "_traffic", "_transport", "congested", "held")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, traffic: Traffic) -> None:
        self.congested: Suspension | None = None  # the client reads too slowly
        self.held = b""  # a head that waits for what follows it
        self._loop = loop
        self._transport = transport
        self._traffic = traffic

    def write(self, head: bytes, body: bytes) -> None:
        """A whole reply. Raises `ClientGone`."""
        if self._transport.is_closing():
            raise ClientGone
        self._traffic.sent += len(head) + len(body)
        if len(body) <= COPY_LIMIT:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def hold(self, head: bytes) -> None:
        """Write a head together with what follows in the same step, if anything does."""
        self.held = head
        self._loop.call_soon(self.release)

    def push(self, piece: bytes) -> None:
        """A piece of a stream, as it goes on the wire. Raises `ClientGone`."""
        transport = self._transport
        if transport.is_closing():
            raise ClientGone
        if self.held:
            piece, self.held = self.held + piece, b""
        self._traffic.sent += len(piece)
        transport.write(piece)

    def release(self) -> None:
        if self.held and not self._transport.is_closing():
            self.push(b"")

    def congest(self) -> None:
        self.congested = Suspension(self._loop)

    def relieve(self) -> None:
        congested, self.congested = self.congested, None
        if congested is not None:
            congested.wake()

    async def drained(self) -> None:
        """Until the client has read enough of what was written."""
        while self.congested is not None:
            await self.congested.suspend()
