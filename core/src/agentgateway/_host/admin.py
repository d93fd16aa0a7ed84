"""The admin port: what is configured, for people. A Quart application, imported when somebody asks.

==========================================  =======  ===================================================================
`config.adminAddr` (127.0.0.1:15000)        GET      `/config_dump`: the configuration, secrets redacted
                                            GET      `/logging`: the level of log messages
                                            POST     `/logging?level=debug`, `/logging?reset`: change it until the
                                                     next start
==========================================  =======  ===================================================================

Nobody is authenticated: whoever reaches the port may use it. On a loopback address it answers only requests that name
a loopback host, so that a web page cannot reach it by a name of its own (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from quart import Quart, Response, request

from agentgateway._host.admin_ports import LEVELS, View


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
