"""Exchanges and servers of the targets whose sessions live in the process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.sse import LegacySse, SseConfig
from agentgateway_mcp.stdio import Stdio, StdioConfig
from pydantic_core import from_json, to_json

from agentgateway.errors import ConnectFailed, UpstreamError
from agentgateway.exchange import Exchange, Headers, Outgoing, Reply
from agentgateway.testing.exchanges import http
from agentgateway.testing.hosts import LoopbackHost

LEGACY = "2025-11-25"
MODERN = "2026-07-28"


def asking(message: dict[str, Any] | None = None, purpose: Any = "send", **fields: Any) -> Exchange:
    exchange = http("POST", "/mcp")
    document = {"jsonrpc": "2.0", **message} if message is not None else {}
    exchange.call = Ask(purpose, to_json(document) if document else b"", document, **fields)
    return exchange


async def read(answer: Answer) -> list[Any]:
    """Every message of an answer, parsed."""
    assert answer.messages is not None
    return [from_json(said.data) async for said in answer.messages]


class Client:
    """One client of a server, in a session of its own or in none."""

    def __init__(self, server: Any, version: str = LEGACY) -> None:
        self.server = server
        self.version = version
        self.session: str | None = None
        self.opened: Any = None

    async def send(self, method: str, params: Any = None, id: Any = None, **more: Any) -> Answer:
        """A request when there is an `id`, and a notification otherwise."""
        message = {"method": method, **({} if params is None else {"params": params}), **more}
        return await self.ask({"id": id, **message} if id is not None else message)

    async def ask(self, message: dict[str, Any] | None, purpose: Any = "send") -> Answer:
        version = "" if message and message.get("method") == "initialize" else self.version
        exchange = asking(message, purpose, session=self.session, version=version)
        await self.server.prepare(exchange)
        return await self.server.send(exchange)

    async def call(self, method: str, params: Any = None, id: Any = 1) -> Any:
        """The result of a request that nothing else comes with."""
        answer = await self.send(method, params, id)
        assert answer.status == 200
        (message,) = await read(answer)
        assert message["id"] == id and type(message["id"]) is type(id)
        return message["result"]

    async def open(self, id: Any = 0) -> Any:
        self.session = None
        answer = await self.send("initialize", {"protocolVersion": self.version}, id)
        assert answer.whole is not None, answer
        self.session = answer.session
        self.opened = from_json(answer.whole)
        return self.opened


def there(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while there(pid):
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def tools() -> Any:
    class Tools:
        pass

    for one in (Client, asking, read, there, gone, until):
        setattr(Tools, one.__name__, one)
    return Tools


class HttpHost(LoopbackHost):
    """Sends over real connections; `sent` are the requests as they went out."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent: list[Outgoing] = []

    async def send(self, exchange: Exchange, *, stream: bool) -> Reply:
        out = exchange.outgoing
        assert out is not None and isinstance(out.body, bytes)
        self.sent.append(out)
        self._client = getattr(self, "_client", None) or self.client()
        timeout = httpx.Timeout(None, connect=5.0)
        request = self._client.build_request(
            out.method, out.url + out.target, headers=out.headers.raw, content=out.body, timeout=timeout
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise ConnectFailed(detail=str(error)) from error
        headers = Headers([(name.lower(), value) for name, value in response.headers.raw])
        if stream and "text/event-stream" in response.headers.get("content-type", ""):
            return Reply(response.status_code, headers, Body(response), upstream=True)
        body = await response.aread()
        await response.aclose()
        return Reply(response.status_code, headers, body, upstream=True)


class Body:
    """A streamed body, as the gateway's own transport has it."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_raw()

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._chunks.__anext__()
        except httpx.HTTPError as error:
            raise UpstreamError("the upstream broke off") from error

    async def aclose(self) -> None:
        await self._response.aclose()


@pytest.fixture
async def sse(tools: Any) -> AsyncIterator[Callable[..., Any]]:
    """`await sse(upstream)`: a target of kind `sse` there; stopped at the end."""
    host = HttpHost("targets[0].sse", "backend")
    servers: list[LegacySse] = []

    async def make(upstream: Any, path: str = "", session_ttl: float = 1800.0) -> LegacySse:
        servers.append(LegacySse(SseConfig(host=upstream.url + path), host))
        servers[-1].session_ttl = session_ttl
        await servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        await server.stop()
    await host.aclose()


@pytest.fixture
def host() -> LoopbackHost:
    return LoopbackHost("targets[0].stdio", "backend", dict(os.environ))


@pytest.fixture
async def stdio(host: LoopbackHost) -> AsyncIterator[Callable[..., Any]]:
    """`await stdio(*arguments, env=…)`: a target whose children run `stdio_server.py`; stopped at the end."""
    servers: list[Stdio] = []

    async def make(*arguments: str, session_ttl: float = 1800.0, **config: Any) -> Stdio:
        script = str(Path(__file__).with_name("stdio_server.py"))
        read = StdioConfig.model_validate({"cmd": sys.executable, "args": ["-S", script, *arguments], **config})
        servers.append(Stdio(read, host))
        servers[-1].session_ttl = session_ttl
        await servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        await server.stop()
