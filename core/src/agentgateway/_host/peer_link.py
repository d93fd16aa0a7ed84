"""A link between two worker processes: one connection of a unix socket, frames with their lengths in front.

A frame is a length of four bytes and so many bytes; the length 2³²−1 says that the sender has said all it had to say.
A connection that ends without it broke off.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

from agentgateway.interfaces import Link, PeerGone
from agentgateway.peers import Incoming

_LENGTH = struct.Struct(">I")
_END = 0xFFFFFFFF


class PeerLink(asyncio.Protocol, Link):
    """One end. `accepted` is told of the link once it is there."""

    def __init__(self, accepted: Callable[[PeerLink], None] | None = None) -> None:
        self._accepted = accepted
        self._transport: asyncio.Transport
        self._incoming = Incoming(self._resume)
        self._pieces = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._closed = False

    async def send(self, frame: bytes) -> None:
        await self._writable.wait()
        if self._closed or self._transport.is_closing():
            raise PeerGone
        self._transport.write(_LENGTH.pack(len(frame)) + frame)

    async def receive(self) -> bytes | None:
        return await self._incoming.get()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._transport.write(_LENGTH.pack(_END))
            self._transport.close()
            self._let_go()

    def abort(self) -> None:
        if not self._closed:  # else what was said is still on its way
            self._closed = True
            self._transport.abort()
            self._let_go()

    def _let_go(self) -> None:
        self._incoming.end(lost=True)
        self._writable.set()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        pieces = self._pieces
        pieces += data
        start = 0
        while len(pieces) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(pieces, start)
            if length == _END:
                self._incoming.end(lost=False)
                break
            end = start + _LENGTH.size + length
            if len(pieces) < end:
                break
            self._incoming.put(bytes(pieces[start + _LENGTH.size : end]))
            start = end
        del pieces[:start]
        if self._incoming.full and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._let_go()
