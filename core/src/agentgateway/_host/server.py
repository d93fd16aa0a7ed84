"""Every port of a process: opened, served, changed by a reload, and brought to an orderly end.

The drain: readiness is withdrawn and replies say `connection: close`; for `connectionMinTerminationDeadline` everything
is served as before, then ports close; what is idle is closed, what is in flight ends well, and whatever is left after
`connectionTerminationDeadline` is cut.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentgateway._host.asgi import DataPlane
from agentgateway._host.downstream_tls import Certificates
from agentgateway._host.face import Runtime
from agentgateway._host.port import Port, cancelled, ended
from agentgateway._host.sockets import CannotListen, Sockets
from agentgateway._host.traffic import Meters
from agentgateway.errors import ConfigError

if TYPE_CHECKING:
    from agentgateway._host.gateway import Bind, Gateway

logger = logging.getLogger("agentgateway.server")

LAST_REQUESTS = 0.05
"""Seconds between the end of accepting and the closing of idle connections: what was on its way is still served."""
AFTER_CUT = 1.0

Key = tuple[int, str | None, str]


class Server:
    """The data plane's ports, as the runtime's gateway wants them."""

    def __init__(self, runtime: Runtime, sockets: Sockets) -> None:
        self._runtime = runtime
        self._edge = runtime.gateway.settings.server.edge
        self._sockets = sockets
        self._plane = DataPlane(runtime)
        self._ports: dict[Key, Port] = {}
        self._leaving: list[Port] = []
        self._certificates: dict[int, Certificates] = {}
        self._meters = Meters(runtime.metrics)
        self._following: set[asyncio.Task[None]] = set()

    async def open(self, gateway: Gateway) -> None:
        """Open what that gateway needs and is not open, without serving it yet. Raises `CannotListen`, and
        `ConfigError` for certificates; then nothing has changed."""
        certificates = {bind.port: Certificates(bind.listeners) for bind in gateway.binds.values() if secure(bind)}
        opened: list[Key] = []
        try:
            for bind in gateway.binds.values():
                if key_of(bind) not in self._ports and not self._moves(bind):
                    self._ports[key_of(bind)] = await self._open(bind)
                    opened.append(key_of(bind))
        except BaseException:
            for key in opened:
                await self._close(key)
            raise
        self._certificates = certificates

    async def settle(self) -> None:
        """Serve exactly the ports of the runtime's present gateway, for which `open` was called before."""
        wanted = {key_of(bind): bind for bind in self._runtime.gateway.binds.values()}
        for key in [key for key in self._ports if key not in wanted]:
            await self._leave(key)
        for key, bind in wanted.items():
            if key not in self._ports:
                try:
                    self._ports[key] = await self._open(bind)
                except CannotListen as error:
                    logger.error("%s (gateway %s)", error, bind.name)
                    continue
            if secure(bind) and bind.port not in self._certificates:
                continue  # said before: its certificates cannot be used
            self._ports[key].certificates = self._certificates.get(bind.port)
            self._ports[key].edge = self._edge if bind.edge is None else bind.edge
            self._ports[key].listen()

    def follow(self, gateway: Gateway) -> None:
        """Change to the ports of a gateway that was swapped in without `open`; what cannot be opened is logged."""
        task = asyncio.get_running_loop().create_task(self._follow(gateway))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, gateway: Gateway) -> None:
        try:
            await self.open(gateway)
        except (CannotListen, ConfigError) as error:
            logger.error("%s", error)
        await self.settle()

    def sockets(self) -> dict[int, socket.socket]:
        """The listening socket of each configured port."""
        return {key[0]: port.socket for key, port in self._ports.items()}

    async def drain(self) -> None:
        """Stop accepting, let end what is in flight, cut what does not."""
        settings = self._runtime.gateway.settings
        longest = max(settings.connection_termination_deadline, settings.connection_min_termination_deadline)
        deadline = time.monotonic() + longest
        self._runtime.draining = True
        await asyncio.sleep(settings.connection_min_termination_deadline)
        ports = [*self._ports.values(), *self._leaving]
        for key in list(self._ports):
            self._ports[key].stop()
            await self._close(key)
        await asyncio.sleep(min(LAST_REQUESTS, longest))
        for port in ports:
            await port.retire()
        if not await ended(ports, deadline - time.monotonic()):
            self._runtime.cutting = True
            for port in ports:
                port.cut()
            if not await ended(ports, AFTER_CUT):
                await cancelled(ports, AFTER_CUT)

    async def _open(self, bind: Bind) -> Port:
        scheme = "https" if secure(bind) else "http"
        sock = await self._sockets.open(bind.name, bind.address, bind.port, scheme)
        runtime = self._runtime
        return Port(
            sock,
            self._plane.app(bind.port),
            lambda: runtime.gateway.http,
            self._meters.traffic(bind),
            runtime=runtime,
            number=bind.port,
        )

    def _moves(self, bind: Bind) -> bool:
        """Whether the port is open at another address, which may be in the way."""
        return bind.port != 0 and any(port == bind.port for port, _, _ in self._ports)

    async def _leave(self, key: Key) -> None:
        port = self._ports[key]
        port.stop()
        await self._close(key)
        await port.retire()
        self._leaving = [port for port in (*self._leaving, port) if port.busy]

    async def _close(self, key: Key) -> None:
        port = self._ports.pop(key)
        await self._sockets.close(port.socket)


def secure(bind: Bind) -> bool:
    return any(bound.tls is not None for bound in bind.listeners)


def key_of(bind: Bind) -> Key:
    """What makes two binds the same socket; a port that the system chooses belongs to its gateway's name."""
    return (bind.port, bind.address, bind.name if bind.port == 0 else "")


async def serve(
    runtime: Runtime,
    sockets: Sockets,
    *,
    shutdown: asyncio.Event,
    started: Callable[[Server], object] = lambda server: None,
) -> None:
    """Serve until `shutdown`, then drain. Raises `CannotListen`, and `ConfigError` for certificates, before anything is
    served. `started` is told when every port is open; readiness is set by then."""
    server = Server(runtime, sockets)
    await server.open(runtime.gateway)
    runtime.on_swap.append(server.follow)
    runtime.prepare = server.open
    try:
        await server.settle()
        runtime.ready = True
        started(server)
        await shutdown.wait()
    finally:
        runtime.on_swap.remove(server.follow)
        await server.drain()
