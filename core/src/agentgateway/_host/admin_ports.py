"""The sockets of the admin ports, and who answers behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from agentgateway._host import probes
from agentgateway._host.config import HttpFrontend
from agentgateway._host.face import App, Receive, Runtime, Scope, Send
from agentgateway._host.metrics import Snapshot
from agentgateway._host.port import Port, cancelled, ended
from agentgateway._host.sockets import announce, listen_at
from agentgateway._host.static_config import StaticConfig
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

    def serve(self, view: View, *, aside: bool) -> None:
        """Answer from now on. `aside` says that what is imported late is imported in a thread."""
        limits = HttpFrontend()
        for name, sock in self._sockets.items():
            port = Port(sock, self._app(name, view, aside), lambda: limits, Traffic())
            port.listen()
            self._ports.append(port)

    def _app(self, name: str, view: View, aside: bool) -> App:
        if name == "readiness":
            return probes.health(view)
        if name == "stats":
            return probes.stats(view)
        return Late(partial(admin_of, view, self._settings), aside)

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


class Late:
    """An ASGI application that is made when the first request comes."""

    def __init__(self, make: Callable[[], App], aside: bool) -> None:
        self._make = make
        self._aside = aside
        self._making = asyncio.Lock()
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make) if self._aside else self._make()
        await self._app(scope, receive, send)


def admin_of(view: View, settings: StaticConfig) -> App:
    """Quart's application; the first time that takes 300 ms."""
    from agentgateway._host import admin

    app: Any = admin.admin(view, settings.logging.level, loopback=admin.is_local(str(settings.admin_addr)))

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return application
