"""The sockets of the admin ports, and who answers behind them. Quart is imported when they begin to serve."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from agentgateway._host.config import HttpFrontend, StaticConfig
from agentgateway._host.face import App, Receive, Runtime, Scope, Send
from agentgateway._host.metrics import Snapshot
from agentgateway._host.port import Port, cancelled, ended
from agentgateway._host.sockets import announce, listen_at
from agentgateway._host.traffic import Traffic

if TYPE_CHECKING:
    import socket

    from agentgateway.settings import ListenAddress

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class View(Protocol):
    """What the admin ports show and change: one process, or a supervisor's workers together."""

    def ready(self) -> bool: ...

    async def snapshot(self) -> Snapshot: ...

    async def dump(self) -> dict[str, Any]: ...

    def set_level(self, level: str) -> None: ...


class OwnView:
    """The view of a process that stands alone."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def ready(self) -> bool:
        return self._runtime.ready and not self._runtime.draining

    async def snapshot(self) -> Snapshot:
        return self._runtime.metrics.snapshot()

    async def dump(self) -> dict[str, Any]:
        return self._runtime.gateway.dump()

    def set_level(self, level: str) -> None:
        set_level(level)


def set_level(level: str) -> None:
    logging.getLogger().setLevel(LEVELS[level])


class AdminPorts:
    """The admin ports of a process. They stay open during the drain."""

    def __init__(self, settings: StaticConfig) -> None:
        self._settings = settings
        self._sockets: dict[str, socket.socket] = {}
        self._ports: list[Port] = []

    def open(self) -> None:
        """Open the sockets, without serving them yet. Raises `CannotListen`."""
        settings = self._settings
        try:
            for name in ("readiness", "stats", "admin"):
                address: ListenAddress = getattr(settings, f"{name}_addr")
                if not address.off:
                    self._sockets[name] = listen_at(address)
        except BaseException:
            for sock in self._sockets.values():
                sock.close()
            raise
        for name, sock in self._sockets.items():
            announce(sock, "http", name)

    @property
    def any(self) -> bool:
        """Whether there is one; none, when all are `off`."""
        return bool(self._sockets)

    def serve(self, view: View) -> None:
        """Answer from now on."""
        limits = HttpFrontend()
        for name, sock in self._sockets.items():
            port = Port(sock, self._app(name, view), lambda: limits, Traffic())
            port.listen()
            self._ports.append(port)

    def _app(self, name: str, view: View) -> App:
        from agentgateway._host import admin

        settings = self._settings
        if name == "readiness":
            app: Any = admin.health(view)
        elif name == "stats":
            app = admin.stats(view)
        else:
            app = admin.admin(view, settings.logging.level, loopback=admin.is_local(str(settings.admin_addr)))

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        return application

    async def close(self) -> None:
        for port in self._ports:
            port.stop()
        for sock in self._sockets.values():
            sock.close()
        for port in self._ports:
            await port.retire()
        if not await ended(self._ports, 0.5):
            await cancelled(self._ports, 0.5)
        await asyncio.sleep(0)
