"""Clients of MCP that leave during a call, or cancel it: the server is told, whatever carries its messages. And servers
that say more than anybody could keep."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing.upstreams import chunk, reply, stream_head

from .mcps import ACCEPT, CAPABLE, ENVELOPE, LEGACY, MODERN, Client, Json, messages_in, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"
LIMIT = 64 * 1024
OPENED = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
FOUND = {**CAPABLE["server/discover"], "capabilities": {"tools": {}}}
TAKEN = reply(202, b"")
BEGUN = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "held", "progress": 0}}


def event(message: Any) -> bytes:
    return chunk(b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n")


@dataclass
class Upstreams:
    """Servers by the first part of their path: `waits` says nothing to a call, `streams` has begun to, `sse` speaks the
    legacy transport; `whole`, `event` and `flood` answer with too much. `seen` is what became of calls."""

    seen: list[tuple[str, Any]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    tasks: set[Any] = field(default_factory=set)
    sse: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                kind, length = head.split("/")[1].split()[0], head.partition("content-length: ")[2].partition("\r")[0]
                body = await reader.readexactly(int(length or 0))
                await self.answer(kind, json.loads(body) if body else {}, reader, writer)
        writer.close()

    async def answer(self, kind: str, asked: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = asked.get("method")
        if method == "notifications/cancelled":
            self.seen.append((kind, asked["params"]["requestId"]))
        if not asked:
            self.sse = writer if kind == "sse" else None
            writer.write(
                stream_head() + chunk(b"event: endpoint\ndata: /sse\n\n") if kind == "sse" else reply(405, b"")
            )
        elif kind == "sse":
            writer.write(TAKEN)
            assert self.sse is not None
            if method == "tools/call":
                self.held.append(kind)
                self.sse.write(event(BEGUN))
            elif "id" in asked:
                self.sse.write(event({"jsonrpc": "2.0", "id": asked["id"], "result": OPENED}))
        elif "id" not in asked:
            writer.write(TAKEN)
        elif method == "tools/call":
            self.held.append(kind)
            await getattr(self, kind)(asked, reader, writer)
        else:
            result = {"tools/list": {"tools": [tool("say")]}, "server/discover": FOUND}.get(str(method), OPENED)
            writer.write(reply(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result}))

    async def waits(self, asked: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until somebody closes the connection."""
        assert await reader.read(1) == b""
        self.seen.append((self.held[-1], "closed"))
        raise ConnectionError

    async def streams(self, asked: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head() + event(BEGUN))
        await self.waits(asked, reader, writer)

    async def whole(self, asked: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head("application/json"))
        await self.pour(b'{"jsonrpc": "2.0", "id": 7, "result": {"x": "', writer)

    async def event(self, asked: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head())
        await self.pour(b'event: message\ndata: {"jsonrpc": "2.0", "id": 7, "result": {"x": "', writer)

    async def pour(self, begin: bytes, writer: asyncio.StreamWriter) -> None:
        """64 MiB, for whoever takes them."""
        kind = self.held[-1]
        try:
            writer.write(chunk(begin))
            for _ in range(1024):
                writer.write(chunk(b"x" * 65536))
                await writer.drain()
        except ConnectionError:
            self.seen.append((kind, "closed"))
            raise
        self.seen.append((kind, "all taken"))


@dataclass
class World:
    upstreams: Upstreams
    gateway: Any
    http: httpx.AsyncClient

    async def client(self, path: str, era: str) -> Client:
        client = Client(self.http, path)
        if era == "old":
            await client.open()
        return client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    upstreams = Upstreams()
    server = await asyncio.start_server(upstreams.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    targets: dict[str, Json] = {
        kind: {"mcp": {"host": f"{url}/{kind}"}} for kind in ("waits", "streams", "whole", "event")
    }
    targets |= {"sse": {"sse": {"host": f"{url}/sse"}}}
    targets |= {"stdio": {"stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT)]}}}
    named = {kind: [{"name": kind, **target}] for kind, target in targets.items()}
    named["sessions"] = [{"name": "waits", "era": "sessions", **targets["waits"]}]
    named["stateless"] = [{"name": "waits", "era": "stateless", **targets["waits"]}]
    named["both"] = [*named["event"], {"name": "other", **targets["waits"]}]
    config: Json = {
        "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
        "frontendPolicies": {"http": {"maxBufferSize": LIMIT}},
        "routes": [
            {"name": kind, "matches": [{"path": {"exact": f"/{kind}/mcp"}}], "backends": [{"mcp": {"targets": own}}]}
            for kind, own in named.items()
        ],
    }
    async with AsyncExitStack() as stack:
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, timeout=20))
        yield World(upstreams, gateway, http)
    server.close()
    for task in upstreams.tasks:
        task.cancel()
    await asyncio.gather(*upstreams.tasks, return_exceptions=True)


@pytest.fixture
def world(running: World) -> World:
    running.upstreams.seen.clear()
    running.upstreams.held.clear()
    return running


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def begin(world: World, client: Client, kind: str, era: str) -> asyncio.StreamWriter:
    """A call that is under way at the server, on a connection of its own."""
    meta = {"progressToken": "held", **(ENVELOPE if era == "new" else {})}
    method = "hold" if kind == "stdio" else "tools/call"
    params = {"begin": True, "_meta": meta} if kind == "stdio" else {"name": "say", "arguments": {}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": "held", "method": method, "params": params})
    headers = {
        **{"host": "127.0.0.1", "content-type": "application/json", "accept": ACCEPT, "content-length": len(body)},
        "mcp-protocol-version": MODERN if era == "new" else LEGACY,
        **({"mcp-method": method, "mcp-name": "say"} if era == "new" else {"mcp-session-id": client.session}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
    writer.write(f"POST {client.path} HTTP/1.1\r\n{lines}\r\n{body}".encode())
    if kind == "waits":
        await until(lambda: world.upstreams.held)
    else:
        async with asyncio.timeout(10):
            await reader.readuntil(b"progress")
    return writer


async def noticed(world: World, client: Client, kind: str, era: str) -> Any:
    """What the server has seen of it."""
    if kind != "stdio":
        await until(lambda: world.upstreams.seen)
        return world.upstreams.seen[0][1]
    ask = getattr(client, era)
    async with asyncio.timeout(10):
        while not (seen := [one for one in (await ask("seen"))["result"] if one["method"].endswith("cancelled")]):
            await asyncio.sleep(0.01)
    return seen[-1]["params"]["requestId"]


CALLS = [
    *(("waits", "old"), ("waits", "new"), ("streams", "old"), ("streams", "new")),
    *(("sse", "old"), ("stdio", "old"), ("stdio", "new")),
]


@pytest.mark.parametrize(("kind", "era"), CALLS)
async def test_a_client_that_leaves_is_missed_by_the_server(world: World, kind: str, era: str) -> None:
    client = await world.client(f"/{kind}/mcp", era)
    connection = await begin(world, client, kind, era)
    connection.close()
    told = await noticed(world, client, kind, era)
    own_id = str(told).startswith("agw-") if era == "new" else told == "held"
    assert own_id if kind in ("sse", "stdio") else told == "closed"


@pytest.mark.parametrize(("path", "era"), [("sessions", "new"), ("stateless", "old")])
async def test_a_client_of_the_other_era_is_missed_too(world: World, path: str, era: str) -> None:
    client = await world.client(f"/{path}/mcp", era)
    connection = await begin(world, client, "waits", era)
    connection.close()
    await until(lambda: ("waits", "closed") in world.upstreams.seen)


@pytest.mark.parametrize("kind", ["waits", "streams", "sse", "stdio"])
async def test_a_call_that_a_client_cancels_is_cancelled_at_the_server(world: World, kind: str) -> None:
    client = await world.client(f"/{kind}/mcp", "old")
    connection = await begin(world, client, kind, "old")
    params = {"requestId": "held", "reason": "enough"}
    got = await client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
    assert got.status_code == 202
    assert await noticed(world, client, kind, "old") == "held"
    connection.close()


@pytest.mark.parametrize("path", ["/whole/mcp", "/event/mcp", "/both/mcp"])
async def test_an_answer_without_end_is_an_error_and_takes_no_memory(world: World, path: str) -> None:
    """One server's stream passes as it comes, so that somebody has to read it."""
    client, name = Client(world.http, path), "event_say" if path == "/both/mcp" else "say"
    before = world.gateway.memory()
    if path == "/event/mcp":
        call = asyncio.create_task(client.modern("tools/call", {"name": name, "arguments": {}}))
        await until(lambda: world.upstreams.held)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    else:
        got = await client.modern("tools/call", {"name": name, "arguments": {}})
        error = (messages_in(got.text)[-1] if path == "/both/mcp" else got.json())["error"]
        assert (
            error["code"] == -32603
            and error["message"].endswith(("too large", "too long"))
            and len(got.content) < LIMIT
        )
        assert got.status_code == (200 if path == "/both/mcp" else 502)
    await until(lambda: world.upstreams.seen)
    assert world.upstreams.seen == [("whole" if path == "/whole/mcp" else "event", "closed")]
    assert world.gateway.memory() - before < 8 * 2**20  # of the 64 that were offered
