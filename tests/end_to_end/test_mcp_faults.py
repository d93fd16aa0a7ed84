"""What happens to MCP calls when a server is killed, the configuration changes, a client does not read, a program
crashes again and again, or a message is not one that anybody could mean. One gateway for all of it."""

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

from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .mcps import ACCEPT, CAPABLE, ENVELOPE, LEGACY, MODERN, Client, Json, answer_in, messages_in, said, streamed, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"
OPENED = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
RESULTS = {"tools/list": {"tools": [tool("say")]}, "server/discover": CAPABLE["server/discover"], "ping": {}}
TOLD = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "begun"}}
PIECE = b": " + b"x" * 65530 + b"\n\n"
PIECES = 512
"""Of one stream: 32 MiB."""


def event(message: Any, place: str = "") -> bytes:
    return (f"id: {place}\n" if place else "").encode() + b"data: " + json.dumps(message).encode() + b"\n\n"


@dataclass
class Servers:
    """What a call gets, by the server's path: `whole` nothing, `stream` a beginning, `resumable` the same with an id,
    `piece` one and a half; `let` lets the calls under way go on, `kill` ends their connections. `pours` is 32 MiB."""

    calls: set[asyncio.StreamWriter] = field(default_factory=set)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    poured: int = 0
    tasks: set[Any] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                kind, length = head.split("/")[1].split()[0], head.partition("content-length: ")[2].partition("\r")[0]
                body = await reader.readexactly(int(length or 0))
                await self.answer(kind, json.loads(body) if body else {}, writer)
        self.calls.discard(writer)
        writer.close()

    async def answer(self, kind: str, asked: Json, writer: asyncio.StreamWriter) -> None:
        method = asked.get("method")
        if not asked:
            writer.write(reply(405, b""))
        elif "id" not in asked:
            writer.write(reply(202, b""))
        elif method == "tools/call":
            await self.call(kind, {"jsonrpc": "2.0", "id": asked["id"], "result": said(kind)}, writer)
        elif method == "initialize" or method in RESULTS:
            writer.write(reply(200, {"jsonrpc": "2.0", "id": asked["id"], "result": RESULTS.get(str(method), OPENED)}))
        else:
            error = {"code": -32601, "message": "Method not found"}
            writer.write(reply(404, {"jsonrpc": "2.0", "id": asked["id"], "error": error}))

    async def call(self, kind: str, last: Json, writer: asyncio.StreamWriter) -> None:
        begin = {"resumable": event(TOLD, "1"), "piece": event(TOLD) + event(TOLD)[:20]}.get(kind, event(TOLD))
        if kind != "whole":
            writer.write(stream_head() + chunk(begin))
        if kind == "pours":
            for _ in range(PIECES):
                writer.write(chunk(PIECE))
                await writer.drain()
                self.poured += 1
        else:
            self.calls.add(writer)
            await self.let.wait()
            self.calls.discard(writer)
        writer.write(chunk(event(last)) + LAST if kind != "whole" else reply(200, last))

    def kill(self) -> None:
        for writer in self.calls:
            writer.close()
        self.calls.clear()


@dataclass
class World:
    servers: Servers
    gateway: Any
    http: httpx.AsyncClient
    config: Json

    async def client(self, path: str, era: str) -> Client:
        client = Client(self.http, path)
        if era == "old":
            await client.open()
        return client

    async def call(self, path: str, era: str) -> "asyncio.Task[httpx.Response]":
        """A call that has reached its server."""
        client = await self.client(path, era)
        name = "one_say" if path.startswith("/two-") else "say"
        params: Json = {"name": name, "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
        sent = client.send(message) if era == "old" else client.modern("tools/call", params)
        under_way = asyncio.create_task(sent)
        await until(lambda: self.servers.calls or under_way.done())
        return under_way

    async def reload(self, change: Callable[[Json], None]) -> None:
        before = self.gateway.log.count("configuration reloaded")
        change(self.config)
        self.gateway.rewrite(written(self.config))
        await until(lambda: self.gateway.log.count("configuration reloaded") > before)


def written(config: Json) -> str:
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items())


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    servers = Servers()
    server = await asyncio.start_server(servers.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kinds = ("whole", "stream", "resumable", "piece", "pours")
    targets: dict[str, list[Json]] = {kind: [{"name": "one", "mcp": {"host": f"{url}/{kind}"}}] for kind in kinds}
    for kind in ("whole", "stream"):
        targets[f"two-{kind}"] = [*targets[kind], {"name": "other", "mcp": {"host": f"{url}/whole"}}]
        for era in ("sessions", "stateless"):
            targets[f"{kind}-{era}"] = [{**targets[kind][0], "era": era}]
    targets["piece"][0]["toolPinning"] = {"mode": "off"}  # which reads streams, and passes on whole events
    targets["loop"] = [{"name": "loop", "stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT), "--die"]}}]
    config: Json = {
        "config": {"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"},
        "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
        "routes": [
            {"name": name, "matches": [{"path": {"pathPrefix": f"/{name}/"}}], "backends": [{"mcp": {"targets": own}}]}
            for name, own in targets.items()
        ],
    }
    async with AsyncExitStack() as stack:
        gateway = await serve_all(written(config))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, timeout=30))
        yield World(servers, gateway, http, config)
    server.close()
    for task in servers.tasks:
        task.cancel()
    await asyncio.gather(*servers.tasks, return_exceptions=True)


@pytest.fixture
def world(running: World) -> World:
    running.servers.let = asyncio.Event()
    return running


KINDS = ["whole", "stream", "two-whole", "two-stream"]
BRIDGED = [*((f"{kind}-stateless", "old") for kind in KINDS[:2]), *((f"{kind}-sessions", "new") for kind in KINDS[:2])]


@pytest.mark.parametrize(("kind", "era"), [*((kind, era) for kind in KINDS for era in ("old", "new")), *BRIDGED])
async def test_a_server_that_is_killed_during_a_call_is_an_error_of_the_call(world: World, kind: str, era: str) -> None:
    call = await world.call(f"/{kind}/mcp", era)
    world.servers.kill()
    got = await call
    if got.headers["content-type"].startswith("text/event-stream"):
        found = [one for one in messages_in(got.text) if "id" in one]
    else:
        assert got.status_code in (200, 502, 503)
        found = [got.json()]
    assert [(one["jsonrpc"], one["id"], one["error"]["code"]) for one in found] == [("2.0", 7, -32603)], got.text
    assert "result" in await (await world.client("/whole/mcp", "old")).old("ping")


async def test_an_event_that_breaks_off_is_ended_before_the_error(world: World) -> None:
    params = {"name": "say", "arguments": {}, "_meta": ENVELOPE}
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    headers = {"accept": ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "say"}
    async with world.http.stream("POST", "/piece/mcp", json=message, headers=headers) as got:
        pieces = got.aiter_text()
        first = await asyncio.wait_for(anext(pieces), 10)
        world.servers.kill()
        text = first + "".join([piece async for piece in pieces])
    begun, broken, last, end = text.split("\n\n")
    assert (begun, broken, end) == (event(TOLD).decode().strip(), event(TOLD)[:20].decode(), "")
    assert [(one["id"], one["error"]["code"]) for one in messages_in(last)] == [(7, -32603)]


async def test_a_stream_that_can_be_resumed_breaks_off_so_that_it_is(world: World) -> None:
    call = await world.call("/resumable/mcp", "old")
    world.servers.kill()
    with pytest.raises(httpx.RemoteProtocolError):
        await call


async def test_a_killed_server_is_told_on_the_stream_of_the_legacy_transport(world: World) -> None:
    for kind in ("whole", "stream", "piece"):
        async with streamed(world.http, f"{world.gateway.url}/{kind}/sse", {}) as stream:
            await stream.open()
            await stream.send("tools/call", "mine", name="say", arguments={})
            await until(lambda: world.servers.calls)
            world.servers.kill()
            assert (await stream.answer("mine"))["error"]["code"] == -32603
            assert "result" in await stream.ask("ping")


@pytest.mark.parametrize("era", ["old", "new"])
@pytest.mark.parametrize("changed", [True, False], ids=["changed", "unchanged"])
async def test_a_call_outlasts_a_reload(world: World, era: str, changed: bool) -> None:
    kinds = ("whole", "stream", "two-stream")
    calls = [await world.call(f"/{kind}/mcp", era) for kind in kinds]
    await until(lambda: len(world.servers.calls) == len(kinds))

    def change(config: Json) -> None:
        for route in config["routes"]:
            if changed:
                mcp = route["backends"][0]["mcp"]
                mcp["timeout"] = f"{int(mcp.get('timeout', '30s')[:-1]) + 1}s"
            else:
                route["policies"] = {"responseHeaderModifier": {"set": {"x-seen": era}}}

    await world.reload(change)
    assert not any(call.done() for call in calls)
    world.servers.let.set()
    for call in calls:
        assert "result" in answer_in(await call)


@pytest.mark.parametrize("era", ["old", "new"])
async def test_a_client_that_does_not_read_stops_its_server_and_nobody_else(world: World, era: str) -> None:
    client, before = await world.client("/pours/mcp", era), world.gateway.memory()
    world.servers.poured = 0
    meta = {"_meta": ENVELOPE} if era == "new" else {}
    params = {"name": "say", "arguments": {}, **meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    headers = {
        **{"host": "127.0.0.1", "content-type": "application/json", "accept": ACCEPT, "content-length": len(body)},
        "mcp-protocol-version": MODERN if era == "new" else LEGACY,
        **({"mcp-method": "tools/call", "mcp-name": "say"} if era == "new" else {}),
        **({"mcp-session-id": client.session} if client.session else {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port, limit=65536)
    writer.write(f"POST /pours/mcp HTTP/1.1\r\n{lines}\r\n{body}".encode())
    await reader.readuntil(b"begun")
    taken = -1
    while taken < world.servers.poured:
        taken = world.servers.poured
        await asyncio.sleep(0.3)
    assert taken < PIECES * 3 // 4
    assert world.gateway.memory() - before < 8 * 2**20
    assert (await world.http.post("/whole/mcp", content=b"{")).status_code < 500
    assert "result" in await (await world.client("/whole/mcp", "old")).old("ping")
    async with asyncio.timeout(20):
        while b'"result"' not in (data := await reader.read(2**20)):
            assert data
    writer.close()


@pytest.mark.parametrize("era", ["old", "new"])
async def test_a_program_that_crashes_over_and_over_is_a_refusal_at_once(world: World, era: str) -> None:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params}
    client = Client(world.http, "/loop/mcp")
    statuses = set()
    for _ in range(8):
        got = await (client.send(message) if era == "old" else client.modern("tools/list", {}))
        statuses.add(got.status_code)
        assert (got.json()["id"], got.json()["error"]["code"]) == (7, -32603), got.text
    assert 503 in statuses and statuses <= {502, 503}
    assert got.headers["retry-after"]
    assert world.gateway.log.count("exit code 4") <= 8


DEEP = 100_000
HEAD = b'{"jsonrpc":"2.0","id":7,"method":"ping","params":'


@pytest.mark.parametrize(
    "message",
    [
        HEAD + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        HEAD + b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
        HEAD + b'{"a":' + b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
    ],
    ids=["objects", "arrays", "open", "batches"],
)
async def test_deep_messages_are_refused_in_every_era(world: World, message: bytes) -> None:
    for era, headers in (("old", {}), ("new", {"mcp-protocol-version": MODERN, "mcp-method": "ping"})):
        client = await world.client("/whole/mcp", era)
        got = await client.send(message, **headers)
        assert got.status_code == 400 and got.json()["error"]["code"] in (-32700, -32600), got.text[:200]


async def test_a_message_above_the_limit_is_refused_and_not_kept(world: World) -> None:
    before = world.gateway.memory()
    start, size = HEAD + b'{"a":"' + b"x" * 2**20, 10 * 2**20
    fields = f"host: 127.0.0.1\r\ncontent-type: application/json\r\naccept: {ACCEPT}\r\ncontent-length: {size}"
    for path in ("/whole/mcp", "/two-whole/mcp", "/loop/mcp"):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port)
        writer.write(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + start)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b'"code":-32600' in await reader.readuntil(b"}}")
        writer.close()
    got = await Client(world.http, "/whole/mcp").send(start + b"x" * (3 * 2**20) + b'"}}')
    assert got.status_code == 413 and got.json()["error"]["code"] == -32600, got.text[:200]
    assert world.gateway.memory() - before < 16 * 2**20
    assert "result" in await (await world.client("/whole/mcp", "old")).old("ping")


@pytest.mark.parametrize("path", ["/whole/mcp", "/two-whole/mcp"])
async def test_versions_methods_and_batches_that_nobody_knows(world: World, path: str) -> None:
    client = await world.client(path, "old")
    batch = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(3)]
    for version in ("2025-03-26", LEGACY):
        got = await client.send(batch, **{"mcp-protocol-version": version})
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32600)
    for version in ("1999-01-01", "nonsense"):
        got = await client.send({"jsonrpc": "2.0", "id": 7, "method": "ping"}, **{"mcp-protocol-version": version})
        assert (got.status_code, "error" in got.json()) == (400, True), got.text
    for era in ("old", "new"):
        unknown = await getattr(await world.client(path, era), era)("no/such")
        assert (unknown["id"], unknown["error"]["code"]) == (7, -32601)
