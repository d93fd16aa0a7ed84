"""MCP targets whose sessions live in the process, through a real gateway: a child process, and the legacy transport."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from .mcps import LEGACY, Client, Json, Legacy

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"


@dataclass
class World:
    legacy: Legacy
    gateway: Any
    clients: dict[str, Client] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(serve_all: Any) -> AsyncIterator[World]:
    legacy = Legacy()
    async with legacy.upstream as upstream:
        child = {"name": "child", "stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT)]}}
        old = {
            "name": "old",
            "sse": {"host": f"{upstream.url}/sse"},
            "policies": {"backendAuth": {"key": "of-the-server"}},
        }
        backends = {"child": [child], "old": [old], "both": [child, old]}
        routes = [
            {
                "name": name,
                "matches": [{"path": {"exact": f"/{name}"}}],
                "backends": [{"mcp": {"targets": targets}}],
            }
            for name, targets in backends.items()
        ]
        gateways = {"default": {"port": 0, "address": "127.0.0.1"}}
        config = {"gateways": gateways, "routes": routes}
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as http:
            yield World(legacy, gateway, {name: Client(http, f"/{name}") for name in backends})
        legacy.end()


async def test_each_session_has_a_child_of_its_own(world: World) -> None:
    one, two = world.clients["child"], Client(world.clients["child"].http, "/child")
    assert (await one.open())["pid"] != (await two.open())["pid"]
    pids = [(await client.old("me"))["result"]["pid"] for client in (one, two, one)]
    assert pids[0] == pids[2] != pids[1]
    environment = (await one.old("me"))["result"]["env"]
    assert "PATH" in environment and not [name for name in environment if name.startswith("PYTEST")]


async def test_clients_without_sessions_share_one(world: World) -> None:
    client = world.clients["child"]
    found = await asyncio.gather(*(client.new("me") for _ in range(10)))
    assert len({one["result"]["pid"] for one in found}) == 1 and {one["id"] for one in found} == {7}


@pytest.mark.parametrize("era", ["old", "new"])
async def test_a_trace_goes_on_in_a_program_that_has_no_headers(world: World, era: str) -> None:
    client = Client(world.clients["child"].http, "/child", {"traceparent": TRACE, "baggage": "k=v"})
    if era == "old":
        await client.open()
    echoed = (await getattr(client, era)("echo", text="hi"))["result"]
    assert (echoed["text"], echoed["_meta"]["traceparent"], echoed["_meta"]["baggage"]) == ("hi", TRACE, "k=v")


async def test_a_client_does_not_notice_that_its_child_has_crashed(world: World) -> None:
    client = world.clients["child"]
    first = (await client.open())["pid"]
    crashed = await client.old("crash")
    assert crashed["error"]["message"] == "the server ended with exit code 9"
    assert (await client.old("me"))["result"]["pid"] != first


async def test_a_client_that_leaves_cancels_its_call(world: World) -> None:
    client = world.clients["child"]
    await client.open()
    held = {"jsonrpc": "2.0", "id": "held", "method": "hold", "params": {"tell": {"method": "notifications/message"}}}
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-session-id": client.session or "",
        "mcp-protocol-version": LEGACY,
    }
    async with client.http.stream("POST", client.path, json=held, headers=headers) as streamed:
        async for line in streamed.aiter_lines():
            if line.startswith("data:"):
                break
    seen: list[Json] = []
    async with asyncio.timeout(10):
        while not seen:
            seen = (await client.old("seen"))["result"]
    assert (seen[0]["method"], seen[0]["params"]["requestId"]) == ("notifications/cancelled", "held")


async def test_the_legacy_transport_answers_by_its_stream(world: World) -> None:
    client = world.clients["old"]
    await client.open()
    called = await client.old("tools/call", name="say", arguments={})
    assert called["result"]["content"][0]["text"] == f"stream {len(world.legacy.streams) - 1}"
    received = world.legacy.upstream.received
    assert {one.method for one in received} == {"GET", "POST"}
    assert {one.headers["authorization"] for one in received} == {"Bearer of-the-server"}


async def test_a_stream_that_ends_is_opened_anew(world: World) -> None:
    client = world.clients["old"]
    await client.open()
    count = len(world.legacy.streams)
    world.legacy.streams[-1].put_nowait(None)
    await asyncio.sleep(0.1)
    called = await client.old("tools/call", name="say", arguments={})
    assert called["result"]["content"][0]["text"] == f"stream {count}"


async def test_both_behind_one_endpoint(world: World) -> None:
    client = world.clients["both"]
    await client.open()
    listed = await client.old("tools/list")
    assert [one["name"] for one in listed["result"]["tools"]] == ["child_me", "old_say"]
    pid = (await client.old("tools/call", name="child_me", arguments={}))["result"]["content"][0]["text"]
    assert pid.isdigit()
    assert (await client.old("tools/call", name="old_say", arguments={}))["result"]["content"][0]["text"].startswith(
        "stream"
    )


async def test_children_end_with_the_gateway(world: World) -> None:
    """The last one: it ends the gateway."""
    client = world.clients["child"]
    pid = (await client.open())["pid"]
    os.kill(world.gateway.process.pid, signal.SIGTERM)
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.02)
