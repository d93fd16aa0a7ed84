"""One request and its reply on the wire, in terms of ASGI.

Whoever changes a streamed body takes `content-length` out of the reply's headers; the length of whole bodies is
written here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from agentgateway._host.entrance import entrance
from agentgateway._host.face import (
    INTAKE,
    PEER,
    UNKNOWN,
    Intake,
    Message,
    Peer,
    Receive,
    Runtime,
    Scope,
    Send,
    note_departure,
)
from agentgateway._host.inbound_head import read_scope
from agentgateway._host.inline import rest
from agentgateway._host.pipeline import discard, run
from agentgateway._host.reply_head import CLOSE, HOP, Field, bodiless, check, fields, head_of_whole
from agentgateway._host.routes import Listener
from agentgateway._host.suspension import Watchdog
from agentgateway.errors import GatewayError, InvalidRequest
from agentgateway.exchange import Body, ClientGone, Exchange, Headers, Reply, Request, Source

if TYPE_CHECKING:
    from agentgateway._host.gateway import Bind, Gateway

logger = logging.getLogger("agentgateway.server")

UNREAD_BYTES = 4 * 1024 * 1024
UNREAD_SECONDS = 5.0
"""What a client may still send after its request was refused, so that it gets to read the answer."""
WORTH_WAITING = 256 * 1024
"""A refused body of at most this announced size does not cost the connection."""

_BODILESS = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
_MULTIPLEXED = ("2", "3")
_VERSIONS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2", "3": "HTTP/3"}


class Conversation:
    """One request. `hold` is its whole life."""

    __slots__ = (
        "_done",
        "_ended",
        "_exchange",
        "_gone",
        "_head",
        "_intake",
        "_owed",
        "_patience",
        "_peer",
        "_reading",
        "_receive",
        "_runtime",
        "_scope",
        "_send",
        "_stalled",
        "_started",
        "_task",
        "_touched",
        "_watchdog",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, gateway: Gateway, runtime: Runtime) -> None:
        limits = gateway.http
        self._scope = scope
        self._receive = receive
        self._send = send
        self._runtime = runtime
        self._patience = limits.body_timeout
        extensions = scope["extensions"]
        self._peer: Peer = extensions.get(PEER, UNKNOWN)
        self._intake: Intake = extensions.get(INTAKE) or Intake()
        self._head = read_scope(scope, limits.of_heads)
        self._owed = self._head.length  # bytes of the announced body still to come
        self._ended = False  # the client's body is complete
        self._touched = False  # somebody began to read it
        self._reading = False  # somebody waits for more of it
        self._started = False  # the reply's head is out
        self._exchange: Exchange | None = None
        self._done = False  # the reply is out
        self._gone = False  # the client left
        self._stalled = False  # the client stopped reading
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._watchdog: Watchdog | None = None

    async def hold(self, bind: Bind | None) -> None:
        """The whole conversation. Raises nothing but cancellation that did not come from the client."""
        intake = self._intake
        intake.left = self._leave
        try:
            body = await self._body()
            listener = entrance(bind, self._head, self._peer)
            self._exchange = self._made(body, listener)
            await run(self._exchange, listener, self.write)
            if not (self._started or self._gone):
                await self._whole(Reply.text(500, "internal error"))
        except asyncio.CancelledError:
            if not self._cancelled_by_client():
                raise
        except ClientGone:
            pass
        except Exception:
            logger.exception("the server could not finish a reply")
        finally:
            self._done = True
            if self._watchdog is not None:
                self._watchdog.close()
            intake.left = self._task = self._exchange = None  # else each request is a cycle, its bodies with it

    # --- in ----------------------------------------------------------------------------------------------------------

    def _made(self, body: Body, listener: Listener) -> Exchange:
        scope, head = self._scope, self._head
        version = _VERSIONS.get(scope["http_version"], "HTTP/1.1")
        headers = Headers(head.headers)
        request = Request(scope["method"], head.target, headers, body, scope["scheme"], head.authority, version)
        address, port = scope["client"] or ("", 0)
        address = address.removeprefix("::ffff:")  # IPv4 by a socket for both families
        exchange = Exchange(request, Source(address, port, self._peer.certificate))
        exchange.place = listener.place
        return exchange

    async def _body(self) -> Body:
        if self._owed == 0:
            self._ended = True
            return Body(b"")
        if self._owed is None and self._scope["method"] in _BODILESS:
            try:
                return await self._unannounced()
            except GatewayError as error:
                self._head = self._head._replace(error=error)
                return Body(b"")
        return Body(None, receive=self._chunk, length=self._owed)

    async def _unannounced(self) -> Body:
        """HTTP/2 and chunked bodies are announced by nobody: look, where one would be unusual."""
        first = await self._chunk()
        if not first and self._ended:
            return Body(b"")

        async def receive() -> bytes | None:
            nonlocal first
            chunk, first = first, None
            return chunk if chunk is not None else await self._chunk()

        return Body(None, receive=receive)

    async def _chunk(self) -> bytes | None:
        """The next piece of the client's body. Raises `ClientGone`, and `InvalidRequest` (408) when it pauses."""
        if self._ended:
            return None
        self._touched = True
        return self._taken(self._intake.here() or await self._awaited())

    async def _awaited(self) -> Message:
        self._reading = True
        try:
            async with asyncio.timeout(self._patience):
                return await self._receive()
        except TimeoutError:
            raise InvalidRequest("the request body came too slowly", status=408, code="request_timeout") from None
        finally:
            self._reading = False

    def _taken(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            self._gone = True
            raise ClientGone
        body: bytes = message.get("body", b"")
        if self._owed is not None:
            self._owed -= len(body)
        if self._owed == 0 or not message.get("more_body", False):
            self._ended = True
        return body

    def _leave(self) -> None:
        """The client left; the server says so also at the end of every reply."""
        if not self._done:
            self._gone = True
            note_departure(self._runtime, self._exchange)
            if self._task is not None:
                self._task.cancel()

    def _cancelled_by_client(self) -> bool:
        if not (self._gone or self._stalled) or self._task is None:
            return False
        return self._task.uncancel() == 0

    # --- out ---------------------------------------------------------------------------------------------------------

    async def write(self, exchange: Exchange) -> None:
        """Put the reply on the wire. Raises `ClientGone`, and whatever ends its stream early."""
        reply = exchange.reply
        if reply is None:
            return
        if isinstance(reply.body, bytes):
            exchange.sent_bytes = await self._whole(reply)
        elif bodiless(self._scope["method"], reply.status):
            await discard(reply)
            await self._whole(reply)
        else:
            await self._stream(exchange, reply)

    async def _whole(self, reply: Reply) -> int:
        body, method = reply.body, self._scope["method"]
        if not isinstance(body, bytes):
            raise TypeError("a whole body is bytes")
        await self._begin(reply.status, head_of_whole(method, reply, body))
        if bodiless(method, reply.status):
            body = b""
        if self._ended:
            await self._end(body)
        else:
            await self._put({"type": "http.response.body", "body": body, "more_body": True})
            await self._discard_request()
            await self._end(b"")
        return len(body)

    async def _stream(self, exchange: Exchange, reply: Reply) -> None:
        try:
            if not (self._ended or self._touched):
                self._intake.abandon()
            await self._begin(reply.status, fields(reply, HOP))
            async for chunk in reply.body:  # type: ignore[union-attr]
                if chunk:
                    await self._put({"type": "http.response.body", "body": chunk, "more_body": True})
                    exchange.sent_bytes += len(chunk)
            if not self._ended and self._touched:
                await self._discard_request()
            await self._end(b"")
        finally:
            await discard(reply)

    def _costs_the_connection(self) -> bool:
        if self._head.error is not None:
            return True
        return not self._ended and (self._owed is None or self._owed > WORTH_WAITING)

    async def _begin(self, status: int, headers: list[Field]) -> None:
        if self._scope["http_version"] not in _MULTIPLEXED and (self._runtime.draining or self._costs_the_connection()):
            headers.append(CLOSE)
        check(status, headers)
        await self._put({"type": "http.response.start", "status": status, "headers": headers})
        self._started = True

    async def _end(self, body: bytes) -> None:
        if not self._ended:
            self._intake.abandon()  # else the server could be waiting for us to take more
        self._done = True
        await self._put({"type": "http.response.body", "body": body})

    async def _put(self, message: Message) -> None:
        """Send, no longer than a client may pause its reading. Nothing is timed where nothing is waited for."""
        sending = self._send(message)
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return
        watchdog = self._watchdog
        if watchdog is None:
            watchdog = self._watchdog = Watchdog(asyncio.get_running_loop(), self._stall)
        watchdog.start(self._patience)
        try:
            await rest(sending, waits_for)
        finally:
            watchdog.stop()

    def _stall(self) -> None:
        self._stalled = True
        if self._task is not None:
            self._task.cancel()

    async def _discard_request(self) -> None:
        """Take what the client still sends, so that it gets to read its answer."""
        if self._reading:
            return
        left = UNREAD_BYTES
        try:
            async with asyncio.timeout(min(UNREAD_SECONDS, self._patience)):
                while not self._ended and left > 0:
                    left -= len(self._taken(await self._receive()))
        except TimeoutError:
            pass
