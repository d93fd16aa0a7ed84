"""Clients and servers of MCP that have no version in common speak through the gateway: message by message. What real
clients see of it is in test_mcp_clients.py."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing.upstreams import reply

from .mcp_eras import ABLE, QUESTION, STATE, Asking, multi_round
from .mcps import ENVELOPE, LEGACY, MODERN, Client, Json, Server, answer_in, messages_in, said, tool

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"


def program(option: str) -> Json:
    return {"name": "program", "stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT), option]}}


def missing(params: Json) -> Json:
    return {"error": {"code": -32602, "message": "Resource not found", "data": {"uri": params["uri"]}}}


@dataclass
class World:
    """`old` knows sessions only, `new` 2026-07-28 only."""

    old: Asking
    new: Server
    gateway: Any = None
    clients: dict[str, Client] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    old = Asking("old", {"tools/list": {"tools": [tool("ask"), tool("echo")]}}, modern=False)
    old.answers["tools/call"] = lambda params: said(json.dumps(params))
    old.answers["resources/read"] = {"error": {"code": -32002, "message": "Resource not found"}}
    new = Server("new", {"tools/call": multi_round, "resources/read": missing}, legacy=False)
    new.answers["tools/list"] = {
        "resultType": "complete",
        "ttlMs": 5000,
        "cacheScope": "public",
        "tools": [tool("ask"), tool("list", outputSchema={"type": "array"})],
    }
    async with AsyncExitStack() as stack:
        for server in (old, new):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        target = {one.name: {"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in (old, new)}
        keys = {"apiKey": {"keys": [{"key": f"sk-{who}", "metadata": {"user": who}} for who in ("ada", "bob")]}}
        routes: dict[str, tuple[Json, Json]] = {
            "old": ({"targets": [target["old"]]}, keys),
            "new": ({"targets": [target["new"]]}, {}),
            "both": ({"targets": [target["old"], target["new"]]}, {}),
            "bare": ({"targets": [target["new"]], "statefulMode": "stateless"}, {}),
            "program": ({"targets": [program("--refuse")]}, {}),
            "quitter": ({"targets": [program("--sessions")]}, {}),
            "fixed": ({"targets": [{**target["old"], "era": "sessions"}]}, {}),
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
        yield World(old, new, gateway, {name: Client(http, f"/{name}") for name in routes})


@pytest.fixture
def world(running: World) -> World:
    for server in (running.old, running.new):
        server.upstream.received.clear()
        server.upstream.gone.clear()
        server.events, server.hangs = [], False
    running.old.modern = False
    running.old.answered.clear()
    for client in running.clients.values():
        client.session, client.headers = None, {}
    return running


def sk(client: Client, who: str) -> Client:
    return Client(client.http, client.path, {"authorization": f"Bearer sk-{who}"})


async def asking(client: Client, **more: Any) -> Json:
    """What comes of the tool that asks, in 2026-07-28."""
    meta = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": ABLE}
    given = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "ask"}
    params = {"name": "ask", "arguments": {}, **more, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    return answer_in(await client.send(message, **given))


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


# --- clients of 2026-07-28, a server with sessions --------------------------------------------------------------------


async def test_a_server_with_sessions_is_discovered_and_asked_in_one(world: World) -> None:
    client = sk(world.clients["old"], "ada")
    found = (await client.new("server/discover"))["result"]
    assert (found["supportedVersions"], found["ttlMs"], found["cacheScope"]) == ([MODERN], 0, "private")
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "scripted"
    listed = (await client.new("tools/list"))["result"]
    assert (listed["resultType"], listed["ttlMs"], listed["cacheScope"]) == ("complete", 0, "private")
    called = (await client.new("tools/call", name="echo", arguments={"a": 1}))["result"]
    assert json.loads(called["content"][0]["text"]) == {"name": "echo", "arguments": {"a": 1}}
    (opening,) = world.old.asked("initialize")
    assert opening.json()["params"]["protocolVersion"] == LEGACY
    (call,) = world.old.asked("tools/call")
    assert (call.headers["mcp-protocol-version"], "mcp-method" in call.headers) == (LEGACY, False)
    assert [one.headers.get("mcp-protocol-version") for one in world.old.asked("server/discover")] == [MODERN]
    error = await client.modern("resources/read", {"uri": "note://1"})
    assert (error.status_code, error.json()["error"]["code"]) == (400, -32602)


async def test_sessions_are_never_shared_between_principals(world: World) -> None:
    for who in ("ada", "bob", "ada"):
        await sk(world.clients["old"], who).new("tools/call", name="echo", arguments={})
    first, second, third = (call.headers["mcp-session-id"] for call in world.old.asked("tools/call"))
    assert first == third != second


async def test_an_expired_session_of_the_gateways_is_opened_anew(world: World) -> None:
    client = sk(world.clients["old"], "ada")
    await client.new("tools/list")
    world.old.sessions.clear()
    assert "result" in await client.new("tools/list")


async def test_calls_under_way_outlive_a_session_that_the_server_has_lost(world: World) -> None:
    client = sk(world.clients["old"], "ada")
    call = asyncio.create_task(client.new("tools/call", name="ask", arguments={}))
    await until(lambda: any(b'"error"' in one.body for one in world.old.upstream.received))
    world.old.sessions.clear()
    assert "result" in await client.new("tools/list")
    world.old.answered.append({"result": {"content": {"name": "Ada"}}})
    world.old.given.set()
    async with asyncio.timeout(10):
        assert (await call)["result"]["content"] == said("hello Ada")["content"]


async def test_a_method_that_a_server_has_not_ends_no_session(world: World) -> None:
    """Some say so with the status of 2026-07-28, which is that of sessions that are gone."""
    client, session = sk(world.clients["old"], "ada"), sk(world.clients["old"], "bob")
    await session.open()
    world.old.upstream.received.clear()
    assert (await client.new("prompts/get", name="greet"))["error"]["code"] == -32601
    assert (await session.old("prompts/get", name="greet"))["error"]["code"] == -32601
    await client.new("tools/list")
    assert len(world.old.asked("initialize")) <= 1  # ada's, where she had none


@pytest.mark.parametrize("method", ["odd/\u2603", "odd/\r\nx-more: 1", "odd/ "])
async def test_a_method_that_no_header_can_say_is_nobodys(world: World, method: str) -> None:
    client = world.clients["new"]
    await client.open()
    world.new.upstream.received.clear()
    got = await client.send({"jsonrpc": "2.0", "id": 7, "method": method})
    assert (got.status_code, got.json()["id"], got.json()["error"]["code"]) == (200, 7, -32601)
    told = {"jsonrpc": "2.0", "method": f"notifications/{method}"}
    got = await Client(client.http, client.path).send(told, **{"mcp-protocol-version": MODERN})
    assert (got.status_code, got.json()["error"]["code"]) == (400, -32601)
    assert world.new.upstream.received == [] and "Traceback" not in world.gateway.log


async def test_a_question_is_a_result_and_its_answer_goes_on_with_the_same_call(world: World) -> None:
    ada, bob = sk(world.clients["old"], "ada"), sk(world.clients["old"], "bob")
    asked = (await asking(ada))["result"]
    ((key, question),) = asked["inputRequests"].items()
    assert (asked["resultType"], question) == ("input_required", QUESTION)
    answers = {key: {"action": "accept", "content": {"name": "Ada"}}}
    state = {"requestState": asked["requestState"]}
    for client, more in ((bob, state), (ada, {"requestState": "forged"}), (ada, {**state, "arguments": {"a": 1}})):
        assert (await asking(client, inputResponses=answers, **more))["error"]["code"] == -32602
    again = (await asking(ada, inputResponses={}, **state))["result"]
    assert again["inputRequests"] == asked["inputRequests"]
    done = await asking(ada, inputResponses=answers, requestState=again["requestState"])
    assert done["result"]["content"] == said("hello Ada")["content"]
    assert [one["id"] for one in world.old.answered] == ["server-1"]
    assert len([one for one in world.old.asked("tools/call") if one.json()["params"]["name"] == "ask"]) == 1
    assert "error" in await asking(ada, inputResponses=answers, requestState=again["requestState"])


async def test_a_client_that_cannot_be_asked_is_not(world: World) -> None:
    call = asyncio.create_task(sk(world.clients["old"], "ada").new("tools/call", name="ask", arguments={}))
    await until(lambda: any(b'"error"' in one.body for one in world.old.upstream.received))
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: world.old.asked("notifications/cancelled"))
    (cancelled,) = world.old.asked("notifications/cancelled")
    assert cancelled.json()["params"]["requestId"] == world.old.asked("tools/call")[0].json()["id"]


async def test_the_file_says_what_a_server_speaks(world: World) -> None:
    assert "result" in await world.clients["fixed"].new("tools/list")
    assert not world.old.asked("server/discover")


async def test_a_server_that_comes_to_speak_another_version_is_found_out(serve_all: Any) -> None:
    server = Server("turning", {"tools/list": {"tools": [tool("echo")]}})
    server.upstream.answer = server.answer
    async with server.upstream, httpx.AsyncClient(timeout=20) as http:
        target = json.dumps({"name": "turning", "mcp": {"host": f"{server.upstream.url}/mcp"}})
        gateway = await serve_all(f"mcp: {{port: 0, targets: [{target}]}}")
        client = Client(http, f"http://127.0.0.1:{gateway.port}/mcp")
        assert "ttlMs" not in (await client.new("tools/list"))["result"]
        server.modern = False
        assert (await client.new("tools/list"))["result"]["ttlMs"] == 0
        server.modern, server.legacy = True, False
        assert "ttlMs" not in (await client.new("tools/list"))["result"]
        assert (await client.open())["protocolVersion"] == LEGACY
        assert "result" in await client.old("tools/list")
        server.modern, server.legacy = False, True
        assert (await client.old("tools/list"))["error"]["message"] == "Session not found"
        client.session = None
        assert (await client.new("tools/list"))["result"]["ttlMs"] == 0
        await gateway.stop()
        assert not server.sessions  # the gateway has ended its own


# --- clients with sessions, a server of 2026-07-28 --------------------------------------------------------------------


async def opened(client: Client, capabilities: Json) -> Json:
    about = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}}
    got = await client.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about})
    client.session = got.headers["mcp-session-id"]
    result: Json = got.json()["result"]
    return result


async def test_a_session_at_a_server_that_knows_none(world: World) -> None:
    client = world.clients["new"]
    assert (await opened(client, ABLE))["protocolVersion"] == "2025-06-18"
    assert (await client.old("ping"))["result"] == {}
    listed = (await client.old("tools/list"))["result"]
    assert listed == {"tools": [tool("ask"), tool("list")]}
    (asked,) = world.new.asked("tools/list")
    meta = asked.json()["params"]["_meta"]
    assert meta["io.modelcontextprotocol/clientCapabilities"] == ABLE
    assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "t"
    assert (asked.headers["mcp-protocol-version"], asked.headers["mcp-method"]) == (MODERN, "tools/list")
    assert "mcp-session-id" not in asked.headers
    assert (await client.old("resources/read", uri="note://1"))["error"]["code"] == -32002
    await client.old("logging/setLevel", level="error")
    await client.old("tools/list")
    last = world.new.asked("tools/list")[-1].json()["params"]["_meta"]
    assert (meta["io.modelcontextprotocol/logLevel"], last["io.modelcontextprotocol/logLevel"]) == ("info", "error")
    assert (await client.http.delete("/new", headers={"mcp-session-id": client.session})).status_code == 200
    assert "error" in await client.old("ping")


async def test_a_cancellation_of_what_is_no_id_cancels_nothing(world: World) -> None:
    client = world.clients["new"]
    await opened(client, ABLE)
    for wanted in ({"a": 1}, [1], None):
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": wanted}}
        assert (await client.send(told)).status_code == 202


async def test_servers_that_log_are_told_how_much_beside_others(world: World) -> None:
    client = world.clients["both"]
    await client.open()
    assert (await client.old("logging/setLevel", level="error"))["result"] == {}


async def test_what_is_wanted_first_is_asked_on_the_stream_of_its_call(world: World) -> None:
    client = world.clients["new"]
    await opened(client, ABLE)
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "ask", "arguments": {}}}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    headers |= {"mcp-session-id": client.session or "", "mcp-protocol-version": LEGACY}
    async with client.http.stream("POST", "/new", json=call, headers=headers) as stream:
        lines = stream.aiter_lines()
        (question,) = messages_in(await anext(line async for line in lines if line.startswith("data: ")))
        assert {key: question[key] for key in QUESTION} == QUESTION
        answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}
        assert (await client.send(answer)).status_code == 202
        (response,) = messages_in(await anext(line async for line in lines if line.startswith("data: ")))
    assert (response["id"], response["result"]) == (7, said("hello Ada"))
    first, second = (one.json() for one in world.new.asked("tools/call"))
    assert (second["params"]["requestState"], second["id"] == first["id"]) == (STATE, False)


async def test_a_state_alone_is_brought_back_by_the_gateway(world: World) -> None:
    client = world.clients["new"]
    await opened(client, {})
    assert (await client.old("tools/call", name="later", arguments={}))["result"] == said("hello nobody")
    assert (await client.old("tools/call", name="ask", arguments={}))["error"]["code"] == -32021


async def test_a_cancelled_request_is_no_longer_waited_for(world: World) -> None:
    client = world.clients["new"]
    await opened(client, {})
    world.new.hangs = True
    call = asyncio.create_task(
        client.send({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "x"}})
    )
    await until(lambda: world.new.asked("tools/call"))
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    assert (await client.send(cancelled)).status_code == 202
    assert messages_in((await call).text) == []
    async with asyncio.timeout(5):
        await world.new.upstream.gone.wait()


async def test_without_state_a_server_that_knows_no_sessions_gets_none(world: World) -> None:
    client = world.clients["bare"]
    assert (await client.open())["serverInfo"]
    assert client.session is None
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "later", "arguments": {}}}
    got = await client.send(message, **{"mcp-protocol-version": LEGACY})
    assert answer_in(got)["result"] == said("hello nobody")


async def test_a_program_that_knows_no_sessions_is_shared_by_those_that_have_some(world: World) -> None:
    client = world.clients["program"]
    pids = []
    for _ in range(2):
        await client.open()
        pids.append((await client.old("tools/call", name="me", arguments={}))["result"]["content"][0]["text"])
    assert pids[0] == pids[1]


async def test_a_program_that_ends_over_the_question_what_it_speaks_is_started_again(world: World) -> None:
    first = await world.clients["quitter"].new("tools/call", name="me", arguments={})
    second = await world.clients["quitter"].new("tools/call", name="me", arguments={})
    assert first["result"]["content"] == second["result"]["content"]
    assert first["result"]["resultType"] == "complete"


# --- a server of each -------------------------------------------------------------------------------------------------


async def test_servers_of_both_kinds_are_one_to_clients_of_either(world: World) -> None:
    client = world.clients["both"]
    assert (await client.new("server/discover"))["result"]["supportedVersions"] == [MODERN]
    everything = ["old_ask", "old_echo", "new_ask", "new_list"]
    assert [one["name"] for one in (await client.new("tools/list"))["result"]["tools"]] == everything
    assert (await client.new("tools/call", name="old_echo", arguments={}))["result"]["resultType"] == "complete"
    assert (await client.open())["protocolVersion"] == LEGACY
    assert [one["name"] for one in (await client.old("tools/list"))["result"]["tools"]] == everything
    assert "result" in await client.old("tools/call", name="new_list", arguments={})
    assert "result" in await client.old("ping")


async def test_a_server_that_lets_nobody_in_is_neither(serve_all: Any) -> None:
    server = Server("closed")
    server.upstream.answer = reply(401, {}, headers={"www-authenticate": "Bearer"})
    async with server.upstream, httpx.AsyncClient(timeout=20) as http:
        target = json.dumps({"name": "closed", "mcp": {"host": f"{server.upstream.url}/mcp"}})
        gateway = await serve_all(f"mcp: {{port: 0, targets: [{target}]}}")
        client = Client(http, f"http://127.0.0.1:{gateway.port}/mcp")
        got = await client.modern("tools/list", {})
        assert (got.status_code, got.headers["www-authenticate"]) == (401, "Bearer")
        server.upstream.answer = server.answer
        assert "result" in await client.new("server/discover")
