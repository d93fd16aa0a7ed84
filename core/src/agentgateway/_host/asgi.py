"""ASGI to Exchange and back: the data plane behind Hypercorn, for HTTP/1.1 and HTTP/2.

A request is one `Conversation`: it lends the pipeline a body that is read as the pipeline asks for it, and a `write`
that puts the reply on the wire at the pace the client reads it. A client that leaves cancels its pipeline at once,
whatever that is waiting for.

Whoever changes a streamed body takes `content-length` out of the reply's headers; the length of whole bodies is
written here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from agentgateway._host.chains import Chain, Steps
from agentgateway._host.inbound_head import read_head
from agentgateway._host.pipeline import discard, run
from agentgateway._host.routes import Listener, RouteTable, hostname_matches
from agentgateway._host.suspension import Watchdog
from agentgateway.errors import GatewayError, InvalidRequest, NotFound
from agentgateway.exchange import Body, ClientGone, Exchange, Headers, Place, Reply, Request, Source

if TYPE_CHECKING:
    from agentgateway._host.assembly import Bind, Gateway
    from agentgateway._host.config import DownstreamTls
    from agentgateway._host.metrics import Metrics

logger = logging.getLogger("agentgateway.server")

Message: TypeAlias = dict[str, Any]
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PEER = "agentgateway.peer"
"""Key of `scope["extensions"]` under which the server tells what it knows of the connection, a `Peer`."""

UNREAD_BYTES = 4 * 1024 * 1024
UNREAD_SECONDS = 5.0
"""What a client may still send after its request was refused, so that it gets to read the answer."""
WORTH_WAITING = 256 * 1024
"""A refused body of at most this announced size does not cost the connection."""

_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization proxy-authentication-info "
    b"te trailer transfer-encoding upgrade".split()
)
_MEASURED = _HOP | {b"content-length"}
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BREAKS = re.compile(rb"[\x00\n\v\f\r]")
_CLOSE = (b"connection", b"close")
_BODILESS = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
_MULTIPLEXED = ("2", "3")
_WORDLESS = frozenset((204, 304))
_VERSIONS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2", "3": "HTTP/3"}


class Runtime(Protocol):
    """What lives as long as the process. `gateway` is the current snapshot: a request keeps the one it began with."""

    @property
    def gateway(self) -> Gateway: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def on_swap(self) -> list[Callable[[Gateway], None]]: ...

    ready: bool
    draining: bool


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: its verified certificate, and the listener whose TLS the handshake was made with,
    by the server name that the client asked for."""

    certificate: Mapping[str, Any] | None = None
    hostname: str = ""
    tls: DownstreamTls | None = None

    def may_ask(self, hostname: str, tls: DownstreamTls | None) -> bool:
        """Whether requests for a listener may come by this connection, or belong on one of their own (421)."""
        if tls is None or self.tls is None:
            return tls is self.tls
        return tls.root == self.tls.root and (hostname == self.hostname or tls.cert == self.tls.cert)


UNKNOWN = Peer()


class DataPlane:
    """The ASGI applications of the ports."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def app(self, port: int) -> App:
        """The application behind the bind of that (configured) port."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            kind = scope["type"]
            if kind == "http":
                await self._serve(port, scope, receive, send)
            elif kind == "websocket":
                await refuse_websocket(scope, send)
            else:
                await lifespan(receive, send)

        return application

    async def _serve(self, port: int, scope: Scope, receive: Receive, send: Send) -> None:
        runtime = self.runtime
        gateway = runtime.gateway
        gateway.active += 1
        try:
            await Conversation(scope, receive, send, gateway, runtime).hold(gateway.binds.get(port))
        finally:
            gateway.active -= 1


class Conversation:
    """One request and its reply, on the wire."""

    __slots__ = (
        "_done",
        "_ended",
        "_gone",
        "_head",
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
        "_watch",
        "_watchdog",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, gateway: Gateway, runtime: Runtime) -> None:
        limits = gateway.http
        self._scope = scope
        self._receive = receive
        self._send = send
        self._runtime = runtime
        self._patience = limits.body_timeout
        self._peer: Peer = scope["extensions"].get(PEER, UNKNOWN)
        self._head = read_head(scope, limits.http1_max_headers)
        self._owed = self._head.length  # bytes of the announced body still to come
        self._ended = False  # the client's body is complete
        self._touched = False  # somebody began to read it
        self._reading = False  # somebody waits for more of it
        self._started = False  # the reply's head is out
        self._done = False  # the reply is out
        self._gone = False  # the client left
        self._stalled = False  # the client stopped reading
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self._watchdog: Watchdog | None = None

    async def hold(self, bind: Bind | None) -> None:
        """The whole conversation. Raises nothing but cancellation that did not come from the client."""
        try:
            body = await self._body()
            listener = self._listener(bind)
            await run(self._exchange(body, listener), listener, self.write)
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
            if self._watch is not None:
                self._watch.cancel()
            if self._watchdog is not None:
                self._watchdog.close()

    # --- in ----------------------------------------------------------------------------------------------------------

    def _listener(self, bind: Bind | None) -> Listener:
        head = self._head
        if bind is None:
            return Refusing(None, head.error or NotFound())
        host = _host(head.authority)
        for bound in bind.listeners:
            listener = bound.listener
            if hostname_matches(listener.hostname, host):
                if head.error is None and self._peer.may_ask(listener.hostname, bound.tls):
                    return listener
                return Refusing(listener.place, head.error or _misdirected(), listener.chain.log)
        first = bind.listeners[0].listener
        return Refusing(replace(first.place, listener="unknown"), head.error or NotFound(), first.chain.log)

    def _exchange(self, body: Body, listener: Listener) -> Exchange:
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
            self._complete()
            return Body(b"")
        if self._owed is None and self._scope["method"] in _BODILESS:
            try:
                return await self._unannounced()
            except GatewayError as error:
                self._head = replace(self._head, error=error)
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
        self._touched = self._reading = True
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            raise InvalidRequest("the request body came too slowly", status=408, code="request_timeout") from None
        finally:
            self._reading = False
        return self._taken(message)

    def _taken(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            self._gone = True
            raise ClientGone
        body: bytes = message.get("body", b"")
        if self._owed is not None:
            self._owed -= len(body)
        if self._owed == 0 or not message.get("more_body", False):
            self._complete()
        return body

    def _complete(self) -> None:
        self._ended = True
        self._look_out()

    def _look_out(self) -> None:
        """From here on nobody else receives: whatever comes is thrown away, until the client leaves."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._await_departure())

    async def _await_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._done:
            self._gone = True
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
        elif _bodiless(self._scope["method"], reply.status):
            await discard(reply)
            reply.body = b""
            await self._whole(reply)
        else:
            await self._stream(exchange, reply)

    async def _whole(self, reply: Reply) -> int:
        body = reply.body
        if not isinstance(body, bytes):
            raise TypeError("a whole body is bytes")
        if not _bodiless(self._scope["method"], reply.status):
            headers = self._fields(reply, _MEASURED)
            headers.append((b"content-length", b"%d" % len(body)))
        elif body and reply.status not in _WORDLESS:
            headers = self._fields(reply, _MEASURED)
            headers.append((b"content-length", b"%d" % len(body)))
            body = b""
        else:
            headers, body = self._fields(reply, _HOP if reply.status != 204 else _MEASURED), b""
        await self._begin(reply.status, headers)
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
                self._look_out()
            await self._begin(reply.status, self._fields(reply, _HOP))
            async for chunk in reply.body:  # type: ignore[union-attr]
                if chunk:
                    await self._put({"type": "http.response.body", "body": chunk, "more_body": True})
                    exchange.sent_bytes += len(chunk)
            if not self._ended and self._touched:
                await self._discard_request()
            await self._end(b"")
        finally:
            await discard(reply)

    def _fields(self, reply: Reply, without: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
        raw = reply.headers.raw
        headers = [field for field in raw if field[0] not in without]
        names = {field[0] for field in raw}
        if b"connection" in names:
            named = {part.strip().lower() for name, value in raw if name == b"connection" for part in value.split(b",")}
            headers = [field for field in headers if field[0] not in named]
        if b"date" not in names:
            headers.append((b"date", http_date()))
        if self._scope["http_version"] not in _MULTIPLEXED and (self._runtime.draining or self._costs_the_connection()):
            headers.append(_CLOSE)
        return headers

    def _costs_the_connection(self) -> bool:
        if self._head.error is not None:
            return True
        return not self._ended and (self._owed is None or self._owed > WORTH_WAITING)

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        check(status, headers)
        await self._put({"type": "http.response.start", "status": status, "headers": headers})
        self._started = True

    async def _end(self, body: bytes) -> None:
        # The server reports the end of a reply as a departure, and waits until that is received.
        self._look_out()
        self._done = True
        await self._put({"type": "http.response.body", "body": body})

    async def _put(self, message: Message) -> None:
        """Send, no longer than a client may pause its reading."""
        watchdog = self._watchdog
        if watchdog is None:
            watchdog = self._watchdog = Watchdog(asyncio.get_running_loop(), self._stall)
        watchdog.start(self._patience)
        try:
            await self._send(message)
        finally:
            watchdog.stop()

    def _stall(self) -> None:
        self._stalled = True
        if self._task is not None:
            self._task.cancel()

    async def _discard_request(self) -> None:
        """Take what the client still sends, so that it gets to read its answer."""
        if self._reading or self._watch is not None:
            return
        left = UNREAD_BYTES
        try:
            async with asyncio.timeout(min(UNREAD_SECONDS, self._patience)):
                while not self._ended and left > 0:
                    left -= len(self._taken(await self._receive()))
        except TimeoutError:
            pass


class Refusing(Listener):
    """A listener that refuses: of the real one, only the log phase sees the request."""

    def __init__(self, place: Place | None, error: GatewayError, log: Steps = ()) -> None:
        super().__init__("", "*", place or Place(), Chain(log=log), RouteTable(()))
        self._error = error

    async def find(self, exchange: Exchange) -> Chain:
        raise self._error


def _misdirected() -> GatewayError:
    return InvalidRequest("misdirected request", status=421, code="misdirected_request")


def _host(authority: str) -> str:
    host = authority.lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _bodiless(method: str, status: int) -> bool:
    return method == "HEAD" or status in _WORDLESS


def check(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Raise ValueError for a head that cannot be sent. Here, because h11 would then not send an error either, and
    HTTP/2 would carry a line end to whoever turns the reply into HTTP/1.1."""
    if not 200 <= status <= 599:
        raise ValueError("the reply has no final status")
    names = [name for name, _ in headers]
    if b"" in names or b"".join(names).translate(None, _TOKEN):
        raise ValueError("the name of a header of the reply is not a token")
    if _BREAKS.search(b"".join([value for _, value in headers])) is not None:
        raise ValueError("a control character in a header of the reply")


_date: tuple[int, bytes] = (0, b"")


def http_date() -> bytes:
    """Now, as RFC 9110 section 5.6.7 writes it; formatted once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]


async def refuse_websocket(scope: Scope, send: Send) -> None:
    """WebSockets are not served yet: 501."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = b"websockets are not supported"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), _CLOSE]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop: the runtime does both."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
