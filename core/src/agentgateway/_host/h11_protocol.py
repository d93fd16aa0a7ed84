"""HTTP/1.1 behind Hypercorn: ordinary requests are read and answered here, all others by h11, as Hypercorn has it.

h11 keeps a state machine for both sides and looks at every field several times: for an ordinary request, a third of all
that a call cost. While one is served h11 knows nothing of it, and is at rest; it is given what comes behind it.
"""

from __future__ import annotations

from typing import Any

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import EndBody, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from agentgateway._host.inbound_head import Limits
from agentgateway._host.ordinary_head import OrdinaryHead, ordinary_head
from agentgateway._host.ordinary_reply import OrdinaryReply

_AT_REST = (b"", False)
"""What h11 has left when all that came was read, and more may come."""


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
        self._reply: OrdinaryReply | None = None  # to the ordinary request that is served at present
        self._owed = 0  # bytes of its body still to come

    async def handle(self, event: Event) -> None:
        if type(event) is not RawData:
            await super().handle(event)
        elif self._reply is not None:
            await self._go_on(self._reply, event.data)
        elif self._at_rest and (head := ordinary_head(event.data)) is not None:
            await self._begin(head, event.data)
        else:
            self._at_rest = False
            await super().handle(event)

    # --- ordinary requests -------------------------------------------------------------------------------------------

    async def _begin(self, head: OrdinaryHead, data: bytes) -> None:
        await self.send(Updated(idle=False))
        self.target, self._owed, self._reply = head.target, head.length, OrdinaryReply()
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(STREAM_ID, head.headers, "1.1", head.method, head.target, self.connection_state)
        )
        if not head.length:
            await self.stream.handle(EndBody(STREAM_ID))
        if len(data) > head.size:
            await self._go_on(self._reply, data[head.size :])

    async def _go_on(self, reply: OrdinaryReply, data: bytes) -> None:
        """With what came while an ordinary request is served; nothing, when the client came to its end."""
        owed, stream = self._owed, self.stream
        if owed and not data:
            await self._broken_off(reply)
            return
        self._owed = max(0, owed - len(data))
        behind = data[owed:]
        if behind or not data:
            self._at_rest = False
            self.connection.receive_data(behind)
        if owed and isinstance(stream, HTTPStream):
            await stream.app_put({"type": "http.request", "body": data[:owed], "more_body": self._owed > 0})
        if not self._at_rest:
            await self._read_on(reply)

    async def _broken_off(self, reply: OrdinaryReply) -> None:
        """The client ended in the middle of its body."""
        if not reply.begun:
            reply.void = True
            await self._send_error_response(400)
        await self.send(Closed())

    async def _read_on(self, reply: OrdinaryReply) -> None:
        """Let h11 read what comes behind a request, when that has been answered."""
        pipelined = self.connection.trailing_data[0]
        if pipelined and self._reply is reply:
            await self.can_read.clear()
            await self.can_read.wait()
            if self._reply is reply:  # the last one on this connection
                await self.send(Closed())
                return
        await self._handle_events()

    async def stream_send(self, event: StreamEvent) -> None:
        reply = self._reply
        if reply is None:
            await super().stream_send(event)
        elif type(event) is StreamClosed:
            await self._end(reply)
        elif data := reply.encoded(event):
            await self.send(RawData(data))

    async def _end(self, reply: OrdinaryReply) -> None:
        await self._close_stream()
        more = reply.keep and not self._owed and self.connection.their_state is h11.IDLE
        if more and not self.context.terminated.is_set():
            self._reply = None
            await self.can_read.set()
            await self.send(Updated(idle=True))
        else:
            await self.can_read.set()
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
