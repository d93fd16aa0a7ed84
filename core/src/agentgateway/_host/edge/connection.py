"""A client's HTTP/1.1 connection: turns, one after the other, and what follows from one for the next.

A turn runs inside the callback that completes its request, and goes on inside those of the upstream's connection; see
`inline`. What is no HTTP/1.1 request (the preface of HTTP/2, an upgrade) is handed to Hypercorn with the bytes that
were read.

While a turn is under way the connection reads on only as long as there is room for what comes: for the turn's own body,
and for one more request. A client that ends its side is taken to have left, like one that closes.

Here is the order of things. The parts: `reading` makes turns of bytes, `sending` writes replies, `pausing` stops and
resumes reading, `clock` knows what is waited for, `closing` how a connection ends well.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from agentgateway._host.edge.clock import Clock
from agentgateway._host.edge.closing import Closing
from agentgateway._host.edge.pausing import Pausing
from agentgateway._host.edge.peeking import has_bytes
from agentgateway._host.edge.reading import Reading
from agentgateway._host.edge.repeating import DIGITS
from agentgateway._host.edge.sending import Sending
from agentgateway._host.edge.turn import Turn
from agentgateway._host.edge.wire import CONTINUE
from agentgateway._host.entrance import entrance
from agentgateway._host.face import note_departure
from agentgateway._host.inbound_head import Head, Limits, read_head, size_of
from agentgateway._host.inline import Drive
from agentgateway._host.pipeline import run
from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Exchange, Headers, Reply, Request, Source

if TYPE_CHECKING:
    from agentgateway._host.config import HttpFrontend
    from agentgateway._host.face import Peer, Runtime
    from agentgateway._host.gateway import Gateway
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
WORTH_WAITING = 256 * 1024
"""A body nobody read, of at most this announced size, does not cost the connection."""
UNREAD_SECONDS = 5.0


class Door(Protocol):
    """The port by which connections come."""

    traffic: Traffic
    number: int

    def entered(self, connection: EdgeConnection) -> None: ...
    def left(self, connection: EdgeConnection) -> None: ...
    def hand_over(self, transport: asyncio.Transport, peer: Peer, data: bytes) -> None:
        """Let Hypercorn go on with a connection from which `data` was read."""


class EdgeConnection(asyncio.Protocol):
    """One connection. `retire` and `cut` end it; everything else is the event loop's and the turns'."""

    __slots__ = (
        *("loop", "sending", "_door", "_runtime", "_find_peer", "_context", "_transport", "_peer", "_source"),
        *("_scheme", "_reading", "_pausing", "_clock", "_closing", "_active", "_gateway", "_beginning", "_lost"),
    )

    def __init__(self, door: Door, runtime: Runtime, peer: Callable[[asyncio.BaseTransport], Peer]) -> None:
        """`peer` tells who is at the other end of a transport; it raises `ssl.SSLError` for who may not come in."""
        self.loop = asyncio.get_running_loop()
        self.sending: Sending
        self._context = contextvars.copy_context()  # before any request: an upstream's callback may begin one
        self._door = door
        self._runtime = runtime
        self._find_peer = peer
        self._transport: asyncio.Transport
        self._peer: Peer
        self._source = Source()
        self._scheme = "http"
        self._reading: Reading
        self._pausing: Pausing
        self._clock: Clock
        self._closing: Closing
        self._active: Turn | None = None  # the turn whose reply is being made
        self._gateway: Gateway | None = None  # what it is made by
        self._beginning = False
        self._lost = False  # the transport is gone

    # --- the event loop ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.sending = Sending(self.loop, transport, self._door.traffic)
        self._pausing = Pausing(self.loop, transport, self._depart)
        self._reading = Reading(self._runtime, partial(Turn, self), self._pausing.pause)
        self._clock = Clock(self.loop, self._expired)
        self._closing = Closing(transport, self._clock, self._pausing)
        try:
            self._peer = self._find_peer(transport)
        except OSError:  # `ssl.SSLError` is one
            transport.abort()
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
        reading = self._reading
        if not reading.open:
            self._closing.refuse_bytes(len(data))
        elif reading.kept or not len(PREFACE_BEGINS) <= len(data) <= BITE:
            reading.kept += data
            self._feed_on()
        elif (given := self._feed(data)) is not None:
            self._hand_over(given)

    def eof_received(self) -> None:
        self._depart()

    def connection_lost(self, error: Exception | None) -> None:
        self._reading.close()
        self._pausing.close()
        self._clock.close()
        self._lost = True
        self._depart()
        if self._active is None or self._active.abandoned:  # else `_ended` follows
            self._door.left(self)

    def pause_writing(self) -> None:
        self.sending.congest()
        self._closing.wait_for_reader(self._limits.body_timeout)

    def resume_writing(self) -> None:
        self._clock.stop()
        self._clock.waits_for = ""
        self.sending.relieve()
        active = self._active
        if self._transport.is_closing():
            self._closing.wait_for_reader(self._limits.body_timeout)
        elif active is None:
            self._rest()
        elif active.abandoned:
            self._wait("drop", UNREAD_SECONDS)
        elif active.waits:
            self._wait("body", self._limits.body_timeout)

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def _limits(self) -> HttpFrontend:
        return self._runtime.gateway.http

    def _feed_on(self) -> None:
        """Parse what was kept, bite by bite, until there is something to do."""
        reading = self._reading
        data, reading.kept = reading.kept, b""
        if not data or self._transport.is_closing():
            return
        if reading.incoming is None and PREFACE_BEGINS.startswith(data):
            reading.kept = data  # the beginning of HTTP/2, or of a request
            return
        at = 0
        while at < len(data) and reading.open and not self._transport.is_closing():
            if reading.ready or reading.kept:
                reading.kept += data[at:]
                self._pausing.pause()
                return
            bite = data[at : at + BITE]
            at += len(bite)
            if (given := self._feed(bite)) is not None:
                self._hand_over(given + data[at:])
                return

    def _feed(self, data: bytes) -> bytes | None:
        """Parse, and go on with what is there then. Returns what Hypercorn is to go on with, if it is."""
        reading = self._reading
        at_rest = self._active is None and self.sending.congested is None
        if at_rest and data[:3] == PREFACE_BEGINS and PREFACE.startswith(data[:24]) and reading.incoming is None:
            return data
        if (upgrade := reading.feed(data, at_rest)) is not None:
            return upgrade
        if reading.kept:
            self._pausing.pause()
        self._go_on()
        return None

    def _go_on(self) -> None:
        """What follows from the bytes that were just read."""
        reading, clock, active = self._reading, self._clock, self._active
        if reading.in_head and active is None and clock.waits_for != "head":
            self._wait("head", self._limits.http1_header_timeout)
        if active is None:
            self._next()
        elif active.abandoned:
            if active.complete:
                self._finish()
        elif active.parts or active.complete or active.error is not None:
            if clock.waits_for == "body":
                clock.stop()
            active.wake()
        if reading.ready:
            self._pausing.pause()  # one request more than is being answered is enough

    def resume_reading(self) -> None:
        if self._pausing.paused:
            if self._reading.kept:
                self.loop.call_soon(self._read_on)
            else:
                self._read_on()

    def _read_on(self) -> None:
        """What was kept comes before what the socket has."""
        if self._pausing.paused:
            self._pausing.lift()
            self._feed_on()

    def _hand_over(self, data: bytes) -> None:
        self._reading.close()
        self._reading.incoming = None
        self._clock.close()
        self.resume_reading()
        self._door.left(self)
        self._door.hand_over(self._transport, self._peer, data)

    # --- turns -------------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin the next turn, unless one is under way or the client does not take what it has asked for."""
        if self._beginning:
            return
        self._beginning = True  # a turn may end before `_begin` returns, and that calls this
        reading, sending, left = self._reading, self.sending, IN_A_ROW
        try:
            while reading.ready and self._active is None and sending.congested is None:
                if not left:
                    self.loop.call_soon(self._next)  # others want their turn, too
                    break
                left -= 1
                self._begin(reading.ready.popleft())
        except Exception:
            logger.exception("a request could not be begun")
            if self._gateway is not None:
                self._gateway.active -= 1
            self._active = self._gateway = None
            self._transport.abort()
        finally:
            self._beginning = False
        if not (reading.ready or reading.last or (reading.kept and sending.congested is not None)):
            self.resume_reading()

    def _begin(self, turn: Turn) -> None:
        self._active = turn
        clock = self._clock
        clock.stop()
        clock.waits_for = ""
        gateway = self._gateway = self._runtime.gateway
        gateway.active += 1
        limits = gateway.http.of_heads
        repeated = turn.repeated
        if repeated is not None and repeated.read is not None and repeated.limits == limits:
            head, headers = repeated.read, turn.headers
        else:
            head = self._read_head(turn, limits)
            headers = head.headers
        error = turn.error or head.error
        if error is not None:
            turn.keep = False
            head = head._replace(error=error)
        listener = entrance(gateway.binds.get(self._door.number), head, self._peer)
        request = Request(
            *(turn.method, head.target, Headers(headers), turn.body()),
            *(self._scheme, head.authority, VERSIONS.get(turn.version, "HTTP/1.1")),
        )
        exchange = Exchange(request, self._source)
        exchange.place = listener.place
        turn.exchange = exchange
        turn.drive = Drive(self.loop, run(exchange, listener, turn.write), self._ended, self._context)
        turn.drive.resume()

    def _read_head(self, turn: Turn, limits: Limits) -> Head:
        size = turn.size if turn.size <= limits.size else size_of(turn.method, turn.url, turn.headers)
        head = read_head(turn.method, turn.url, turn.headers, turn.version, size, limits)
        repeated = turn.repeated
        fits = size + DIGITS <= limits.size  # whatever its body's length
        if repeated is not None and fits and head.error is None and head.headers is turn.headers:
            repeated.limits, repeated.read = limits, head
        return head

    def wants_body(self, turn: Turn) -> None:
        """The pipeline waits for more of the turn's body."""
        if turn.expects and not turn.started:
            turn.expects = False
            self._transport.write(CONTINUE)
        self.resume_reading()
        self._wait("body", self._limits.body_timeout)

    def ends_with(self, turn: Turn) -> bool:
        """Whether the connection ends with that turn's reply."""
        reading = self._reading
        last = (reading.last or self._runtime.draining) and not reading.ready
        if last or not turn.keep or turn.error is not None:
            turn.keep = False
        elif not turn.complete:
            turn.keep = not turn.expects and turn.length is not None and turn.length <= WORTH_WAITING
        return not turn.keep

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
            self.sending.release()
            self._active = None
            self._reading.ready.clear()
            self._close()  # a cut is all that can still be said
        elif not turn.keep:
            self._say_goodbye(turn)
        elif turn.complete:
            self._finish()
        else:
            turn.abandoned = True
            turn.parts.clear()
            self.resume_reading()
            self._wait("drop", UNREAD_SECONDS)

    def _finish(self) -> None:
        """Both request and reply are complete: on to what comes next."""
        self._active = None
        if self.sending.congested is None:
            self._rest()

    def _rest(self) -> None:
        """Nothing is being answered, and everything has been taken."""
        reading = self._reading
        if reading.ready:
            self._next()
        elif reading.last:
            self._leave()
        elif reading.in_head:
            self._wait("head", self._limits.http1_header_timeout)
        else:
            self._wait("idle", self._limits.http1_idle_timeout)
            if reading.kept:
                self.resume_reading()

    def _wait(self, what: str, seconds: float) -> None:
        if self.sending.congested is None:  # else `resume_writing` sees to it
            clock = self._clock
            clock.waits_for = what
            clock.start(seconds)

    def _expired(self) -> None:
        what, self._clock.waits_for = self._clock.waits_for, ""
        if what == "head" and self._reading.in_head:
            self._reading.refuse(late("head"))
            self._next()
        elif what == "body" and self._active is not None:
            self._reading.refuse(late("body"))
            self._active.wake()
        elif what == "write" and self._closing.reads():
            self._closing.wait_for_reader(self._limits.body_timeout)  # slow, and reading
        elif what in ("write", "linger"):
            self._transport.abort()
        else:
            self._close()

    # --- endings -----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        reading = self._reading
        at_rest = self._active is None and self.sending.congested is None
        return at_rest and not (reading.ready or reading.incoming or reading.kept or self._unread())

    def _unread(self) -> bool:
        """Whether a request has come that nobody has looked at yet."""
        return has_bytes(self._transport.get_extra_info("socket").fileno())

    def retire(self) -> None:
        """Close when nothing is going on; else with the reply that is due."""
        if self.idle:
            self._closing.close_idle(self._limits.body_timeout)
        else:
            self._reading.last = True

    def cut(self) -> None:
        """End now, whatever is going on."""
        self._depart()  # at once: a turn that wrote on before the loss is told would take it for the client's doing
        self._transport.abort()

    def _depart(self) -> None:
        """The client left, or is made to."""
        self._reading.ready.clear()
        turn = self._active
        if turn is not None and not turn.ended and not turn.gone:
            turn.gone = True
            note_departure(self._runtime, turn.exchange)
            if turn.drive is not None:
                turn.drive.cancel()

    def _say_goodbye(self, turn: Turn) -> None:
        """Close behind the last reply, once it was taken."""
        reading = self._reading
        more = reading.last or self._runtime.draining  # it may have asked for more, not knowing our plans
        self._active = None
        reading.ready.clear()
        reading.kept = b""
        self.sending.release()
        reading.last = True
        congested = self.sending.congested is not None
        if more or not turn.complete or turn.error is not None or self._pausing.paused or congested:
            reading.stop()
            self.resume_reading()
        if not congested:
            self._leave()

    def _leave(self) -> None:
        """Close. A client that may still be sending first gets to read why."""
        if self._reading.open:
            self._close()
        else:
            self._closing.linger()

    def _close(self) -> None:
        self._closing.close(self._limits.body_timeout)


def late(part: str) -> InvalidRequest:
    return InvalidRequest(f"the request {part} came too slowly", status=408, code="request_timeout")
