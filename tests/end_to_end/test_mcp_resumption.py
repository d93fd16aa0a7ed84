"""Clients that lose a stream and come back with the id of the last event they have (`Last-Event-ID`): they get what
they have missed of that stream, all of it and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received
from agentgateway.testing.upstreams import LAST, chunk, stream_head

from .mcps import LEGACY, Client, Json, Server, said, tool

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]


@dataclass
class Remembering(Server):
    """Streams have names; every event has an id, `STREAM:NUMBER`, and is kept. `general` is the one of a GET."""

    streams: dict[str, list[Json]] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    hangs_up: bool = False

    def tell(self, number: int) -> None:
        params = {"level": "info", "data": f"{self.name} {number}"}
        self.streams.setdefault("general", []).append({"method": "notifications/message", "params": params})

    def answer(self, request: Received) -> Any:
        message = request.json() if request.method == "POST" else {}
        if request.method == "GET":
            stream, _, number = request.headers.get("last-event-id", "general:-1").rpartition(":")
            return self._read(stream, int(number) + 1)
        if message.get("method") in ("tools/call", "tools/list"):
            return self._began(message)
        return super().answer(request)

    async def _began(self, message: Json) -> AsyncIterator[bytes]:
        """Say that it has begun, and hang up: the response is there for who comes back."""
        stream = f"call-{message['id']}"
        found = {"tools": [tool("say"), tool("hidden")]} if message["method"] == "tools/list" else said(self.name)
        note = {"method": "notifications/message", "params": {"level": "info", "data": "begun"}}
        self.streams[stream] = [note, {"id": message["id"], "result": found}]
        self.finished.add(stream)
        yield stream_head()
        yield chunk(b"retry: 20\nid: %b:-1\ndata: \n\n" % stream.encode())
        yield chunk(event(f"{stream}:0", note))
        yield LAST

    async def _read(self, stream: str, number: int) -> AsyncIterator[bytes]:
        yield stream_head()
        yield chunk(b": here\n\n")
        kept = self.streams.setdefault(stream, [])
        while True:
            while number < len(kept):
                yield chunk(event(f"{stream}:{number}", kept[number], b"retry: 20\n"))
                number += 1
                if self.hangs_up:
                    self.hangs_up = False
                    yield LAST
                    return
            if stream in self.finished:
                yield LAST
                return
            await asyncio.sleep(0.01)
            yield chunk(b": waiting\n\n")

    @property
    def listened(self) -> list[str | None]:
        """From where each GET began."""
        return [one.headers.get("last-event-id") for one in self.upstream.received if one.method == "GET"]


def event(place: str, message: Json, before: bytes = b"") -> bytes:
    text = json.dumps({"jsonrpc": "2.0", **message})
    return before + f"id: {place}\ndata: {text}\n\n".encode()


@dataclass
class World:
    gateway: Any
    one: Remembering
    two: Remembering
    http: httpx.AsyncClient

    async def client(self, path: str = "/several") -> Client:
        client = Client(self.http, path)
        await client.open()
        return client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    servers = [Remembering(name, modern=False) for name in ("one", "two")]
    async with AsyncExitStack() as stack:
        for server in servers:
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        targets = [{"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in servers]
        rules = {"mcpAuthorization": {"rules": ['mcp.tool.name != "hidden"']}}
        routes: dict[str, tuple[Json, Json]] = {
            "several": ({"targets": targets}, {}),
            "ruled": ({"targets": targets[:1]}, rules),
        }
        config: Json = {
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {"matches": [{"path": {"exact": f"/{name}"}}], "policies": policies, "backends": [{"mcp": backend}]}
                for name, (backend, policies) in routes.items()
            ],
        }
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, timeout=20))
        yield World(gateway, *servers, http)


@pytest.fixture
def world(running: World) -> World:
    for server in (running.one, running.two):
        server.upstream.received.clear()
        server.streams.clear()
        server.hangs_up = False
    return running


@dataclass
class Reader:
    """The events of a stream, one by one; `last` is the id of the one read last."""

    lines: AsyncIterator[str]
    last: str | None = None

    async def next(self) -> Json | None:
        """The next message; None at the end."""
        place = None
        async with asyncio.timeout(10):
            async for line in self.lines:
                name, _, value = line.partition(": ")
                place = value if name == "id" else place
                if name == "data":
                    self.last = place or self.last
                    if value:
                        return json.loads(value)  # type: ignore[no-any-return]
        return None

    async def told(self, count: int) -> list[str]:
        """What so many notifications say, each server's together."""
        messages = [await self.next() for _ in range(count)]
        return sorted(one["params"]["data"] for one in messages if one is not None)


@asynccontextmanager
async def reading(client: Client, message: Json | None = None, last: str | None = None) -> AsyncIterator[Reader]:
    headers = {"accept": "application/json, text/event-stream", "mcp-session-id": client.session or ""}
    headers |= {"mcp-protocol-version": LEGACY, **({"last-event-id": last} if last is not None else {})}
    method = "GET" if message is None else "POST"
    async with client.http.stream(method, client.path, json=message, headers=headers) as got:
        assert got.status_code == 200, await got.aread()
        lines = got.aiter_lines()
        yield Reader(lines)


def calling(method: str = "tools/call", **params: Any) -> Json:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


async def test_a_call_to_one_of_several_servers_goes_on_at_that_one(world: World) -> None:
    client = await world.client()
    async with reading(client, calling(name="two_say", arguments={})) as reader:
        begun = await reader.next()
        assert begun is not None and begun["params"]["data"] == "begun"
        assert await reader.next() is None
    async with reading(client, last=reader.last) as reader:
        assert await reader.next() == {"jsonrpc": "2.0", "id": 7, "result": said("two")}
        assert await reader.next() is None
    assert (world.one.listened, world.two.listened) == ([], ["call-7:0"])
    async with reading(client, last=reader.last) as reader:
        assert await reader.next() is None


async def test_a_stream_of_several_servers_goes_on_at_each_of_them(world: World) -> None:
    client = await world.client()
    async with reading(client) as reader:
        for number in range(3):
            world.one.tell(number)
        assert await reader.told(3) == ["one 0", "one 1", "one 2"]
        world.two.tell(0)
        assert await reader.told(1) == ["two 0"]
    for number in (3, 4):
        world.one.tell(number)
        world.two.tell(number)
    async with reading(client, last=reader.last) as reader:
        assert await reader.told(4) == ["one 3", "one 4", "two 3", "two 4"]
        world.two.tell(5)
        assert await reader.told(1) == ["two 5"]
    assert (world.one.listened, world.two.listened) == ([None, "general:2"], [None, "general:0"])
    async with reading(client, last=reader.last) as reader:
        world.one.tell(6)
        assert await reader.told(1) == ["one 6"]


async def test_a_server_that_hangs_up_is_listened_to_again_beside_the_others(world: World) -> None:
    client = await world.client()
    async with reading(client) as reader:
        world.one.hangs_up = True
        world.one.tell(0)
        assert await reader.told(1) == ["one 0"]
        world.one.tell(1)
        world.two.tell(0)
        assert await reader.told(2) == ["one 1", "two 0"]
    assert (world.one.listened, world.two.listened) == ([None, "general:0"], [None])


@pytest.mark.parametrize("forged", ["general:0", "e30x", "WyJ0aHJlZSIsICJ4Il0", "eyJvbmUiOjF9"])
async def test_an_id_that_nobody_gave_out_is_refused(world: World, forged: str) -> None:
    client = await world.client()
    headers = {"accept": "text/event-stream", "mcp-session-id": client.session or "", "last-event-id": forged}
    got = await client.http.get(client.path, headers=headers)
    assert (got.status_code, got.json()["error"]["code"]) == (400, -32600)


async def test_a_list_where_a_stream_goes_on_has_what_it_may_have(world: World) -> None:
    client = await world.client("/ruled")
    async with reading(client, calling("tools/list")) as reader:
        while await reader.next() is not None:
            pass
    async with reading(client, last=reader.last) as reader:
        listed = await reader.next()
    assert listed is not None and [one["name"] for one in listed["result"]["tools"]] == ["say"]
