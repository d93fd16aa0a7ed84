"""Clients of the transport of 2024-11-05, through a real gateway: a stream by GET, messages by POST."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import pytest_asyncio

from .mcps import INFO, LEGACY, MODERN, Client, Json, Server, Stream, said, streamed, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"


@dataclass
class World:
    gateway: Any
    server: Server
    http: httpx.AsyncClient
    config: Json

    def stream(self, path: str, query: str = "", **headers: str) -> Any:
        return streamed(self.http, f"{self.gateway.url}/{path}/sse{query}", headers)

    @asynccontextmanager
    async def session(self, path: str, **headers: str) -> AsyncIterator[Stream]:
        async with self.stream(path, **headers) as stream:
            await stream.open()
            yield stream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(serve_all: Any) -> AsyncIterator[World]:
    server = Server("one", {"tools/list": {"tools": [tool("say")]}, "tools/call": said("mail me@example.com")})
    async with server.upstream as upstream:
        upstream.answer = server.answer
        child = {"name": "child", "stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT)]}}
        one = {"name": "one", "mcp": {"host": f"{upstream.url}/mcp"}}
        keys = [{"key": f"key-of-{name}", "metadata": {"name": name}} for name in ("ann", "bob")]
        policies: dict[str, Json] = {
            "child": {},
            "one": {},
            "both": {},
            "guarded": {"promptGuard": {"response": [{"regex": {"rules": [{"builtin": "email"}]}}]}},
            "ruled": {"mcpAuthorization": {"rules": ['mcp.tool.name == "other"']}},
            "limited": {"localRateLimit": [{"maxTokens": 4, "tokensPerFill": 1, "fillInterval": "1h"}]},
            "keyed": {"apiKey": {"mode": "strict", "keys": keys}},
        }
        targets = {"child": [child], "both": [child, one]}
        config = {
            "config": {
                **{"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"},
                "logging": {"level": "debug"},
            },
            "frontendPolicies": {"accessLog": {"add": {"uri": "request.uri"}}},
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {
                    "matches": [{"path": {"pathPrefix": f"/{name}"}}],
                    "policies": one_policies,
                    "backends": [{"mcp": {"targets": targets.get(name, [one])}}],
                }
                for name, one_policies in policies.items()
            ],
        }
        gateway = await serve_all(written(config))
        async with httpx.AsyncClient(timeout=20) as http:
            yield World(gateway, server, http, config)


def written(config: Json) -> str:
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items())


async def gone(process: int) -> None:
    async with asyncio.timeout(20):
        while Path(f"/proc/{process}").exists():
            await asyncio.sleep(0.02)


async def test_answers_come_on_the_stream(world: World) -> None:
    async with world.stream("one") as stream:
        assert stream.opened.headers["content-type"] == "text/event-stream"
        assert (await stream.open())["serverInfo"]["name"] == "scripted"
        assert (await stream.ask("tools/list"))["result"]["tools"][0]["name"] == "say"
        called = await stream.ask("tools/call", name="say", arguments={})
        assert called == {"jsonrpc": "2.0", "id": "asked", "result": said("mail me@example.com")}


async def test_the_endpoint_is_relative_and_keeps_the_query(world: World) -> None:
    async with world.stream("one", "?tenant=a&sessionId=old") as stream:
        assert re.fullmatch(r"\?tenant=a&sessionId=[\w-]{64,}", stream.endpoint)
        await stream.open()


async def test_a_server_behind_a_federation_is_asked_by_its_prefix(world: World) -> None:
    async with world.session("both") as stream:
        listed = await stream.ask("tools/list")
        assert [one["name"] for one in listed["result"]["tools"]] == ["child_me", "one_say"]
        assert (await stream.ask("tools/call", name="child_me", arguments={}))["result"]["content"][0]["text"].isdigit()
        assert (await stream.ask("resources/read", uri="x"))["error"]["code"] == -32602


async def test_a_server_asks_and_tells_on_the_stream(world: World) -> None:
    async with world.session("child") as stream:
        await stream.send("ask", "q", what="elicitation/create")
        async with asyncio.timeout(20):
            asked = await stream.heard.get()
        assert asked["method"] == "elicitation/create"
        answered = await stream.post({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}})
        assert answered.status_code == 202
        assert (await stream.answer("q"))["result"]["client_said"] == {"action": "accept"}
        progressed = await stream.ask("progress", times=3, _meta={"progressToken": "t"})
        assert progressed["result"] == {"done": "asked"}
        assert [one["params"]["progress"] for one in stream.others] == [0, 1, 2]


async def test_what_a_server_says_unasked_comes_too(world: World) -> None:
    async with world.session("child") as stream:
        async with asyncio.timeout(20):
            while not stream.others:  # the servers are listened to from soon after the session is open
                await stream.ask("tell", notes=[{"method": "notifications/tools/list_changed"}])
        assert stream.others[0]["method"] == "notifications/tools/list_changed"


async def test_a_request_is_cancelled(world: World) -> None:
    async with world.session("child") as stream:
        await stream.send("hold", "held")
        await stream.send("notifications/cancelled", requestId="held")
        seen = (await stream.ask("seen"))["result"]
        assert [one["method"] for one in seen] == ["notifications/initialized", "notifications/cancelled"]


async def test_who_leaves_takes_the_session_along(world: World) -> None:
    async with world.stream("child") as stream:
        process = (await stream.open())["pid"]
        await stream.send("hold", "held")
        ticket = stream.endpoint
    await gone(process)
    late = await world.http.post(urljoin(stream.url, ticket), json={"jsonrpc": "2.0", "id": 1, "method": "me"})
    assert (late.status_code, late.json()["error"]["message"]) == (404, "Session not found")
    async with world.session("one"):
        sessions = set(world.server.sessions)
        assert sessions
    async with asyncio.timeout(20):
        while sessions & world.server.sessions:
            await asyncio.sleep(0.01)


async def test_who_leaves_cancels_what_is_under_way(world: World) -> None:
    async with world.session("one") as stream:
        world.server.hangs, asked = True, len(world.server.asked("tools/call"))
        await stream.send("tools/call", "held", name="say", arguments={})
        async with asyncio.timeout(20):
            while len(world.server.asked("tools/call")) == asked:
                await asyncio.sleep(0.01)
        world.server.upstream.gone.clear()
    async with asyncio.timeout(20):
        await world.server.upstream.gone.wait()
    world.server.hangs = False


ERRORS: list[tuple[str, str, Json, Json]] = [
    ("ruled", "tools/call", {"name": "say", "arguments": {}}, {"code": -32602, "message": "Unknown tool: say"}),
    ("one", "prompts/get", {}, {"code": -32602, "message": "params.name is missing"}),
    ("one", "no/such", {}, {"code": -32601, "message": "Method not found: no/such"}),
]


@pytest.mark.parametrize(("path", "method", "params", "error"), ERRORS)
async def test_errors_of_requests_come_on_the_stream(
    world: World, path: str, method: str, params: Json, error: Json
) -> None:
    async with world.session(path) as stream:
        assert (await stream.ask(method, **params))["error"] == error


async def test_a_limit_is_told_on_the_stream(world: World) -> None:
    async with world.session("limited") as stream:  # which were three
        assert "result" in await stream.ask("tools/list")
        refused = await stream.ask("tools/list")
        assert refused["error"]["code"] == -32003


async def test_a_guard_sees_what_comes_on_the_stream(world: World) -> None:
    async with world.session("guarded") as stream:
        called = await stream.ask("tools/call", name="say", arguments={})
        assert "me@example.com" not in json.dumps(called) and "<EMAIL_ADDRESS>" in json.dumps(called)


async def test_the_session_is_opened_once_and_first(world: World) -> None:
    async with world.stream("one") as stream:
        assert (await stream.ask("tools/list"))["error"]["message"] == "there is no session yet"
        await stream.open()
        again = await stream.ask("initialize", protocolVersion=LEGACY, capabilities={}, clientInfo=INFO)
        assert again["error"]["message"] == "the session is open already"


async def test_requests_that_cannot_be_a_streams_are_refused_at_once(world: World) -> None:
    url = f"{world.gateway.url}/one/sse"
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    post = world.http.post
    assert (await post(url, json=ping)).status_code == 400
    assert (await post(f"{url}?sessionId=unknown", json=ping)).status_code == 404
    assert (await world.http.delete(url)).status_code == 405
    assert (await world.http.get(url, headers={"accept": "application/json"})).status_code == 406
    async with world.session("one") as stream:
        assert (await stream.post(ping, **{"content-type": "text/plain"})).status_code == 415
        assert (await stream.post([ping])).status_code == 400
        assert (await stream.post({"id": 1})).status_code == 400
        assert (await stream.post(ping, **{"mcp-protocol-version": MODERN})).status_code == 400
        elsewhere = f"{world.gateway.url}/both/sse{stream.endpoint}"
        assert (await post(elsewhere, json=ping)).status_code == 404
        client = Client(world.http, f"{world.gateway.url}/one/mcp")
        await client.open()
        assert (await post(f"{url}?sessionId={client.session}", json=ping)).status_code == 404
        assert "result" in await client.old("ping")
        client.session = stream.ticket
        assert (await client.send(ping)).status_code == 404


async def test_a_stream_is_its_owners(world: World) -> None:
    assert (await world.http.get(f"{world.gateway.url}/keyed/sse")).status_code == 401
    async with world.session("keyed", authorization="Bearer key-of-ann") as stream:
        assert "result" in await stream.ask("tools/list")
        ping = {"jsonrpc": "2.0", "id": "foreign", "method": "ping"}
        url = urljoin(stream.url, stream.endpoint)
        for authorization, status in (("Bearer key-of-bob", 404), ("Bearer nobody", 401), ("", 401)):
            refused = await world.http.post(url, json=ping, headers={"authorization": authorization})
            assert refused.status_code == status
        unknown = {"jsonrpc": "2.0", "id": "foreign", "method": "tools/call", "params": {}}
        refused = await world.http.post(url, json=unknown, headers={"authorization": "Bearer key-of-bob"})
        assert refused.status_code == 404
        assert "result" in await stream.ask("ping")
        assert "foreign" not in [one.get("id") for one in stream.others]


async def test_a_slow_reader_loses_nothing_and_holds_up_nobody(world: World) -> None:
    big = "x" * 500_000
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.port, limit=2**22)
    writer.write(b"GET /child/sse HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
    await reader.readuntil(b"event: endpoint\n")
    line = (await reader.readline()).decode().strip().removeprefix("data: ")
    url = f"{world.gateway.url}/child/sse{line}"

    async def post(message: Json) -> None:
        assert (await world.http.post(url, json={"jsonrpc": "2.0", **message})).status_code == 202

    given = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": INFO}
    await post({"id": "first", "method": "initialize", "params": given})
    await reader.readuntil(b'"id":"first"')
    for number in range(20):
        await post({"id": f"n{number}n", "method": "echo", "params": {"big": big}})
    async with world.session("child") as stream:
        assert "result" in await stream.ask("me")
    found: set[bytes] = set()
    async with asyncio.timeout(60):
        while len(found) < 20:
            found.update(re.findall(rb'"id":\s*"n(\d+)n"', await reader.readuntil(b"\n")))
    writer.close()


async def test_messages_under_way_are_limited(world: World) -> None:
    async with world.session("child") as stream:
        for number in range(64):
            await stream.send("hold", number)
        refused = await stream.ask("me")
        assert refused["error"] == {"code": -32003, "message": "too many requests under way"}
        assert (await stream.send("notifications/release")).status_code == 429


async def test_no_log_has_a_session_id(world: World) -> None:
    async with world.session("one") as stream:
        await stream.ask("tools/list")
        await stream.ask("no/such")
        ticket = stream.ticket
        await world.http.post(f"{stream.url}?sessionId={ticket}x", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    line = await world.gateway.logged("mcp.method.name=no/such")
    assert "uri=" in line and "http.status=202" in line
    await asyncio.sleep(0.3)
    assert ticket[:24] not in "".join(world.gateway.access) and ticket[:24] not in world.gateway.log


async def test_a_stream_outlasts_a_reload(world: World) -> None:
    """The last one: it changes the configuration."""
    async with world.session("child") as stream:
        process = (await stream.ask("me"))["result"]["pid"]
        routes = [{**route, "policies": {}} for route in world.config["routes"]]
        world.gateway.rewrite(written({**world.config, "routes": routes}))
        await world.gateway.told("configuration reloaded")
        assert (await stream.ask("me"))["result"]["pid"] == process
        routes[0]["backends"][0]["mcp"] |= {"sessionIdle": "20m"}
        world.gateway.rewrite(written({**world.config, "routes": routes}))
        async with asyncio.timeout(20):
            while world.gateway.log.count("configuration reloaded") < 2:
                await asyncio.sleep(0.02)
        assert (await stream.ask("me"))["result"]["pid"] == process
    await gone(process)
