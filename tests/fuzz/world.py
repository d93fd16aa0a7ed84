"""All that is around a connection, without sockets and without waiting: a loop whose clock jumps, a transport that
keeps what is written, a port, a runtime, and an upstream that moves when the script says so."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from asyncio import events
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gateway

from agentgateway._host.config import HttpFrontend
from agentgateway._host.edge import connection as edge_connection
from agentgateway._host.edge import turn as edge_turn
from agentgateway._host.edge.connection import EdgeConnection
from agentgateway._host.face import UNKNOWN
from agentgateway._host.traffic import Traffic

LIMITS = HttpFrontend(
    http1_max_headers=12,
    http1_max_head_size=1024,
    http1_idle_timeout="60s",
    http1_header_timeout="10s",
    body_timeout="20s",
)
edge_turn.HIGH_WATER = 512
edge_connection.BITE = 256
WRITE_HIGH_WATER = 512
TURNS = 2000
"""Turns of the loop after which what has begun is called endless."""
SOCKETS = socket.socketpair()
"""Whose state is asked for while a client is not being read."""


class Finding(AssertionError):
    """Something that must not happen."""


class _Clock:
    """In place of a selector: nothing ever comes from outside, and nobody sleeps."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        return []


class Loop(asyncio.BaseEventLoop):
    """An event loop that runs only when told to, and whose clock moves only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Clock(self)
        self.now = 1000.0
        self._clock_resolution = 1e-3  # or timers would never be due, once the clock has come far
        self.set_exception_handler(self._found)
        self.found: list[str] = []

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: Any) -> None: ...
    def _write_to_self(self) -> None: ...

    def _found(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.found.append(f"{context.get('message')}: {context.get('exception')!r}")

    def run_once(self) -> None:
        self._run_once()

    def settle(self) -> None:
        """Until nothing is left to do at this moment."""
        for _ in range(TURNS):
            if not self._ready:
                return
            self._run_once()
        raise Finding("callbacks follow each other without end")

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, timer by timer."""
        until = self.now + seconds
        self.settle()
        for _ in range(TURNS):
            due = self.next_timer()
            if due is None or due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            self._run_once()
            self.settle()
        raise Finding("timers follow each other without end")

    def next_timer(self) -> float | None:
        return min((handle.when() for handle in self._scheduled if not handle.cancelled()), default=None)


class Complaints(logging.Handler):
    """Errors that the gateway logs: each stands for an exception that somebody had to catch at a border."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        self.lines.append(text)


COMPLAINTS = Complaints()


def quiet() -> None:
    """Log to `COMPLAINTS` alone."""
    for name in ("agentgateway", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [COMPLAINTS]
        logger.propagate = False
        logger.setLevel(logging.ERROR)


class Wire(asyncio.Transport):
    """The client's side of a connection. Stricter than any real transport about what a protocol may ask of it."""

    def __init__(self, loop: Loop, protocol: EdgeConnection) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self.received = bytearray()  # by the client
        self.backlog = bytearray()  # written, and not taken by the client
        self.read = bytearray()  # by the gateway
        self.reads = True  # the client does
        self.reading = True  # the gateway does
        self.ended = False  # the gateway will write no more
        self.closing = False
        self.lost = False
        self.cut = False  # with bytes that the client never got
        self.piece = 0  # the longest that was read
        self.taken = False  # somebody else goes on with it
        self._congested = False
        self._waiting: list[bytes] = []
        self._half_closed = False

    # What the client does.

    def send(self, data: bytes) -> None:
        if self.closing or self._half_closed or self.lost:
            return
        if self.reading and not self._waiting:
            self._deliver(data)
        else:
            self._waiting.append(data)

    def half_close(self) -> None:
        self._half_closed = True
        self._tell_end()

    def reset(self) -> None:
        self._lose(ConnectionResetError())

    def reads_on(self) -> None:
        self.reads = True
        self._flush()

    def take_all(self) -> None:
        """Read what is left, when the protocol is another one."""
        self.received += self.backlog
        self.backlog.clear()

    def _deliver(self, data: bytes) -> None:
        self.read += data
        self.piece = max(self.piece, len(data))
        self._protocol.data_received(data)

    def _tell_end(self) -> None:
        if self._half_closed and self.reading and not (self._waiting or self.closing or self.taken):
            self._half_closed = False
            if not self._protocol.eof_received():
                self.close()

    def _flush(self) -> None:
        self.received += self.backlog
        self.backlog.clear()
        if self._congested and not self.lost:
            self._congested = False
            self._protocol.resume_writing()
        if self.closing and not self.lost:
            self._loop.call_soon(self._lose, None)

    def _pump(self) -> None:
        while self._waiting and self.reading and not self.closing and not self.taken:
            self._deliver(self._waiting.pop(0))
        self._tell_end()

    # What the gateway does.

    def write(self, data: bytes) -> None:
        if type(data) is not bytes:
            raise Finding(f"{type(data).__name__} was written")
        if self.ended:
            raise Finding("written behind the end")
        if self.closing:
            return
        if self.reads:
            self.received += data
            return
        self.backlog += data
        if len(self.backlog) > WRITE_HIGH_WATER and not self._congested:
            self._congested = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.lost:
            raise Finding("half-closed a transport that is gone")
        self.ended = True

    def pause_reading(self) -> None:
        if self.lost:
            raise Finding("paused a transport that is gone")  # which uvloop refuses
        self.reading = False

    def resume_reading(self) -> None:
        if self.lost:
            raise Finding("resumed a transport that is gone")
        if not self.reading:
            self.reading = True
            self._loop.call_soon(self._pump)

    def is_reading(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return len(self.backlog)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.backlog:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self.closing = True
        self._loop.call_soon(self._lose, None)

    def set_protocol(self, protocol: Any) -> None:
        raise Finding("the port, and nobody else, changes the protocol")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 50000), "socket": SOCKETS[0]}.get(name, default)

    def _lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.closing = self.lost = True
        self.cut = bool(self.backlog) or error is not None
        self.backlog.clear()
        self._protocol.connection_lost(error)


@dataclass
class Door:
    """The port, with one connection."""

    number: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    inside: bool = False
    handed: bytes | None = None

    def entered(self, connection: EdgeConnection) -> None:
        self.inside = True

    def left(self, connection: EdgeConnection) -> None:
        self.inside = False

    def hand_over(self, transport: Any, peer: Any, data: bytes) -> None:
        if self.handed is not None:
            raise Finding("handed over twice")
        self.handed = data
        transport.taken = True


class Runtime:
    """What lives as long as the process."""

    def __init__(self) -> None:
        self.gateway = gateway.Snapshot(LIMITS)
        self.draining = False
        self.cutting = False


class World:
    """One connection, from its start to its end."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.door = Door()
        self.runtime = Runtime()
        self.site = gateway.Site(loop)
        gateway.CURRENT[0] = self.site
        self.connection = EdgeConnection(self.door, self.runtime, lambda _: UNKNOWN)  # type: ignore[arg-type]
        self.wire = Wire(loop, self.connection)
        self.connection.connection_made(self.wire)


def running_loop() -> Loop:
    """The loop, which counts as running from now on."""
    loop = Loop()
    events._set_running_loop(loop)
    sys.set_asyncgen_hooks(firstiter=loop._asyncgen_firstiter_hook, finalizer=loop._asyncgen_finalizer_hook)  # type: ignore[attr-defined]
    return loop


Check = Callable[[World], None]
