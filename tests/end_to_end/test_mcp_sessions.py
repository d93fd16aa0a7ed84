"""What sessions are bound to, when they end, and what servers that do not answer do to the others: two gateways with
one session key and one store, in front of servers that answer, hold their answers back, or say what is no message."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .mcps import CAPABLE, LEGACY, Client, Json, Server, said, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@dataclass
class Slow(Server):
    """Holds back the answers to some methods until it is let."""

    held: frozenset[str] = frozenset()
    let: asyncio.Event = field(default_factory=asyncio.Event)
    listens: bool = False

    def answer(self, request: Received) -> Any:
        if request.method == "GET" and self.listens:
            return self._listened()
        method = request.json().get("method") if request.method == "POST" else None
        answer = super().answer(request)
        return self._late(answer) if method in self.held or "all" in self.held else answer

    async def _late(self, answer: bytes) -> AsyncIterator[bytes]:
        await self.let.wait()
        yield answer

    async def _listened(self) -> AsyncIterator[bytes]:
        yield stream_head()
        yield chunk(b": hello\n\n")
        await self.let.wait()
        yield LAST


@dataclass
class Page(Server):
    """A proxy in front of nothing."""

    status: int = 502

    def answer(self, request: Received) -> Any:
        return reply(self.status, b"<html>Bad Gateway</html>", headers={"content-type": "text/html"})


@dataclass
class World:
    a: Slow
    b: Slow
    silent: Slow
    pages: list[Page]
    gateway: Any
    config: Json
    http: httpx.AsyncClient
    replica: httpx.AsyncClient

    def fresh(self) -> None:
        for server in (self.a, self.b, self.silent, *self.pages):
            server.upstream.received.clear()
        for slow in (self.a, self.b):
            slow.let.set()
            slow.held, slow.let, slow.listens = frozenset(), asyncio.Event(), False

    async def client(self, route: str) -> Client:
        client = Client(self.http, f"/{route}")
        await client.open()
        return client

    async def status(self, client: Client, http: httpx.AsyncClient | None = None, path: str = "") -> int:
        other = Client(http or client.http, path or client.path, session=client.session)
        return (await other.send(PING)).status_code


def written(config: Json) -> str:
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items())


def capable(*tools: str) -> Json:
    able = {"tools": {}, "logging": {}, "resources": {"subscribe": True}}
    return {
        "initialize": lambda params: {**CAPABLE["initialize"](params), "capabilities": able},
        "tools/list": {"tools": [tool(name) for name in tools]},
        "tools/call": lambda params: said(f"{tools[0]}: {params['name']}"),
        "logging/setLevel": {},
        "resources/subscribe": {},
        "resources/unsubscribe": {},
    }


def names(response: Json) -> list[str]:
    return [one["name"] for one in response["result"]["tools"]]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    a, b = Slow("a", capable("first", "echo", "shut")), Slow("b", capable("second", "echo", "hidden"))
    silent, pages = Slow("silent", held=frozenset(("all",))), [Page("page502"), Page("page200", status=200)]
    async with AsyncExitStack() as stack:
        for server in (a, b, silent, *pages):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        url = {one.name: f"{one.upstream.url}/mcp" for one in (a, b, silent, *pages)}

        def target(name: str, server: str = "", **more: Any) -> Json:
            return {"name": name, "mcp": {"host": url[server or name]}, **more}

        rests = {"health": {"eviction": {"duration": "1h"}}}
        backends: dict[str, Json] = {
            "one": {"targets": [target("s", "a")]},
            "two": {"targets": [target("s", "b")]},
            "both": {"targets": [target("a"), target("b")]},
            "idle": {"targets": [target("s", "a")], "sessionIdle": "3s"},
            "pages": {"targets": [target("page502"), target("a"), target("page200")], "failureMode": "failOpen"},
            "silent": {
                "targets": [target("silent"), target("a"), target("b")],
                "failureMode": "failOpen",
                "timeout": "2s",
            },
            "rests": {
                "targets": [target("silent", policies=rests), target("page502", policies=rests), target("a")],
                "failureMode": "failOpen",
                "timeout": "2s",
            },
            "never-open": {
                "targets": [target("silent"), target("b")],
                "failureMode": "failOpen",
                "prefixMode": "never",
            },
            "never": {
                "targets": [target("a", tools={"exclude": ["shut"]}), target("b", tools={"exclude": ["hidden"]})],
                "prefixMode": "never",
            },
        }
        config: Json = {
            "config": {
                **{"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"},
                "session": {"key": "of two gateways"},
                "store": {"url": f"sqlite:{tmp_path_factory.mktemp('store')}/state.sqlite"},
            },
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {"name": name, "matches": [{"path": {"exact": f"/{name}"}}], "backends": [{"mcp": backend}]}
                for name, backend in backends.items()
            ],
        }
        first, second = await serve_all(written(config)), await serve_all(written(config))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=first.url, timeout=20))
        replica = await stack.enter_async_context(httpx.AsyncClient(base_url=second.url, timeout=20))
        yield World(a, b, silent, pages, first, config, http, replica)
        silent.let.set()


@pytest.fixture
def world(running: World) -> World:
    running.fresh()
    return running


# --- what a session is bound to, and when it ends ---------------------------------------------------------------------


async def test_a_session_is_nothing_in_front_of_other_servers(world: World) -> None:
    client = await world.client("one")
    assert await world.status(client, path="/two") == 404
    assert world.b.upstream.received == []
    assert await world.status(client) == 200
    assert await world.status(client, world.replica) == 200


async def test_a_session_outlasts_another_order_of_the_file(world: World) -> None:
    one, both = await world.client("one"), await world.client("both")
    routes = world.config["routes"]
    before = world.gateway.log.count("configuration reloaded")
    routes[0], routes[1] = routes[1], routes[0]
    routes[2]["backends"][0]["mcp"]["targets"].reverse()
    world.gateway.rewrite(written(world.config))
    await until(lambda: world.gateway.log.count("configuration reloaded") > before)
    assert await world.status(one) == 200
    assert await world.status(one, path="/two") == 404
    assert await world.status(both) == 200
    assert (world.a.opened, world.b.opened) == (len(world.a.sessions), len(world.b.sessions))


async def test_a_session_that_has_ended_has_ended_at_every_replica(world: World) -> None:
    known, unknown = await world.client("one"), await world.client("one")
    assert await world.status(known, world.replica) == 200
    for client in (known, unknown):
        headers = {"mcp-session-id": str(client.session)}
        assert (await client.http.delete(client.path, headers=headers)).status_code == 200
        assert await world.status(client) == 404
    assert await world.status(unknown, world.replica) == 404
    async with asyncio.timeout(20):
        while await world.status(known, world.replica) != 404:
            await asyncio.sleep(0.1)
    assert await world.status(known, world.replica) == 404


async def test_a_session_that_nobody_uses_ends(world: World) -> None:
    """Where exactly is tested by a clock, in test_leases.py."""
    client, elsewhere = await world.client("idle"), await world.client("idle")
    assert await world.status(client) == 200
    await asyncio.sleep(4.5)
    assert await world.status(elsewhere, world.replica) == 404
    assert await world.status(client) == 404
    assert await world.status(client) == 404


async def test_a_session_is_in_use_while_somebody_listens(world: World) -> None:
    world.a.listens = True
    client = await world.client("idle")
    headers = {"mcp-session-id": str(client.session), "mcp-protocol-version": LEGACY, "accept": "text/event-stream"}
    async with client.http.stream("GET", client.path, headers=headers) as opened:
        assert opened.status_code == 200
        await asyncio.sleep(4.5)
        assert await world.status(client, world.replica) == 200
    assert await world.status(client) == 200


async def test_a_session_that_is_opened_anew_is_asked_for_what_the_first_one_was(world: World) -> None:
    for route, prefix in (("one", ""), ("both", "a+")):
        client = await world.client(route)
        for method, params in (
            ("logging/setLevel", {"level": "error"}),
            ("resources/subscribe", {"uri": f"{prefix}note://1"}),
            ("resources/subscribe", {"uri": f"{prefix}note://2"}),
            ("resources/unsubscribe", {"uri": f"{prefix}note://2"}),
        ):
            assert "result" in await client.old(method, **params)
        world.a.sessions.clear()
        world.a.upstream.received.clear()
        assert "result" in await client.old("tools/list")
        asked = [one for one in world.a.upstream.received if one.method == "POST"]
        renewed = [
            (one.json()["method"], one.json().get("params", {}).get("level"), one.json().get("params", {}).get("uri"))
            for one in asked
            if one.headers.get("mcp-session-id") == f"a-{world.a.opened}"
        ]
        assert renewed == [
            ("notifications/initialized", None, None),
            ("logging/setLevel", "error", None),
            ("resources/subscribe", None, "note://1"),
            ("tools/list", None, None),
        ]


# --- servers that do not answer ---------------------------------------------------------------------------------------


async def test_a_page_in_place_of_a_server_is_that_servers_failure(world: World) -> None:
    client = await world.client("pages")
    assert names(await client.old("tools/list")) == ["a_first", "a_echo", "a_shut"]


async def test_who_did_not_answer_when_a_session_was_opened_is_not_in_it(world: World) -> None:
    client = await world.client("silent")
    for method in ("notifications/initialized", "notifications/roots/list_changed"):
        assert (await client.send({"jsonrpc": "2.0", "method": method})).status_code == 202
    assert names(await client.old("tools/list"))[0] == "a_first"
    for method, params in (("ping", {}), ("logging/setLevel", {"level": "info"})):
        assert "result" in await client.old(method, **params)
    assert "result" in await client.old("tools/call", name="a_first", arguments={})
    got = await client.send({**PING, "method": "tools/call", "params": {"name": "silent_x", "arguments": {}}})
    assert got.json()["error"]["code"] == -32602
    forged = base64.urlsafe_b64encode(b'{"silent":"x"}').decode()
    assert (await client.old("tools/list", cursor=forged))["error"]["code"] == -32602
    headers = {"mcp-session-id": str(client.session)}
    assert (await client.http.delete(client.path, headers=headers)).status_code == 200
    assert [one.json()["method"] for one in world.silent.upstream.received] == ["initialize"]


async def test_a_server_that_takes_no_notification_holds_up_nobody(world: World) -> None:
    client = await world.client("both")
    methods = ("notifications/initialized", "notifications/roots/list_changed")
    world.a.held = frozenset(methods)
    for method in methods:
        assert (await client.send({"jsonrpc": "2.0", "method": method})).status_code == 202
    await until(lambda: all(world.b.asked(method) for method in methods))
    assert not world.a.let.is_set()


async def test_without_prefixes_a_call_waits_for_nobody_behind_its_server(world: World) -> None:
    client = await world.client("never")
    world.b.held = frozenset(("tools/list",))
    for _ in range(2):
        called = await client.old("tools/call", name="first", arguments={})
        assert called["result"]["content"][0]["text"] == "first: first"
    assert len(world.a.asked("tools/list")) == 1


async def test_without_prefixes_a_server_that_says_nothing_is_passed_over(world: World) -> None:
    """For clients of the version without sessions, where nobody is left out from the beginning."""
    client = Client(world.http, "/never-open")
    for _ in range(2):
        called = await client.new("tools/call", name="second", arguments={})
        assert called["result"]["content"][0]["text"] == "second: second"
    assert len(world.b.asked("tools/list")) == 1


async def test_without_prefixes_a_list_tells_who_has_a_name(world: World) -> None:
    client = await world.client("never")
    assert names(await client.old("tools/list")) == ["first", "echo", "second"]
    for name, owner in (("second", "second"), ("echo", "first")):
        called = await client.old("tools/call", name=name, arguments={})
        assert called["result"]["content"][0]["text"] == f"{owner}: {name}"
    assert len(world.a.asked("tools/list")) == len(world.b.asked("tools/list")) == 1


async def test_without_prefixes_what_is_hidden_is_not_called(world: World) -> None:
    client = await world.client("never")
    for name in ("shut", "hidden"):
        assert "Unknown tool" in (await client.old("tools/call", name=name, arguments={}))["error"]["message"]
    assert not world.a.asked("tools/call") and not world.b.asked("tools/call")


async def test_a_server_that_is_evicted_is_left_alone(world: World) -> None:
    client = Client(world.http, "/rests")
    for _ in range(3):
        assert names(await client.new("tools/list"))[0] == "a_first"
    assert "silent (" in world.gateway.log and "is evicted for 3600.0 s" in world.gateway.log
    asked = (len(world.silent.upstream.received), len(world.pages[0].upstream.received))
    assert "result" in await client.new("tools/list")
    assert (len(world.silent.upstream.received), len(world.pages[0].upstream.received)) == asked
