"""One client connection: Hypercorn's protocols, with the clocks and the endings that a gateway needs.

What is different from Hypercorn's `TCPServer`, whose protocol classes do the parsing, but for ordinary requests of
HTTP/1.1 (`h11_protocol`; version pinned below 0.19, since none of this is its public interface):

- a head must arrive in time, and a connection may be silent only so long;
- closing is bounded: a peer that does not read what is left is cut off;
- a reply that ends early resets its HTTP/2 stream (Hypercorn leaves the client waiting);
- an idle connection costs a timer, not two tasks a request;
- a WebSocket's close code reaches the application (`client_frames`), and its client hears of the server's end;
- the application learns who the peer is (`agentgateway.peer`), at once when it leaves (`agentgateway.intake`), and, in
  HTTP/1.1, the target as it came (`agentgateway.target`).

What stays as Hypercorn has it: on HTTP/1.1 nothing is read while a pipelined request waits its turn, so a client that
pipelines and leaves is noticed when its reply is written; on HTTP/2 one upload that the application does not take holds
up the frames of its whole connection.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import h11
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from agentgateway._host.face import Intake
from agentgateway._host.h11_protocol import H11
from agentgateway._host.protocols import Protocols, Streams
from agentgateway._host.request_tasks import Requests
from agentgateway._host.suspension import Watchdog

if TYPE_CHECKING:
    from hypercorn.asyncio.worker_context import WorkerContext
    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper

    from agentgateway._host.config import HttpFrontend
    from agentgateway._host.face import App, Intake, Peer
    from agentgateway._host.inflow import Inflow
    from agentgateway._host.traffic import Traffic

logger = logging.getLogger("agentgateway.server")

CHUNK = 64 * 1024
FLUSH_SECONDS = 5.0
"""How long a peer may take to read what was written before its connection was closed."""
GOODBYE_SECONDS = 0.5
"""How long an idle peer may take to answer the goodbye of TLS."""
LINGER_SECONDS = 1.0
LINGER_BYTES = 4 * 1024 * 1024
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Connection(TCPServer):
    """A connection that was accepted, TLS done. `run` is its whole life and raises nothing but cancellation."""

    def __init__(
        self,
        app: App,
        config: Config,
        context: WorkerContext,
        peer: Peer,
        traffic: Traffic,
        http: HttpFrontend,
        reader: Inflow,
        writer: asyncio.StreamWriter,
    ) -> None:
        loop = asyncio.get_running_loop()
        # Hypercorn passes the application on to `spawn_app`, which has its own.
        super().__init__(cast("AppWrapper", app), loop, config, context, {}, reader, writer)
        reader.take = self._take
        self._waiting = False  # for bytes, with nothing else to do
        self._requests = Requests(self, app, peer)
        self._traffic = traffic
        self._http = http
        self._clock = Watchdog(loop, self._expire)
        self._closed = False
        self._task: asyncio.Task[Any] | None = None
        self._held = b""
        self.idle = True
        self._in_head = True
        self.sockets: set[Intake] = set()
        """Of the WebSockets on this connection."""

    async def run(self) -> None:
        self._task = asyncio.current_task()
        self._clock.start(self._http.http1_header_timeout)
        try:
            async with self._requests as tasks:
                self.protocol = self._protocol(tasks)
                await self.protocol.initiate()
                await self._read_data()
        except OSError:
            pass
        except Exception:
            # What a hostile peer can make Hypercorn or h2 stumble over; our application catches its own.
            logger.debug("a connection ended in an error", exc_info=True)
        finally:
            await self._close()
            self._part()

    def _part(self) -> None:
        """Let go of what leads back here: what has ended, with all that TLS has buffered, is no work for the collector
        of cycles, which comes rarely."""
        for holder, name in ((self, "protocol"), (self, "_requests"), (self, "_task"), (self.reader, "take")):
            vars(holder).pop(name, None)

    def _protocol(self, tasks: TaskGroup) -> Protocols:
        get = self.writer.get_extra_info
        sock, tls = get("socket"), get("ssl_object")
        family, alpn = sock.family, tls.selected_alpn_protocol() if tls is not None else "http/1.1"
        ends = parse_socket_addr(family, get("peername")), parse_socket_addr(family, get("sockname"))
        state = ConnectionState({})
        known = (self.app, self.config, self.context, tasks, state, tls is not None, *ends, self.protocol_send)
        return Protocols(self._http.of_heads, *known, alpn)

    async def reset(self, stream: object) -> None:
        """Tell an HTTP/2 client that a reply ends here, if it has begun and not ended."""
        protocol = self.protocol.protocol
        if not isinstance(protocol, H2Protocol) or not isinstance(stream, HTTPStream) or stream.closed:
            return
        if stream.state is not ASGIHTTPState.RESPONSE:
            return
        with suppress(H2Error):
            protocol.connection.reset_stream(stream.stream_id, ErrorCodes.INTERNAL_ERROR)
            self._write(protocol.connection.data_to_send())
            protocol.priority.unblock(stream.stream_id)  # its sender finds it reset and forgets it
            await protocol.has_data.set()

    # --- reading and writing -----------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bool:
        """Begin a request with what came, without waking the task that reads, where this is all that there is to do."""
        waiting, self._waiting = self._waiting, False
        spoken = self.protocol.protocol if waiting else None
        if not isinstance(spoken, H11) or not spoken.begin(data):
            return False
        self._waiting = True
        self._traffic.received += len(data)
        self._busy()
        return True

    async def _read_data(self) -> None:
        reader = self.reader
        while not reader.at_eof():
            self._waiting = True
            try:
                data = await reader.read(CHUNK)
            except OSError:
                break
            finally:
                self._waiting = False
            self._traffic.received += len(data)
            if self.idle and data and not self._in_head and isinstance(self.protocol.protocol, H11Protocol):
                self._in_head = True
                self._clock.start(self._http.http1_header_timeout)
            await self.protocol.handle(RawData(data))
            await self._look_after(self.protocol.protocol)
        await self.protocol.handle(Closed())

    async def _look_after(self, protocol: H11Protocol | H2Protocol) -> None:
        """What Hypercorn forgets: an HTTP/2 connection without a request yet is idle, and a handshake for a WebSocket
        that it refused itself is over."""
        if isinstance(protocol, H2Protocol):
            if not isinstance(protocol.streams, Streams):
                protocol.streams = Streams(protocol.streams)
                if not protocol.streams:
                    self.idle = self._in_head = True
                    self._clock.start(self._http.http1_header_timeout)
            elif not self.idle and all(stream.closed for stream in protocol.streams.values()):
                await self._updated(idle=True)
        elif protocol.stream is not None and protocol.stream.closed:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if event.data:
                self._write(event.data)
                if self._held:
                    return
                try:
                    await self.writer.drain()
                except (ConnectionError, RuntimeError):
                    await self.protocol.handle(Closed())
        elif isinstance(event, Updated):
            await self._updated(event.idle)
        elif isinstance(event, Closed):
            await self._close()

    def _write(self, data: bytes) -> None:
        if self._closed:  # by a protocol that gave up, with applications still at work
            return
        self._traffic.sent += len(data)
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(b"HTTP/1.1 ") and not self.writer.transport.get_write_buffer_size():
            # A reply's head: one system call with what follows in the same step of the application, 20 µs less. It may
            # be a piece of a body that looks like one: whoever writes those waits for a client that does not read.
            self._held = data
            self.loop.call_soon(self._release)
            return
        self.writer.write(data)

    def _release(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self.writer.write(data)

    async def _updated(self, idle: bool) -> None:
        self.idle = idle
        if not idle:
            self._busy()
        elif self.context.terminated.is_set():
            await self._close()
        else:
            self._clock.start(self.config.keep_alive_timeout)

    def _busy(self) -> None:
        self.idle = self._in_head = False
        self._clock.stop()

    # --- endings -----------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """Close when nothing is going on; a connection that is busy ends with what it is busy with, because its
        context is terminated."""
        if self.idle and not self._closed:
            self._leave()

    def cut(self) -> None:
        """End now, whatever is going on; WebSockets may still say why."""
        self._clock.close()
        told = [intake.dismiss() for intake in self.sockets if intake.dismiss is not None]
        if told:
            self.loop.call_later(GOODBYE_SECONDS, self.writer.transport.abort)
        else:
            self.writer.transport.abort()

    def _expire(self) -> None:
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol) and isinstance(protocol.connection, h11.Connection):
            begun, _ = protocol.connection.trailing_data
            if begun:
                self._write(_TOO_SLOW)
        self._leave()

    def _leave(self) -> None:
        protocol = self.protocol.protocol
        if isinstance(protocol, H2Protocol):
            with suppress(H2Error):
                protocol.connection.close_connection()
                self._write(protocol.connection.data_to_send())
        self._clock.close()
        self._release()
        self.writer.close()
        self.loop.call_later(GOODBYE_SECONDS, self.writer.transport.abort)

    async def _close(self) -> None:
        self._clock.close()
        writer = self.writer
        if not self._closed:
            self._closed = True
            self._release()
            with suppress(OSError, RuntimeError):  # gone already
                if writer.can_write_eof():
                    writer.write_eof()
            if asyncio.current_task() is self._task:
                await self._linger()
            writer.close()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await writer.wait_closed()
        except TimeoutError:
            writer.transport.abort()
        except OSError:
            pass

    async def _linger(self) -> None:
        """Let a peer that is still sending read why it was refused: closing on unread bytes would reset it."""
        left = LINGER_BYTES
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0 and (data := await self.reader.read(CHUNK)):
                    left -= len(data)
