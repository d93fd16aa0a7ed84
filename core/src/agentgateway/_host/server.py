"""The listening process: ports, connections, and an orderly end.

`serve` opens every port of the runtime's gateway, serves until it is told to stop, and drains. After a reload
`Server.open` opens what a new gateway needs before it is swapped in, and `Server.settle` closes what is gone.

The drain: readiness is withdrawn and replies say `connection: close`; for `connectionMinTerminationDeadline` everything
is served as before, then ports close; what is idle is closed, what is in flight ends well, and whatever is left after
`connectionTerminationDeadline` is cut.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from agentgateway._host.asgi import UNKNOWN, App, DataPlane, Peer, Runtime
from agentgateway._host.connection import Connection, Traffic
from agentgateway._host.downstream_tls import Certificates
from agentgateway._host.metrics import Metrics
from agentgateway._host.sockets import CannotListen, Sockets, place

if TYPE_CHECKING:
    from agentgateway._host.assembly import Bind, Gateway
    from agentgateway._host.config import HttpFrontend

logger = logging.getLogger("agentgateway.server")

HANDSHAKE_SECONDS = 15.0
ACCEPT_AT_ONCE = 16
"""Connections taken in one turn of the loop; the rest is left to other workers, and to requests."""
ACCEPT_AGAIN = 0.5
"""Seconds to wait when the system has no file or memory left for a connection."""
LAST_REQUESTS = 0.05
"""Seconds between the end of accepting and the closing of idle connections: what was on its way is still served."""
AFTER_CUT = 1.0

Key = tuple[int, str | None, str]


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
        meters: Meters,
        certificates: Certificates | None = None,
    ) -> None:
        self.socket = sock
        self.certificates = certificates
        self._app = app
        self._http = http
        self._meters = meters
        self._config: tuple[HttpFrontend, Config] | None = None
        self._context = WorkerContext(None)
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], Connection | None] = {}
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
            self._tasks[task] = None
            task.add_done_callback(self._forget)

    def _pause(self, error: OSError) -> None:
        logger.error("cannot accept connections for the moment: %s", error.strerror)
        self._loop.remove_reader(self.socket.fileno())
        self._paused = self._loop.call_later(ACCEPT_AGAIN, self.listen)

    async def _serve(self, sock: socket.socket) -> None:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=self._loop), loop=self._loop)
        peer = UNKNOWN
        try:
            if self.certificates is None:
                transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, sock)
            else:
                transport, peer = await self._shake_hands(sock, protocol, self.certificates)
        except (OSError, TimeoutError, StopIteration) as error:
            logger.debug("no connection was made: %s", type(error).__name__)
            sock.close()
            return
        reader: asyncio.StreamReader = protocol._stream_reader  # type: ignore[attr-defined]
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        await self._connected(reader, writer, peer)

    async def _shake_hands(
        self, sock: socket.socket, protocol: asyncio.StreamReaderProtocol, certificates: Certificates
    ) -> tuple[asyncio.WriteTransport, Peer]:
        started = time.monotonic()
        handshake = certificates.current()
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=handshake.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
        try:
            peer = handshake.peer(transport.get_extra_info("ssl_object"))
        except ssl.SSLError:
            transport.abort()
            raise
        self._meters.handshake(time.monotonic() - started)
        return transport, peer
