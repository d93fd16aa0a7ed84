"""HTTP/1.1 behind Hypercorn: ordinary requests are read and answered here, all others by h11, as Hypercorn has it.

h11 keeps a state machine for both sides and looks at every field several times: for an ordinary request, two fifths
of all that a call cost. While one is served h11 knows nothing of it, and is at rest; it is given what comes behind it.
"""

from __future__ import annotations

from typing import Any

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol

from agentgateway._host.inbound_head import Limits
from agentgateway._host.ordinary_head import OrdinaryHead, ordinary_head
from agentgateway._host.ordinary_stream import OrdinaryStream

_AT_REST = (b"", False)
"""What h11 has left when all that came was read, and more may come."""
_BUSY, _IDLE = Updated(idle=False), Updated(idle=True)


class BoundedTrailers(h11.Connection):
    """h11 measures what is incomplete: trailers that come at once would be as many and as long as they like."""

    def __init__(self, most: Limits) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=most.size + len(b"\r\n"))  # of the empty line
        self._most = most

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.EndOfMessage) and event.headers:
            size = sum([len(name) + len(value) + 4 for name, value in event.headers])
            if len(event.headers) > self._most.fields or size > self._most.size:
                raise h11.RemoteProtocolError("too many trailer fields, or too large", error_status_hint=431)
        return event


class H11(H11Protocol):
    """HTTP/1.1 as Hypercorn has it, but for an upgrade that comes with a CONNECT: it is ignored (RFC 9110 section 7.8).
    Hypercorn would refuse it in HTTP/2, and wait for ever for a refusal that nobody has begun to send."""

    target = b""
    """The present request's, as it came."""

    def __init__(self, most: Limits, *known: Any) -> None:
        super().__init__(*known)
        self.connection = BoundedTrailers(most)
        self._at_rest = True  # h11 is between two requests and has nothing
        self._ordinary: OrdinaryStream | None = None  # the request that is served without it

    async def handle(self, event: Event) -> None:
        if type(event) is not RawData:
            await super().handle(event)
        elif self._ordinary is not None:
            await self._go_on(self._ordinary, event.data)
        elif self._at_rest and (head := ordinary_head(event.data)) is not None:
            await self.send(_BUSY)
            stream = self._begin(head)
            if len(event.data) > head.size:
                await self._go_on(stream, event.data[head.size :])
        else:
            self._at_rest = False
            await super().handle(event)

    # --- ordinary requests -------------------------------------------------------------------------------------------

    def begin(self, data: bytes) -> bool:
        """Begin an ordinary request at once, if that is what came, with no more than belongs to it. Then the connection
        is busy. For one who knows that nothing is being handled."""
        if self._ordinary is not None or not self._at_rest or (head := ordinary_head(data)) is None:
            return False
        body = data[head.size :]
        if len(body) > head.length:
            return False
        stream = self._begin(head)
        if body:
            stream.put_first(body)
        return True

    def _begin(self, head: OrdinaryHead) -> OrdinaryStream:
        self.target = head.target
        self.stream = self._ordinary = stream = OrdinaryStream(self, head)
        return stream

    async def _go_on(self, stream: OrdinaryStream, data: bytes) -> None:
        """With what came while an ordinary request is served; nothing, when the client came to its end."""
        if stream.closed:  # this connection is at its end
            return
        owed = stream.owed
        if owed and not data:
            await self._broken_off(stream)
            return
        behind = data[owed:]
        if behind or not data:
            self._at_rest = False
            self.connection.receive_data(behind)
        if owed:
            await stream.put(data[:owed])
        if not self._at_rest:
            await self._read_on(stream)

    async def _broken_off(self, stream: OrdinaryStream) -> None:
        """The client ended in the middle of its body."""
        if not stream.reply.begun:
            stream.void = True
            await self._send_error_response(400)
        await self.send(Closed())

    async def _read_on(self, stream: OrdinaryStream) -> None:
        """Let h11 read what comes behind a request, when that has been answered."""
        pipelined = self.connection.trailing_data[0]
        if pipelined and self._ordinary is stream:
            await self.can_read.clear()
            await self.can_read.wait()
            if self._ordinary is stream:  # the last one on this connection
                await self.send(Closed())
                return
        await self._handle_events()

    async def ended(self, stream: OrdinaryStream) -> None:
        """The reply to an ordinary request is out, or will never be."""
        await self._close_stream()
        await self.can_read.set()
        more = stream.reply.keep and not stream.owed and self.connection.their_state is h11.IDLE
        if more and not self.context.terminated.is_set():
            self._ordinary = None
            await self.send(_IDLE)
        else:
            await self.send(Closed())

    # --- any other ---------------------------------------------------------------------------------------------------

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method != b"CONNECT":
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        self.target = request.target
        await super()._create_stream(request)

    async def _maybe_recycle(self) -> None:
        await super()._maybe_recycle()
        connection = self.connection
        self._at_rest = connection.their_state is h11.IDLE and connection.trailing_data == _AT_REST
