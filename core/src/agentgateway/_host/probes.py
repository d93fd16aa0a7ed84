"""Health, readiness and metrics: what is asked every few seconds for as long as the process lives. Plain ASGI, so that
nothing more has to be in memory for it.

==========================================  =======  ===================================================================
`config.readinessAddr` (127.0.0.1:15021)    GET      `/healthz/live`, `/healthz/ready`: 200, or 503 before it serves and
                                                     while it drains
`config.statsAddr` (127.0.0.1:15020)        GET      `/metrics`, `/stats/prometheus`: Prometheus text, or OpenMetrics
                                                     for who asks for it
==========================================  =======  ===================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from agentgateway._host.face import App, Receive, Scope, Send
from agentgateway._host.metrics import render

if TYPE_CHECKING:
    from agentgateway._host.admin_ports import View

OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain"

Answer: TypeAlias = tuple[int, str, str]
"""Status, content type, text."""
Page: TypeAlias = Callable[[str], Awaitable[Answer]]
"""From what the client accepts to what it gets."""


def health(view: View) -> App:
    async def live(accept: str) -> Answer:
        return 200, PLAIN, "alive\n"

    async def ready(accept: str) -> Answer:
        return (200, PLAIN, "ready\n") if view.ready() else (503, PLAIN, "not ready\n")

    return serving({"/healthz/live": live, "/healthz/ready": ready})


def stats(view: View) -> App:
    async def metrics(accept: str) -> Answer:
        wanted = OPENMETRICS in accept
        kind = f"{OPENMETRICS}; version=1.0.0" if wanted else f"{PLAIN}; version=0.0.4"
        return 200, kind, render(await view.snapshot(), openmetrics=wanted)

    return serving({"/metrics": metrics, "/stats/prometheus": metrics})


def serving(pages: dict[str, Page]) -> App:
    """An ASGI application of pages that are only read."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        page, extra = pages.get(scope["path"]), []
        if page is None:
            status, kind, text = 404, PLAIN, "not found\n"
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, text = 405, PLAIN, "method not allowed\n"
            extra = [(b"allow", b"GET, HEAD")]
        else:
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
            status, kind, text = await page(accept.decode("latin-1"))
        body = text.encode()
        head = [(b"content-type", f"{kind}; charset=utf-8".encode()), (b"content-length", b"%d" % len(body)), *extra]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return application
