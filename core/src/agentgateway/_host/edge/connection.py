"""A client's HTTP/1.1 connection: bytes to turns, one after the other, and their replies to bytes.

A turn runs inside the callback that completes its request, and goes on inside those of the upstream's connection; see
`inline`. What is no HTTP/1.1 request (the preface of HTTP/2, an upgrade) is handed to Hypercorn with the bytes that
were read.

While a turn is under way the connection reads on only as long as there is room for what comes: for the turn's own body,
and for one more request. A client that ends its side is taken to have left, like one that closes.

One clock runs at a time, for what the connection waits for: a head, bytes of a body, the next request, the rest of a
body that nobody wants, a client that does not read, or the end of one that was told why.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from agentgateway._host.edge.peeking import has_bytes, peer_closed
from agentgateway._host.edge.turn import Turn
from agentgateway._host.edge.wire import CONTINUE, request_head
from agentgateway._host.entrance import entrance
from agentgateway._host.face import note_departure
from agentgateway._host.inbound_head import read_head, size_of
from agentgateway._host.inline import Drive
from agentgateway._host.pipeline import run
from agentgateway._host.suspension import Suspension, Watchdog
from agentgateway.errors import GatewayError, InvalidRequest
from agentgateway.exchange import ClientGone, Exchange, Headers, Reply, Request, Source

if TYPE_CHECKING:
    from agentgateway._host.assembly import Gateway
    from agentgateway._host.config import HttpFrontend
    from agentgateway._host.face import Peer, Runtime
    from agentgateway._host.traffic import Traffic

logger = logging.getLogger("agentgateway.server")

VERSIONS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What an HTTP/2 client says first (RFC 9113 section 3.4)."""
PREFACE_BEGINS = b"PRI"
"""So much of it begins no request."""
BITE = 32 * 1024
"""Bytes that are parsed at once. All of one read could be thousands of requests."""
IN_A_ROW = 64
"""Requests of one connection that are begun in one turn of the loop."""
COPY_LIMIT = 64 * 1024
"""Up to this size a body is copied behind its head, to go out in one system call."""
WORTH_WAITING = 256 * 1024
"""A body nobody read, of at most this announced size, does not cost the connection."""
UNREAD_SECONDS = 5.0
LOOK_SECONDS = 0.5
"""How often a client that is not being read is looked after."""
LINGER_BYTES = 4 * 1024 * 1024
LINGER_SECONDS = 1.0
"""What a client that is cut off may still send, so that it gets to read why."""
GOODBYE_SECONDS = 0.5
"""How long an idle client may take to answer the goodbye of TLS."""
UNKNOWN = 2**62
"""In place of a head's size: measure it."""
_METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]*)(?: ([!-~]*)|\Z)")


class Door(Protocol):
    """The port by which connections come."""

    traffic: Traffic
    number: int

    def entered(self, connection: EdgeConnection) -> None: ...
    def left(self, connection: EdgeConnection) -> None: ...
    def hand_over(self, transport: asyncio.Transport, peer: Peer, data: bytes) -> None:
        """Let Hypercorn go on with a connection from which `data` was read."""


class EdgeConnection(asyncio.Protocol):
    """One connection. `retire` and `cut` end it; everything else is the event loop's, the parser's and the turns'."""

    __slots__ = (
        *("loop", "congested", "_door", "_runtime", "_find_peer", "_context", "_transport", "_peer", "_source"),
        *("_scheme", "_parser", "_clock", "_waits_for", "_active", "_gateway", "_ready", "_incoming", "_in_head"),
        *("_silent", "_held", "_kept", "_unsent", "_paused", "_looking", "_last", "_beginning", "_lost"),
        "_refused_bytes",
    )

    def __init__(self, door: Door, runtime: Runtime, peer: Callable[[asyncio.BaseTransport], Peer]) -> None:
        """`peer` tells who is at the other end of a transport; it raises `ssl.SSLError` for who may not come in."""
        loop = self.loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # before any request: an upstream's callback may begin one
        self._runtime = runtime
        self._find_peer = peer
        self.congested: Suspension | None = None  # the client reads too slowly
        self._door = door
        self._transport: asyncio.Transport
        self._peer: Peer
        self._source = Source()
        self._scheme = "http"
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._clock = Watchdog(loop, self._expired)
        self._waits_for = ""  # what the clock is for
        self._active: Turn | None = None  # the turn whose reply is being made
        self._gateway: Gateway | None = None  # what it is made by
        self._ready: deque[Turn] = deque()  # turns whose heads are complete, behind the active one
        self._incoming: Turn | None = None  # the request that is being read
        self._in_head = False
        self._silent = 0  # bytes of a head, or more of chunks' framing than their bodies account for
        self._kept = b""  # bytes that nobody has parsed yet
        self._held = b""  # a head that waits for what follows it
        self._unsent = 0  # bytes the client had yet to take when the clock was started for it
        self._paused = False
        self._looking = False
        self._last = False  # nothing is read any more: what has begun is answered, then the connection ends
        self._beginning = False
        self._lost = False  # the transport is gone
        self._refused_bytes = 0  # what came when nothing was read any more

    # --- the event loop ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        try:
            self._peer = self._find_peer(transport)
        except OSError:  # `ssl.SSLError` is one
            self._transport.abort()
            return
        self._door.entered(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self._hand_over(b"")
            return
        address = transport.get_extra_info("peername")
        if isinstance(address, tuple):  # of a unix socket it is a path
            self._source = Source(address[0].removeprefix("::ffff:"), address[1], self._peer.certificate)
        self._scheme = "http" if tls is None else "https"
        self._wait("head", self._limits.http1_header_timeout)

    def data_received(self, data: bytes) -> None:
        self._door.traffic.received += len(data)
        if self._parser is None:
            self._refuse_bytes(len(data))
        elif self._kept or not len(PREFACE_BEGINS) <= len(data) <= BITE:
            self._kept += data
            self._feed_on()
        elif (given := self._feed(data)) is not None:
            self._hand_over(given)

    def eof_received(self) -> None:
        self._depart()

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None  # it holds our bound methods
        self._clock.close()
        self._lost = True
        self._depart()
        if self._active is None or self._active.abandoned:  # else `_ended` follows
            self._door.left(self)

    def pause_writing(self) -> None:
        self.congested = Suspension(self.loop)
        self._wait_for_reader()

    def resume_writing(self) -> None:
        congested, self.congested = self.congested, None
        self._clock.stop()
        self._waits_for = ""
        if congested is not None:
            congested.wake()
        active = self._active
        if self._transport.is_closing():
            self._wait_for_reader()
        elif active is None:
            self._rest()
        elif active.abandoned:
            self._wait("drop", UNREAD_SECONDS)
        elif active.waits:
            self._wait("body", self._limits.body_timeout)

    # --- the parser --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        turn = self._incoming = Turn(self)
        self._in_head = True
        if not self._silent:
            turn.size = UNKNOWN  # it begins behind another one

    def on_url(self, url: bytes) -> None:
        if self._incoming is not None:
            self._incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and self._incoming is not None:  # else it is a trailer, and dropped
            self._incoming.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        turn, parser = self._incoming, self._parser
        assert turn is not None and parser is not None
        turn.method = parser.get_method().decode("ascii")
        turn.version = parser.get_http_version()
        turn.keep = parser.should_keep_alive()
        turn.size += self._silent
        fields = dict(turn.headers)
        if b"content-length" in fields:
            turn.length = int(fields[b"content-length"])
        if b"transfer-encoding" in fields:
            turn.length = None
            if fields[b"transfer-encoding"].lower() != b"chunked":
                turn.error = InvalidRequest("unknown transfer coding", status=501, code="not_implemented")
        if b"expect" in fields:
            turn.expects = fields[b"expect"].lower() == b"100-continue" and turn.version == "1.1"
        self._in_head = False
        self._silent = 0
        self._ready.append(turn)

    def on_body(self, chunk: bytes) -> None:
        framing = self._silent - 3 * len(chunk) - 16
        self._silent = framing if framing > 0 else 0
        turn = self._incoming
        if turn is not None and not turn.arrived(chunk):
            self._pause()

    def on_message_complete(self) -> None:
        if self._incoming is not None:
            self._incoming.complete = True
            self._incoming = None
            self._silent = 0

    # --- requests ----------------------------------------------------------------------------------------------------

    @property
    def _limits(self) -> HttpFrontend:
        return self._runtime.gateway.http

    def _feed_on(self) -> None:
        """Parse what was kept, bite by bite, until there is something to do."""
        data, self._kept = self._kept, b""
        if not data or self._transport.is_closing():
            return
        if self._incoming is None and PREFACE_BEGINS.startswith(data):
            self._kept = data  # the beginning of HTTP/2, or of a request
            return
        at = 0
        while at < len(data) and not (self._parser is None or self._transport.is_closing()):
            if self._ready or self._kept:
                self._kept += data[at:]
                self._pause()
                return
            bite = data[at : at + BITE]
            at += len(bite)
            if (given := self._feed(bite)) is not None:
                self._hand_over(given + data[at:])
                return

    def _feed(self, data: bytes) -> bytes | None:
        """Parse, and go on with what is there then. Returns what Hypercorn is to go on with, if it is."""
        begun = self._incoming
        if begun is None and data[:3] == PREFACE_BEGINS and PREFACE.startswith(data[:24]) and self._at_rest:
            return data
        self._silent += len(data)
        while self._parser is not None:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                turn, rest = self._ready.pop(), data[upgrade.args[0] :]
                if not turn.may_upgrade:
                    data = self._not_upgraded(turn, rest)
                elif self._at_rest and not self._ready:
                    return request_head(turn) + rest
                else:  # the requests before it come first
                    self._kept = request_head(turn) + rest
                    self._parser = HttpRequestParser(self)
                    self._pause()
                    break
            except HttpParserError as error:
                self._malformed(error, data, begun)
        self._go_on()
        return None

    def _go_on(self) -> None:
        """What follows from the bytes that were just read."""
        if self._silent > self._limits.http1_max_head_size:
            self._too_long()
        if self._in_head and self._waits_for != "head" and self._active is None:
            self._wait("head", self._limits.http1_header_timeout)
        active = self._active
        if active is None:
            self._next()
        elif active.abandoned:
            if active.complete:
                self._finish(active)
        elif active.parts or active.complete or active.error is not None:
            if self._waits_for == "body":
                self._clock.stop()
            active.wake()
        if self._ready:
            self._pause()  # one request more than is being answered is enough

    def _next(self) -> None:
        """Begin the next turn, unless one is under way or the client does not take what it has asked for."""
        if self._beginning:
            return
        self._beginning = True  # a turn may end before `_begin` returns, and that calls this
        left = IN_A_ROW
        try:
            while self._ready and self._active is None and self.congested is None:
                if not left:
                    self.loop.call_soon(self._next)  # others want their turn, too
                    break
                left -= 1
                self._begin(self._ready.popleft())
        except Exception:
            logger.exception("a request could not be begun")
            if self._gateway is not None:
                self._gateway.active -= 1
            self._active = self._gateway = None
            self._transport.abort()
        finally:
            self._beginning = False
        if not (self._ready or self._last or (self._kept and self.congested is not None)):
            self.resume_reading()

    def _begin(self, turn: Turn) -> None:
        self._active = turn
        self._clock.stop()
        self._waits_for = ""
        gateway = self._gateway = self._runtime.gateway
        gateway.active += 1
        limits = gateway.http.of_heads
        size = turn.size if turn.size <= limits.size else size_of(turn.method, turn.url, turn.headers)
        head = read_head(turn.method, turn.url, turn.headers, turn.version, size, limits)
        error = turn.error or head.error
        if error is not None:
            turn.keep = False
            head = head._replace(error=error)
        listener = entrance(gateway.binds.get(self._door.number), head, self._peer)
        request = Request(
            *(turn.method, head.target, Headers(head.headers), turn.body()),
            *(self._scheme, head.authority, VERSIONS.get(turn.version, "HTTP/1.1")),
        )
        exchange = Exchange(request, self._source)
        exchange.place = listener.place
        turn.exchange = exchange
        turn.drive = Drive(self.loop, run(exchange, listener, turn.write), self._ended, self._context)
        turn.drive.resume()

    def wants_body(self, turn: Turn) -> None:
        """The pipeline waits for more of the turn's body."""
        if turn.expects and not turn.started:
            turn.expects = False
            self._transport.write(CONTINUE)
        self.resume_reading()
        self._wait("body", self._limits.body_timeout)

    # --- replies -----------------------------------------------------------------------------------------------------

    def ends_with(self, turn: Turn) -> bool:
        """Whether the connection ends with that turn's reply."""
        last = (self._last or self._runtime.draining) and not self._ready
        if last or not turn.keep or turn.error is not None:
            turn.keep = False
        elif not turn.complete:
            turn.keep = not turn.expects and turn.length is not None and turn.length <= WORTH_WAITING
        return not turn.keep

    def write(self, head: bytes, body: bytes) -> None:
        if self._transport.is_closing():
            raise ClientGone
        self._door.traffic.sent += len(head) + len(body)
        if len(body) <= COPY_LIMIT:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def hold(self, head: bytes) -> None:
        """Write a head together with what follows in the same step, if anything does."""
        self._held = head
        self.loop.call_soon(self._release)

    def push(self, chunk: bytes) -> None:
        if self._transport.is_closing():
            raise ClientGone
        if self._held:
            chunk, self._held = self._held + chunk, b""
        self._door.traffic.sent += len(chunk)
        self._transport.write(chunk)

    def _release(self) -> None:
        if self._held and not self._transport.is_closing():
            self.push(b"")

    async def drained(self) -> None:
        """Until the client has read enough of what was written."""
        while self.congested is not None:
            await self.congested.suspend()

    def _ended(self) -> None:
        """The pipeline is done with the active turn."""
        turn, gateway = self._active, self._gateway
        assert turn is not None and gateway is not None
        gateway.active -= 1
        self._gateway = None
        turn.drive = None
        if turn.gone or self._transport.is_closing():
            self._active = None
            self._transport.abort()
            if self._lost:
                self._door.left(self)
            return
        if not turn.started:
            turn.write_whole(Reply.text(500, "internal error"), b"internal error")
        if not turn.ended:
            self._release()
            self._active = None
            self._ready.clear()
            self._close()  # a cut is all that can still be said
        elif not turn.keep:
            self._say_goodbye(turn)
        elif turn.complete:
            self._finish(turn)
        else:
            turn.abandoned = True
            turn.parts.clear()
            self.resume_reading()
            self._wait("drop", UNREAD_SECONDS)

    def _finish(self, turn: Turn) -> None:
        """Both request and reply are complete: on to what comes next."""
        self._active = None
        if self.congested is None:
            self._rest()

    def _rest(self) -> None:
        """Nothing is being answered, and everything has been taken."""
        if self._ready:
            self._next()
        elif self._last:
            self._leave()
        elif self._in_head:
            self._wait("head", self._limits.http1_header_timeout)
        else:
            self._wait("idle", self._limits.http1_idle_timeout)
            if self._kept:
                self.resume_reading()

    # --- endings -----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return self._at_rest and not (self._ready or self._incoming or self._kept or self._unread())

    @property
    def _at_rest(self) -> bool:
        """Nothing is being answered, and everything has been taken."""
        return self._active is None and self.congested is None

    def _unread(self) -> bool:
        """Whether a request has come that nobody has looked at yet."""
        return has_bytes(self._transport.get_extra_info("socket").fileno())

    def retire(self) -> None:
        """Close when nothing is going on; else with the reply that is due."""
        if not self.idle:
            self._last = True
            return
        self._close()
        if not self._unsent:
            self._wait("write", GOODBYE_SECONDS)

    def cut(self) -> None:
        """End now, whatever is going on."""
        self._transport.abort()

    def _malformed(self, error: HttpParserError, data: bytes, begun: Turn | None) -> None:
        """Nothing that follows can be told apart. What came before is answered, and this with the reason. `begun` is
        the turn that was being read before `data` came."""
        if isinstance(error, HttpParserInvalidMethodError) and self._is_method(data, begun):
            self._refuse(InvalidRequest("unknown method", status=501, code="not_implemented"))
        elif str(error) == "Invalid HTTP version":
            self._refuse(InvalidRequest("HTTP version not supported", status=505, code="http_version_not_supported"))
        else:
            self._refuse(InvalidRequest("malformed request", code="invalid_request", detail=str(error)))

    def _is_method(self, data: bytes, begun: Turn | None) -> bool:
        """Whether the parser only does not know the method that is in `data`, or goes on there."""
        turn, line = self._incoming, _METHOD.match(data)
        if self._ready or turn is None or turn.url or line is None:
            return False
        if begun is None:
            turn.method, turn.url = line[1].decode(), line[2] or b""
        return begun is turn or bool(line[1])

    def _too_long(self) -> None:
        if self._in_head or (self._incoming is not None and self._incoming.length is None):
            what = "header fields" if self._in_head else "trailers or chunk extensions"
            code = "header_fields_too_large"
            self._refuse(InvalidRequest(f"the {what} are too large", status=431, code=code))

    def _refuse(self, error: GatewayError) -> Turn:
        """Read no more, for this reason. Returns the turn that says so."""
        parser, self._parser = self._parser, None
        self._last = True
        turn, self._incoming = self._incoming, None
        if turn is None or self._in_head:
            turn = turn or Turn(self)
            turn.complete = True  # nothing of a body will be read
            if turn.url and not turn.method and parser is not None:
                turn.method = parser.get_method().decode("ascii")
            self._ready.append(turn)
        self._in_head = False
        turn.error = turn.error or error
        turn.keep = False
        return turn

    def _not_upgraded(self, turn: Turn, rest: bytes) -> bytes:
        """An upgrade that is none, and what came behind its head: what is to be parsed again."""
        if turn.method != "CONNECT":  # the rest of the head counts
            self._parser = HttpRequestParser(self)
            turn.headers = [field for field in turn.headers if field[0] != b"upgrade"]
            return request_head(turn) + rest
        self._parser = None  # what follows is meant for somebody else
        self._last = True
        turn.keep = False
        self._ready.append(turn)
        return b""

    def _hand_over(self, data: bytes) -> None:
        self._parser = None
        self._incoming = None
        self._clock.close()
        self.resume_reading()
        self._door.left(self)
        self._door.hand_over(self._transport, self._peer, data)

    def _depart(self) -> None:
        """The client left."""
        self._ready.clear()
        turn = self._active
        if turn is not None and not turn.ended and not turn.gone:
            turn.gone = True
            note_departure(self._runtime, turn.exchange)
            if turn.drive is not None:
                turn.drive.cancel()

    def _say_goodbye(self, turn: Turn) -> None:
        """Close behind the last reply, once it was taken."""
        more = self._last or self._runtime.draining  # it may have asked for more, not knowing our plans
        self._active = None
        self._ready.clear()
        self._kept = b""
        self._release()
        self._last = True
        if more or not turn.complete or turn.error is not None or self._paused or self.congested is not None:
            self._parser = None
            self.resume_reading()
        if self.congested is None:
            self._leave()

    def _leave(self) -> None:
        """Close. A client that is still sending first gets to read why: closing on bytes that nobody read would reset
        the connection."""
        if self._parser is not None:
            self._close()
        else:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._wait("linger", LINGER_SECONDS)

    def _close(self) -> None:
        """Close as soon as the client has taken everything."""
        self._transport.close()
        self._wait_for_reader()

    def _refuse_bytes(self, size: int) -> None:
        self._refused_bytes += size
        if self._refused_bytes > LINGER_BYTES:
            self._pause()  # closed now, the client would not get to read

    # --- clocks and pauses -------------------------------------------------------------------------------------------

    def _wait(self, what: str, seconds: float) -> None:
        if self.congested is None or what == "write":  # else `resume_writing` sees to it
            self._waits_for = what
            self._clock.start(seconds)

    def _wait_for_reader(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._wait("write", self._limits.body_timeout)

    def _expired(self) -> None:
        what, self._waits_for = self._waits_for, ""
        if what == "head" and self._in_head:
            self._refuse(late("head"))
            self._next()
        elif what == "body" and self._active is not None:
            self._refuse(late("body"))
            self._active.wake()
        elif what == "write" and 0 < self._transport.get_write_buffer_size() < self._unsent:
            self._wait_for_reader()  # slow, and reading
        elif what in ("write", "linger"):
            self._transport.abort()
        else:
            self._close()

    def _pause(self) -> None:
        if self._paused or self._transport.is_closing():
            return
        self._paused = True
        self._transport.pause_reading()
        if not self._looking:
            self._looking = True
            self.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Notice a client that leaves while nothing is read, where the system tells."""
        self._looking = self._paused and not self._transport.is_closing()
        if not self._looking:
            return
        if peer_closed(self._transport.get_extra_info("socket").fileno()):
            self._depart()
            self._transport.abort()
        else:
            self.loop.call_later(LOOK_SECONDS, self._look)

    def resume_reading(self) -> None:
        if self._paused:
            if self._kept:
                self.loop.call_soon(self._read_on)
            else:
                self._read_on()

    def _read_on(self) -> None:
        """What was kept comes before what the socket has."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
            self._feed_on()


def late(part: str) -> InvalidRequest:
    return InvalidRequest(f"the request {part} came too slowly", status=408, code="request_timeout")
