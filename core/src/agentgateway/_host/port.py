"""A listening socket, and the connections that come by it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, cast

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from agentgateway._host.connection import Connection
from agentgateway._host.edge.connection import EdgeConnection
from agentgateway._host.face import UNKNOWN, App, Peer, Runtime
from agentgateway._host.inflow import Inflow
from agentgateway._host.sockets import BACKLOG
from agentgateway._host.traffic import Traffic

if TYPE_CHECKING:
    from agentgateway._host.config import HttpFrontend
    from agentgateway._host.downstream_tls import Certificates, Handshake

logger = logging.getLogger("agentgateway.server")

HANDSHAKE_SECONDS = 15.0
ACCEPT_AT_ONCE = 16
"""Connections taken in one turn of the loop; the rest is left to other workers, and to requests."""
ACCEPT_AGAIN = 0.5
"""Seconds to wait when the system has no file or memory left for a connection."""


def server_config(http: HttpFrontend) -> Config:
    """Hypercorn's settings for the limits of the configuration."""
    config = Config()
    config.include_server_header = False
    config.include_date_header = False
    config.accesslog = None
    config.errorlog = logger
    config.h11_max_incomplete_size = http.http1_max_head_size
    config.h2_max_header_list_size = http.http1_max_head_size
    config.websocket_max_message_size = http.max_buffer_size
    config.h2_max_concurrent_streams = http.http2_max_concurrent_streams
    config.keep_alive_timeout = http.http1_idle_timeout
    config.keep_alive_max_requests = 2**31
    return config


class Port:
    """A listening socket and the connections that came by it.

    With `runtime` the edge takes them in, and Hypercorn gets what is not HTTP/1.1; without, or while `edge` is off,
    Hypercorn has them all.
    """

    def __init__(
        self,
        sock: socket.socket,
        app: App,
        http: Callable[[], HttpFrontend],
        traffic: Traffic,
        certificates: Certificates | None = None,
        *,
        runtime: Runtime | None = None,
        number: int = 0,
    ) -> None:
        self.socket = sock
        self.certificates = certificates
        self.traffic = traffic
        self.number = number
        self.edge = True
        self._runtime = runtime
        self._app = app
        self._http = http
        self._config: tuple[HttpFrontend, Config] | None = None
        self._context = WorkerContext(None)
        self._loop = asyncio.get_running_loop()
        self._connections: dict[asyncio.Task[None], Connection | None] = {}
        self._edges: set[EdgeConnection] = set()
        self._left = asyncio.Event()
        self._paused: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        self.socket.setblocking(False)
        self._loop.add_reader(self.socket.fileno(), self._accept)

    def _accept(self, at_once: int = ACCEPT_AT_ONCE) -> None:
        for _ in range(at_once):
            try:
                connection, _address = self.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            connection.setblocking(False)
            self._spawn(self._serve(connection))

    def _pause(self, error: OSError) -> None:
        logger.error("cannot accept connections for the moment: %s", error.strerror)
        self._loop.remove_reader(self.socket.fileno())
        self._paused = self._loop.call_later(ACCEPT_AGAIN, self.listen)

    async def _serve(self, sock: socket.socket) -> None:
        """Take a connection in; whoever speaks on it is told by its transport."""
        self.traffic.connections += 1
        runtime, handshake = self._runtime if self.edge else None, None
        tls: dict[str, Any] = {}
        if self.certificates is not None:
            handshake = self.certificates.current()
            tls = {"ssl": handshake.context, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
        entry = Entry(self, handshake)
        factory = (lambda: Spoken(entry)) if runtime is None else (lambda: EdgeConnection(self, runtime, entry.peer))
        try:
            await self._loop.connect_accepted_socket(factory, sock, **tls)
        except (OSError, TimeoutError) as error:
            logger.debug("no connection was made: %s", type(error).__name__)
            sock.close()

    def hand_over(self, transport: asyncio.Transport, peer: Peer, data: bytes) -> None:
        """Let Hypercorn go on with a connection from which `data` was read."""
        reader = Inflow(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            self.traffic.received -= len(data)  # it is counted once more there
            reader.feed_data(data)
        http = self._http()
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        connection = Connection(
            self._app,
            self._settings(http),
            self._context,
            peer,
            self.traffic,
            http,
            reader,
            writer,
        )
        if self._context.terminated.is_set():
            connection.cut()
            return
        self._spawn(connection.run(), connection)

    def entered(self, connection: EdgeConnection) -> None:
        self._edges.add(connection)
        if self._context.terminated.is_set():
            connection.cut()

    def left(self, connection: EdgeConnection) -> None:
        self._edges.discard(connection)
        self._left.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], connection: Connection | None = None) -> None:
        task = self._loop.create_task(coroutine)
        self._connections[task] = connection
        task.add_done_callback(self._forget)

    def _settings(self, http: HttpFrontend) -> Config:
        if self._config is None or self._config[0] is not http:
            self._config = (http, server_config(http))
        return self._config[1]

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task, None)
        self._left.set()
        if not task.cancelled() and task.exception() is not None:
            logger.error("a connection failed", exc_info=task.exception())

    @property
    def busy(self) -> bool:
        """Whether a connection is still open."""
        return bool(self._connections or self._edges)

    async def gone(self) -> None:
        """Until no connection is open."""
        while self.busy:
            self._left.clear()
            await self._left.wait()

    def stop(self) -> None:
        """Take what waits in the queue, and nothing more. The socket stays open."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self.socket.fileno())
        self._accept(BACKLOG)

    async def retire(self) -> None:
        """Close what is idle; what is in flight ends, and then its connection."""
        await self._context.terminated.set()
        for edge in list(self._edges):
            edge.retire()
        for task, connection in list(self._connections.items()):
            if connection is not None:
                connection.retire()
            else:
                task.cancel()

    def cut(self) -> None:
        """End whatever is left."""
        for edge in list(self._edges):
            edge.cut()
        for connection in self._connections.values():
            if connection is not None:
                connection.cut()

    def cancel(self) -> None:
        """Cancel the tasks that are left."""
        for task in self._connections:
            task.cancel()


class Entry:
    """A connection as it comes in, and what its handshake tells of the peer."""

    __slots__ = ("_handshake", "_port", "_started")

    def __init__(self, port: Port, handshake: Handshake | None) -> None:
        self._port = port
        self._handshake = handshake
        self._started = time.monotonic()

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """Who is at the other end. Raises `ssl.SSLError` for somebody who may not come in."""
        if self._handshake is None:
            return UNKNOWN
        peer = self._handshake.peer(transport.get_extra_info("ssl_object"))
        self._port.traffic.shook_hands(time.monotonic() - self._started)
        return peer

    def give_to_hypercorn(self, transport: asyncio.Transport) -> None:
        try:
            self._port.hand_over(transport, self.peer(transport), b"")
        except ssl.SSLError:
            transport.abort()


class Spoken(asyncio.Protocol):
    """The protocol of a connection until Hypercorn's takes its place, which is at once."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._entry.give_to_hypercorn(cast(asyncio.Transport, transport))  # uvloop's is no subclass


async def ended(ports: Sequence[Port], seconds: float) -> bool:
    """Whether every connection ended within that time."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            for port in ports:
                await port.gone()
    except TimeoutError:
        return False
    return True


async def cancelled(ports: Sequence[Port], seconds: float) -> None:
    """Cancel what is left, and give it that time to notice."""
    for port in ports:
        port.cancel()
    await ended(ports, seconds)
