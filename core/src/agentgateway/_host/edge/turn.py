"""One request on a connection, and its reply: what the pipeline sees of the edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgateway._host import inline
from agentgateway._host.edge.pushing import Pushing
from agentgateway._host.edge.wire import LAST_CHUNK, announced, chunk_of, head_of_stream, head_of_whole
from agentgateway._host.pipeline import discard
from agentgateway._host.reply_head import bodiless
from agentgateway._host.suspension import Suspension
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.errors import GatewayError, InternalError
from agentgateway.exchange import Body, ClientGone, Exchange, Reply
from agentgateway.llm.replies import LlmStream
from agentgateway.streams import Taskless

if TYPE_CHECKING:
    from agentgateway._host.edge.connection import EdgeConnection
    from agentgateway._host.edge.repeating import RepeatedHead

PASSED_ON = frozenset((LlmStream, UpstreamResponse))
"""Streams that wait for nothing but the upstream. What somebody wrapped around one may wait for anything."""
HIGH_WATER = 256 * 1024
"""Bytes of a body that wait here before its socket is no longer read."""


class Turn(Suspension):
    """A request as its bytes arrive, and the `write` of its reply. It waits for bytes of its body, one at a time."""

    method = ""
    url = b""
    version = "1.1"
    size = 0
    """Bytes that came with the head, its own and perhaps more."""
    length: int | None = 0
    """The body's announced size."""
    complete = False
    """All of the body is here."""
    waiting = 0
    """Bytes of the body that nobody has taken yet."""
    expects = False
    """The client waits for 100 (RFC 9110 section 10.1.1)."""
    keep = False
    """Another request may follow on the connection."""
    error: GatewayError | None = None
    """What is wrong with the request as it came."""
    trailers = 0
    """Fields that came behind the body, and are passed over."""
    trailing = 0
    """Their bytes."""
    gone = False
    """The client left."""
    abandoned = False
    """Nobody wants the rest of the body."""
    started = False
    """The reply's head is out."""
    ended = False
    """The reply is out."""
    repeated: RepeatedHead | None = None
    """What is known of its head, which came before or may come again."""
    drive: inline.Drive | None = None
    exchange: Exchange | None = None

    def __init__(self, connection: EdgeConnection) -> None:
        super().__init__(connection.loop)
        self._connection = connection
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []

    @property
    def waits(self) -> bool:
        """Whether somebody waits for more of the body."""
        return self._waiter is not None

    @property
    def may_upgrade(self) -> bool:
        """Whether `Upgrade` counts: not in HTTP/1.0 (RFC 9110 section 7.8), and CONNECT is something else."""
        return self.version == "1.1" and self.method != "CONNECT"

    # --- in ----------------------------------------------------------------------------------------------------------

    def body(self) -> Body:
        if self.complete:
            parts, self.parts = self.parts, []
            return Body(parts[0] if len(parts) == 1 else b"".join(parts))
        return Body(None, receive=self.receive, length=self.length)

    async def receive(self) -> bytes | None:
        """The next piece of the body. Raises `ClientGone`, and `InvalidRequest` for bad framing or a pause (408)."""
        while not self.parts:
            if self.gone:
                raise ClientGone
            if self.error is not None:
                raise self.error
            if self.complete:
                return None
            self._connection.wants_body(self)
            await self.suspend()
        parts, self.parts = self.parts, []
        if self.waiting > HIGH_WATER:
            self._connection.resume_reading()
        self.waiting = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def arrived(self, chunk: bytes) -> bool:
        """Take a piece of the body; whether there is room for more."""
        if self.abandoned:
            return True
        self.parts.append(chunk)
        self.waiting += len(chunk)
        return self.waiting <= HIGH_WATER

    # --- out ---------------------------------------------------------------------------------------------------------

    async def write(self, exchange: Exchange) -> None:
        """Put the reply on the wire. Raises `ClientGone`, and whatever ends its stream early."""
        reply = exchange.reply
        if reply is None:
            return
        body = reply.body
        if isinstance(body, bytes):
            exchange.sent_bytes = self.write_whole(reply, body)
        elif bodiless(self.method, reply.status):
            await discard(reply)
            self.write_whole(reply, b"")
        else:
            await self._stream(exchange, reply)

    def write_whole(self, reply: Reply, body: bytes) -> int:
        """The number of bytes of the body that went out."""
        connection = self._connection
        head = head_of_whole(self, reply, body, last=connection.ends_with(self))
        if self.gone:
            raise ClientGone
        self.started = True
        if bodiless(self.method, reply.status):
            body = b""
        connection.sending.write(head, body)
        self.ended = True
        return len(body)

    async def _stream(self, exchange: Exchange, reply: Reply) -> None:
        connection, sending, body = self._connection, self._connection.sending, reply.body
        try:
            if type(body) not in PASSED_ON and not isinstance(body, Taskless):
                await inline.in_a_task()
            length = announced(reply)
            chunked = length is None and self.version == "1.1"
            if length is None and not chunked:
                self.keep = False  # its end is that of the connection
            head = head_of_stream(self, reply, length, last=connection.ends_with(self))
            if self.gone:
                raise ClientGone
            self.started = True
            sending.hold(head)
            if chunked and isinstance(body, LlmStream | Taskless):
                await Pushing(connection.loop, sending, exchange, body).over()
            async for chunk in body:  # type: ignore[union-attr]
                if chunk:
                    exchange.sent_bytes += len(chunk)
                    if length is not None and exchange.sent_bytes > length:
                        raise InternalError(detail="the reply is longer than its content-length")
                    sending.push(chunk_of(chunk) if chunked else chunk)
                    if sending.congested is not None:
                        await sending.drained()
                    if self.gone:
                        raise ClientGone
            if length is not None and exchange.sent_bytes < length:
                raise InternalError(detail="the reply is shorter than its content-length")
            if chunked:
                sending.push(LAST_CHUNK)
            self.ended = True
        finally:
            await discard(reply)
