"""The admin ports: health and readiness, metrics, and what is configured. Quart applications.

==========================================  =======  ===================================================================
`config.readinessAddr` (127.0.0.1:15021)    GET      `/healthz/live`, `/healthz/ready`: 200, or 503 before it serves and
                                                     while it drains
`config.statsAddr` (127.0.0.1:15020)        GET      `/metrics`, `/stats/prometheus`: Prometheus text, or OpenMetrics
                                                     for who asks for it
`config.adminAddr` (127.0.0.1:15000)        GET      `/config_dump`: the configuration, secrets redacted
                                            GET      `/logging`: the level of log messages
                                            POST     `/logging?level=debug`, `/logging?reset`: change it until the
                                                     next start
==========================================  =======  ===================================================================

Nobody is authenticated: whoever reaches these ports may use them. On a loopback address the admin port answers only
requests that name a loopback host, so that a web page cannot reach it by a name of its own (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from quart import Quart, Response, request

from agentgateway._host.config import HttpFrontend, StaticConfig
from agentgateway._host.metrics import Snapshot, render
from agentgateway._host.port import Port, cancelled, ended
from agentgateway._host.sockets import announce, listen_at
from agentgateway._host.traffic import Traffic

if TYPE_CHECKING:
    import socket

    from agentgateway._host.asgi import Runtime
    from agentgateway.settings import ListenAddress

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
OPENMETRICS = "application/openmetrics-text"


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


def health(view: View) -> Quart:
    app = Quart("agentgateway.health")

    @app.get("/healthz/live")
    async def live() -> Response:
        return text("alive\n")

    @app.get("/healthz/ready")
    async def ready() -> Response:
        return text("ready\n") if view.ready() else text("not ready\n", 503)

    return app


def stats(view: View) -> Quart:
    app = Quart("agentgateway.stats")

    @app.get("/metrics")
    @app.get("/stats/prometheus")
    async def metrics() -> Response:
        wanted = OPENMETRICS in request.headers.get("accept", "")
        kind = f"{OPENMETRICS}; version=1.0.0" if wanted else "text/plain; version=0.0.4"
        shown = render(await view.snapshot(), openmetrics=wanted)
        return Response(shown, content_type=f"{kind}; charset=utf-8")

    return app


def admin(view: View, level: str, *, loopback: bool) -> Quart:
    """`level` is the configured one, for `reset`; `loopback` says that the port is meant for this machine alone."""
    app = Quart("agentgateway.admin")
    current = level

    @app.before_request
    async def guard() -> Response | None:
        origin = request.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != request.host
        return text("forbidden\n", 403) if foreign or (loopback and not is_local(request.host)) else None

    @app.get("/")
    async def index() -> Response:
        return text("/config_dump\n/logging\n")

    @app.get("/config_dump")
    async def config_dump() -> dict[str, Any]:
        return await view.dump()

    @app.get("/logging")
    async def show_level() -> dict[str, str]:
        return {"level": current}

    @app.post("/logging")
    async def change_level() -> dict[str, str] | Response:
        nonlocal current
        wanted = level if "reset" in request.args else request.args.get("level", "").lower()
        if wanted not in LEVELS:
            return text(f"level must be one of {', '.join(LEVELS)}\n", 400)
        current = wanted
        view.set_level(wanted)
        return {"level": wanted}

    return app


def text(body: str, status: int = 200) -> Response:
    return Response(body, status, content_type="text/plain; charset=utf-8")


def is_local(host: str) -> bool:
    """Whether a `Host` names this machine by address or as `localhost`."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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

    def serve(self, view: View) -> None:
        """Answer from now on."""
        limits = HttpFrontend()
        for name, sock in self._sockets.items():
            port = Port(sock, self._app(name, view), lambda: limits, Traffic())
            port.listen()
            self._ports.append(port)

    def _app(self, name: str, view: View) -> Quart:
        if name == "readiness":
            return health(view)
        if name == "stats":
            return stats(view)
        loopback = is_local(str(self._settings.admin_addr)) or bool(self._settings.admin_addr.socket)
        return admin(view, self._settings.logging.level, loopback=loopback)

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
