"""Plain HTTP: the protocol that reads nothing, and the backends `host` and `internal`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import RootModel, field_validator

from agentgateway.exchange import Body, Exchange, Outgoing, Reply, Target
from agentgateway.interfaces import Backend, Host, Protocol
from agentgateway.settings import PluginConfig, problem

ADDRESS = re.compile(r"(?P<scheme>https?://)?([\w.\-]+|\[[\w:.]+\])(:(?P<port>\d{1,5}))?/?")


class HttpProtocol(Protocol):
    """Requests pass as they are; errors are one line of text."""

    inline = True

    def __init__(self, host: Host) -> None:
        pass


class HostConfig(RootModel[str]):
    """`host:port`, `http://host:port`, `https://host`, or `unix:/path/to/socket`."""

    @field_validator("root")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value.startswith("unix:") and len(value) > 5:
            return value.rstrip("/")
        found = ADDRESS.fullmatch(value)
        scheme, port = (found["scheme"], found["port"]) if found else (None, None)
        if not (scheme or port) or (port and not 0 < int(port) < 65536):
            raise problem("not an address", "write host:port, http://host:port, https://host or unix:/path")
        return (value if scheme else f"http://{value}").rstrip("/")


class HostBackend(Backend):
    """Passes requests on to one host, streaming both ways. The Host header becomes the upstream's, as the reference
    rewrites it for this kind of backend."""

    Config = HostConfig
    inline = True

    def targets(self) -> Sequence[Target]:
        name = self.config.root.partition("://")[2] or self.config.root
        return (Target(self, name, name),)

    async def prepare(self, exchange: Exchange) -> None:
        request = exchange.request
        headers = request.headers.end_to_end()
        headers.set("x-forwarded-proto", request.scheme)
        headers.set("x-forwarded-host", request.authority)
        if exchange.source.address:
            headers.set(
                "x-forwarded-for", ", ".join([*filter(None, headers.all("x-forwarded-for")), exchange.source.address])
            )
        if exchange.retry is not None and fits(request.body, self.host.body_limit):
            await request.body.read(self.host.body_limit)
        exchange.outgoing = Outgoing(request.method, self.config.root, request.target, headers, request.body)

    async def send(self, exchange: Exchange) -> Reply:
        return await self.host.send(exchange, stream=True)


def fits(body: Body, limit: int) -> bool:
    """Whether a body may be held to be sent twice; a longer one, or one that nobody announced, is passed on once."""
    return body.data is None and body.length is not None and body.length <= limit


class InternalConfig(PluginConfig):
    path: Literal["/healthz/live"] = "/healthz/live"
    """What it answers like."""


class InternalBackend(Backend):
    """Answers by itself: 200 as long as the gateway lives."""

    Config = InternalConfig
    inline = True

    def targets(self) -> Sequence[Target]:
        return (Target(self, "internal"),)

    async def prepare(self, exchange: Exchange) -> None:
        exchange.outgoing = None

    async def send(self, exchange: Exchange) -> Reply:
        return Reply.text(200, "ok")
