"""A listening socket, and the connections that come by it."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from agentgateway._host.connection import Connection
from agentgateway._host.face import UNKNOWN, App, Peer
from agentgateway._host.sockets import BACKLOG
from agentgateway._host.traffic import Traffic

if TYPE_CHECKING:
    from agentgateway._host.config import HttpFrontend
    from agentgateway._host.downstream_tls import Certificates

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
    config.h2_max_concurrent_streams = http.http2_max_concurrent_streams
    config.keep_alive_timeout = http.http1_idle_timeout
    config.keep_alive_max_requests = 2**31
    return config


class Port:
    """A listening socket and the connections that came by it."""

    def __init__(
        self,
        sock: socket.socket,
        app: App,
        http: Callable[[], HttpFrontend],
        traffic: Traffic,
        certificates: Certificates | None = None,
    ) -> None:
        self.socket = sock
        self.certificates = certificates
        self._app = app
        self._http = http
        self._traffic = traffic
        self._config: tuple[HttpFrontend, Config] | None = None
        self._context = WorkerContext(None)
        self._loop = asyncio.get_running_loop()
        self._connections: dict[asyncio.Task[None], Connection | None] = {}
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
            task = self._loop.create_task(self._serve(connection))
            self._connections[task] = None
            task.add_done_callback(self._forget)

    def _pause(self, error: OSError) -> None:
        logger.error("cannot accept connections for the moment: %s", error.strerror)
        self._loop.remove_reader(self.socket.fileno())
        self._paused = self._loop.call_later(ACCEPT_AGAIN, self.listen)

    async def _serve(self, sock: socket.socket) -> None:
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        try:
            transport, peer = await self._transport(sock, protocol)
        except (OSError, TimeoutError) as error:
            logger.debug("no connection was made: %s", type(error).__name__)
            sock.close()
            return
        http = self._http()
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        connection = Connection(
            self._app,
            self._settings(http),
            self._context,
            peer,
            self._traffic,
            http.http1_header_timeout,
            reader,
            writer,
        )
        task = asyncio.current_task()
        if task is None or self._context.terminated.is_set():
            connection.cut()
            return
        self._connections[task] = connection
        await connection.run()

    async def _transport(
        self, sock: socket.socket, protocol: asyncio.StreamReaderProtocol
    ) -> tuple[asyncio.Transport, Peer]:
        self._traffic.connections += 1
        if self.certificates is None:
            transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, sock)
            return transport, UNKNOWN
        started = time.monotonic()
        handshake = self.certificates.current()
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=handshake.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
        try:
            peer = handshake.peer(transport.get_extra_info("ssl_object"))
        except ssl.SSLError:
            transport.abort()
            raise
        self._traffic.shook_hands(time.monotonic() - started)
        return transport, peer

    def _settings(self, http: HttpFrontend) -> Config:
        if self._config is None or self._config[0] is not http:
            self._config = (http, server_config(http))
        return self._config[1]

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a connection failed", exc_info=task.exception())

    @property
    def busy(self) -> Collection[asyncio.Task[None]]:
        """The connections that are still open."""
        return self._connections.keys()

    def stop(self) -> None:
        """Take what waits in the queue, and nothing more. The socket stays open."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self.socket.fileno())
        self._accept(BACKLOG)

    async def retire(self) -> None:
        """Close what is idle; what is in flight ends, and then its connection."""
        await self._context.terminated.set()
        for task, connection in list(self._connections.items()):
            if connection is not None:
                connection.retire()
            else:
                task.cancel()

    def cut(self) -> None:
        """End whatever is left."""
        for connection in self._connections.values():
            if connection is not None:
                connection.cut()


async def ended(ports: Sequence[Port], seconds: float) -> bool:
    """Whether every connection ended within that time."""
    tasks = [task for port in ports for task in port.busy]
    if not tasks:
        return True
    _, left = await asyncio.wait(tasks, timeout=max(0.0, seconds))
    return not left


async def cancelled(ports: Sequence[Port], seconds: float) -> None:
    """Cancel what is left, and give it that time to notice."""
    tasks = [task for port in ports for task in port.busy]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
