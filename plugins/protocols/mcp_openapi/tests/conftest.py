"""A target of kind `openapi`, asked as the backend asks it, in front of a real API on loopback."""

import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp_openapi.config import OpenApiConfig
from agentgateway_mcp_openapi.plugin import OpenApi

from agentgateway.exchange import Exchange, Headers, Outgoing, Reply
from agentgateway.testing import LoopbackHost, Upstream, http
from agentgateway.testing.upstreams import reply

LEGACY, MODERN = "2025-11-25", "2026-07-28"


class SendingHost(LoopbackHost):
    """Sends what is outgoing by an ordinary client, to the byte of its path. The body comes whole, or as a stream."""

    streams = False

    async def send(self, exchange: Exchange, *, stream: bool) -> Reply:
        out = exchange.outgoing
        assert out is not None
        url = httpx.URL(out.url).copy_with(raw_path=out.target.encode())
        fields = [(name, value) for name, value in out.headers.raw]
        async with httpx.AsyncClient() as client:
            got = await client.request(out.method, url, headers=fields, content=out.body)
        headers = Headers([(name.lower(), value) for name, value in got.headers.raw])
        body = pieces_of(got.content) if self.streams else got.content
        return Reply(got.status_code, headers, body, upstream=True)


async def pieces_of(data: bytes):
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


@dataclass
class Asked:
    """A server, and the API behind it."""

    server: Any
    api: Upstream
    policies: list[Callable[[Outgoing], None]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    prepared: Outgoing | None = None

    async def ask(self, method: str = "", params: Any = None, version: str = LEGACY, **more: Any) -> Answer:
        document: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, **more}
        if method:
            document |= {"method": method, "params": {} if params is None else params}
        return await self.pass_on(Ask("send", json.dumps(document).encode(), document, version))

    async def pass_on(self, ask: Ask) -> Answer:
        exchange = http("POST", "/mcp", headers=self.headers)
        exchange.call = ask
        await self.server.prepare(exchange)
        self.prepared = exchange.outgoing
        for policy in self.policies:
            policy(exchange.outgoing)
        return await self.server.send(exchange)

    async def result(self, method: str, params: Any = None, version: str = LEGACY) -> Any:
        return json.loads((await self.ask(method, params, version)).whole)["result"]

    async def tools(self) -> dict[str, Any]:
        return {tool["name"]: tool for tool in (await self.result("tools/list"))["tools"]}

    async def call(self, name: str, arguments: Any = None, version: str = LEGACY) -> Any:
        return await self.result("tools/call", {"name": name, "arguments": arguments or {}}, version)

    async def refused(self, name: str, arguments: Any) -> str:
        """The text of a call that nothing was sent for."""
        before = len(self.api.received)
        result = await self.call(name, arguments)
        assert result["isError"] is True
        assert len(self.api.received) == before
        return result["content"][0]["text"]

    async def sent(self, name: str, arguments: Any) -> Any:
        """The request that a call comes to."""
        result = await self.call(name, arguments)
        assert result["isError"] is False, result
        return self.api.received[-1]


def described(paths: dict[str, Any], version: str = "3.1.0", **more: Any) -> dict[str, Any]:
    return {"openapi": version, "info": {"title": "Pets", "version": "1.2"}, "paths": paths, **more}


def target(schema: Any, **config: Any) -> Any:
    """A server; `schema` is a document, or anything else that the key takes."""
    text = json.dumps(schema) if isinstance(schema, dict) and "openapi" in schema else schema
    config = {"schema": text, "host": "http://api.test", **config}
    given = {key: value for key, value in config.items() if value is not None}
    return OpenApi(OpenApiConfig.model_validate(given), SendingHost("mcp.targets[0].openapi"))


@asynccontextmanager
async def open_api(paths: Any, answer: Any = None, **config: Any):
    document = paths if "openapi" in paths else described(paths)
    async with Upstream(reply(200, {"ok": True}) if answer is None else answer) as api:
        server = target(document, **{"host": api.url, **config})
        await server.start()
        try:
            yield Asked(server, api)
        finally:
            await server.stop()


@pytest.fixture
def opened():
    return open_api


@pytest.fixture
def built():
    return target


@pytest.fixture
def document():
    return described
