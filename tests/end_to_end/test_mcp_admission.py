"""What may pass an MCP gateway, in which words, and who learns why not: message by message, at servers that would do
whatever they are asked."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from .mcp_eras import Telling
from .mcps import ACCEPT, ENVELOPE, LEGACY, MODERN, Client, Json, Server, messages_in, said, streamed, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
ISSUER, AUDIENCE = "https://login.example.com", "mcp"
REGION = {"type": "string", "x-mcp-header": "Region"}
COUNT = {"type": "number", "x-mcp-header": "Count"}


def send_tool(**parameters: Json) -> Json:
    return {"name": "send", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}, **parameters}}}


@dataclass
class World:
    a: Telling
    b: Server
    token: str
    gateway: Any = None
    clients: dict[str, Client] = field(default_factory=dict)

    def methods(self) -> list[str]:
        """What the servers were asked, but for what belongs to a session or a version."""
        own = ("initialize", "server/discover", "notifications/initialized")
        asked = [one.json() for server in (self.a, self.b) for one in server.upstream.received if one.method == "POST"]
        return [one.get("method", "") for one in asked if one.get("method") not in own]


def key_and_token(folder: Path) -> str:
    """Write a key set; a token that it is good for."""
    key = rsa.generate_private_key(65537, 2048)
    (folder / "keys.json").write_text(
        json.dumps({"keys": [{**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k1"}]})
    )
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 600}
    return jwt.encode(claims, key, "RS256", {"kid": "k1"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("keys")
    a, b = Telling("a"), Server("b", modern=False)
    a.answers = {
        "odd/allowed": {"taskId": "u"},
        "tools/list": {"tools": [tool("echo", "text"), tool("leak", "text"), send_tool(region=REGION, count=COUNT)]},
        "tools/call": lambda params: said(f"a: {params['name']} {json.dumps(params.get('arguments'))}"),
        **{
            method: {"tasks": [], "taskId": "t"} for method in ("tasks/get", "tasks/result", "tasks/list", "odd/method")
        },
    }
    b.answers = {
        "tools/list": {"tools": [tool("echo", "text"), tool("other"), send_tool(region=REGION)]},
        "tools/call": lambda params: said(f"b: {params['name']} {json.dumps(params.get('arguments'))}"),
    }
    world = World(a, b, key_and_token(folder))
    async with AsyncExitStack() as stack:
        for server in (a, b):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)

        def target(server: Server, **more: Any) -> Json:
            return {"name": server.name, "mcp": {"host": f"{server.upstream.url}/mcp"}, **more}

        def edit(**edits: Json) -> Json:
            return {"tools": {"edit": edits}}

        masks = {"promptGuard": {"request": [{"regex": {"rules": [{"builtin": "email"}]}}]}}
        allowed = ['mcp.resource.name == "file:///ok"', 'mcp.tool.name == "echo"', 'mcp.methodName == "odd/allowed"']
        one = {"mcpAuthorization": {"rules": allowed}}
        keys = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"file": str(folder / "keys.json")}}
        routes: dict[str, tuple[Json, Json]] = {
            "one": ({"targets": [target(a)]}, {}),
            "old": ({"targets": [target(b)]}, {}),
            "two": ({"targets": [target(a), target(b)], "toolPinning": "off"}, {}),
            "never": (
                {"targets": [target(a, tools={"exclude": ["echo"]}), target(b)], "prefixMode": "never"},
                {},
            ),
            "burst": ({"targets": [target(a)]}, {}),
            "hanging": ({"targets": [target(a)], "timeout": "1100ms"}, {}),
            "demo": ({"targets": [{"name": "demo", "demo": {}}]}, {}),
            "ruled": ({"targets": [target(a)]}, one),
            "ruled-two": ({"targets": [target(a), target(b)]}, one),
            "hiding": ({"targets": [target(a, resources={"exclude": ["file:///secret"]})]}, {}),
            "named": ({"targets": [target(a, **edit(leak={"name": "echo"}))]}, {}),
            "named-never": (
                {"targets": [target(a), target(b, **edit(other={"name": "echo"}))], "prefixMode": "never"},
                {},
            ),
            "named-two": ({"targets": [target(a, **edit(leak={"name": "a_echo"})), target(b)]}, {}),
            "masked": ({"targets": [target(a)]}, masks),
            "pinned": ({"targets": [target(a, **edit(send={"name": "post", "pin": {"region": "eu"}}))]}, {}),
            "hidden": ({"targets": [target(a, **edit(send={"hide": ["region"]}))]}, {}),
            "closed": ({"targets": [target(a, **edit(leak={"name": "said"})), target(b)]}, {"mcpAuthentication": keys}),
            "signed": ({"targets": [target(a)]}, {"jwtAuth": {**keys, "mode": "strict"}}),
        }
        config: Json = {
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {
                    "matches": [{"path": {"pathPrefix": f"/{name}"}}],
                    "policies": policies,
                    "backends": [{"mcp": backend}],
                }
                for name, (backend, policies) in routes.items()
            ],
        }
        world.gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=world.gateway.url, timeout=20))
        world.clients = {name: Client(http, f"/{name}") for name in routes}
        yield world


@pytest.fixture
def world(running: World) -> World:
    running.a.upstream.received.clear()
    running.b.upstream.received.clear()
    for client in running.clients.values():
        client.session = None
    return running


# --- one request, notification or response ----------------------------------------------------------------------------

NO_REQUESTS: list[Json] = [
    {"method": "tools/call", "params": {"name": "leak", "arguments": {"text": "x"}}},
    {"method": "resources/read", "params": {"uri": "file:///secret"}},
    {"method": "prompts/get", "params": {"name": "p"}},
    {"method": "tasks/result", "params": {"taskId": "t"}},
    {"method": "subscriptions/listen", "params": {"notifications": {}}},
    {"method": "completion/complete", "params": {"ref": {"type": "ref/prompt", "name": "p"}}},
    {"method": "initialize", "params": {"protocolVersion": LEGACY, "capabilities": {}}},
    {"method": "tools/list"},
    {"method": "ping"},
    {"method": "odd/method"},
    {"method": "Notifications/odd"},
    {"method": "notifications"},
    {"id": 1, "method": "notifications/initialized"},
    {"id": 1, "method": "notifications/cancelled", "params": {"requestId": 1}},
]


@pytest.mark.parametrize("path", ["one", "old", "two", "never", "demo", "ruled", "named-never"])
async def test_a_request_has_an_id_and_a_notification_has_none(world: World, path: str) -> None:
    client = world.clients[path]
    await client.open()
    world.a.upstream.received.clear()
    world.b.upstream.received.clear()
    newest = {"mcp-protocol-version": MODERN}
    for message in NO_REQUESTS:
        for version in ({}, {**newest, "mcp-method": message["method"], "mcp-session-id": ""}):
            got = await client.send({"jsonrpc": "2.0", **message}, **version)
            assert (got.status_code, got.json()["error"]["code"]) == (400, -32600), (message, got.text)
            assert got.json()["id"] == message.get("id")
    assert world.a.upstream.received == world.b.upstream.received == []
    assert "Traceback" not in world.gateway.log


async def test_the_same_on_a_stream_of_the_oldest_transport(world: World) -> None:
    http = world.clients["two"].http
    async with streamed(http, f"{world.gateway.url}/two/sse", {}) as stream:
        await stream.open()
        for message in NO_REQUESTS:
            got = await stream.post({"jsonrpc": "2.0", **message})
            code = (
                (await stream.answer(message["id"]))["error"]["code"]
                if got.status_code == 202
                else got.json()["error"]["code"]
            )
            assert code == -32600
    assert world.methods() == []


@pytest.mark.parametrize(
    "message",
    [
        {"method": "notifications/odd", "Method": "tools/call", "params": {"name": "leak"}},
        {"method": "tools/list", "id": 1, "Params": {"name": "leak"}},
        {"method": "tools/call", "id": 1, "params": {"name": "echo", "Name": "leak"}},
        {"method": "tools/call", "id": 1, "params": {"name": "echo", "argument\u017f": {"text": "x"}}},
        {"method": "resources/read", "id": 1, "params": {"uri": "file:///ok", "URI": "file:///secret"}},
        {"method": "completion/complete", "id": 1, "params": {"ref": {"uri": "file:///ok", "Uri": "file:///secret"}}},
        {"method": "subscriptions/listen", "id": 1, "params": {"notifications": {"resourcesubscriptions": ["x:y"]}}},
    ],
)
async def test_a_member_is_not_another_one_for_servers_that_read_loosely(world: World, message: Json) -> None:
    client = world.clients["ruled"]
    await client.open()
    got = await client.send({"jsonrpc": "2.0", **message})
    assert (got.status_code, got.json()["error"]["code"]) == (400, -32600)
    assert world.methods() == []


@pytest.mark.parametrize("given", [None, [], "all", 1])
async def test_capabilities_of_a_client_are_an_object(world: World, given: Any) -> None:
    meta = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": given}
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": meta}}
    version = {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}
    for path in ("one", "old", "demo"):
        got = await world.clients[path].send(message, **version)
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32602)
    assert world.a.upstream.received == []


# --- who is told what -------------------------------------------------------------------------------------------------


def named(method: str, **params: Any) -> tuple[Json, dict[str, str]]:
    """A request of 2026-07-28, and its headers."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": ENVELOPE}}
    own = {"mcp-name": params["name"]} if "name" in params else {}
    return message, {"mcp-protocol-version": MODERN, "mcp-method": method, **own}


PROBES: list[tuple[str, Json | None, dict[str, str]]] = [
    ("POST", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {}),
    ("POST", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {"mcp-session-id": "forged"}),
    ("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"mcp-session-id": "forged"}),
    ("POST", {"jsonrpc": "2.0", "method": "tools/list"}, {}),
    ("GET", None, {"mcp-session-id": "forged"}),
    ("GET", None, {}),
    ("DELETE", None, {"mcp-session-id": "forged"}),
    ("DELETE", None, {"mcp-protocol-version": MODERN}),
    *[("POST", *named("tools/call", name=name)) for name in ("a_echo", "a_leak", "said", "zz_echo")],
    ("POST", *named("resources/read", uri="zz+file:///a")),
]


@pytest.mark.parametrize("path", ["closed", "signed"])
async def test_without_a_token_there_is_nothing_to_be_found_out(world: World, path: str) -> None:
    http = world.clients[path].http
    told = set()
    for method, message, headers in PROBES:
        body = json.dumps(message).encode() if message is not None else b""
        given = {"accept": ACCEPT, "content-type": "application/json", **headers}
        got = await http.request(method, f"/{path}", content=body, headers=given)
        assert got.status_code == 401, (method, message, got.text)
        told.add((got.headers["www-authenticate"], re.sub(r'"id":(1|null)', "", got.text)))
    assert len(told) == 1 and world.methods() == []


async def test_for_the_oldest_transport_too(world: World) -> None:
    for query in ("", "?sessionId=forged"):
        got = await world.clients["closed"].http.post(
            f"/closed/sse{query}", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}
        )
        assert got.status_code == 401 and "www-authenticate" in got.headers


async def test_with_a_token_one_is_told_what_is_wrong(world: World) -> None:
    http, bearer = world.clients["closed"].http, {"authorization": f"Bearer {world.token}"}
    found = []
    for method, message, headers in PROBES:
        body = json.dumps(message).encode() if message is not None else b""
        given = {"accept": ACCEPT, "content-type": "application/json", **bearer, **headers}
        found.append((await http.request(method, "/closed", content=body, headers=given)).status_code)
    assert found == [400, 404, 404, 400, 404, 400, 404, 405, 200, 400, 200, 400, 400]


async def test_two_credentials_are_none(world: World) -> None:
    client = world.clients["closed"]
    message, headers = named("tools/list")
    given = [*headers.items(), ("accept", ACCEPT), ("content-type", "application/json")]
    bearer = ("authorization", f"Bearer {world.token}")
    for second in (("authorization", "Bearer other"), bearer, ("Authorization", "Basic eDp5")):
        got = await client.http.post("/closed", json=message, headers=[*given, bearer, second])
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32600)
    assert (await client.http.post("/closed", json=message, headers=[*given, bearer])).status_code == 200


# --- rules ------------------------------------------------------------------------------------------------------------


async def acknowledged(client: Client, **wanted: Any) -> Json:
    """What a subscription is said to be of."""
    message, headers = named("subscriptions/listen", notifications=wanted)
    given = {**headers, "accept": ACCEPT, "content-type": "application/json"}
    async with client.http.stream("POST", client.path, json=message, headers=given) as got:
        text = ""
        async for piece in got.aiter_text():
            text += piece
            if "acknowledged" in text and text.endswith("\n\n"):
                break
    found: Json = messages_in(text)[0]["params"]["notifications"]
    return found


async def test_who_may_not_read_a_resource_may_not_listen_to_it(world: World) -> None:
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["file:///secret", "file:///ok"], "taskIds": ["t"]}
    told = {"toolsListChanged": True, "resourceSubscriptions": ["file:///ok"]}
    assert await acknowledged(world.clients["ruled"], **wanted) == told
    assert await acknowledged(world.clients["hiding"], **wanted) == {**told, "taskIds": ["t"]}
    assert await acknowledged(world.clients["ruled"], resourceSubscriptions={"file:///secret": True}) == {}
    asked = world.a.asked("subscriptions/listen")
    assert [one.json()["params"]["notifications"] for one in asked] == [told, {**told, "taskIds": ["t"]}, {}]


async def test_also_where_there_are_several_servers(world: World) -> None:
    wanted = {"resourceSubscriptions": ["a+file:///secret", "a+file:///ok", "b+file:///secret"], "taskIds": ["a+t"]}
    assert await acknowledged(world.clients["ruled-two"], **wanted) == {"resourceSubscriptions": ["a+file:///ok"]}
    (asked,) = world.a.asked("subscriptions/listen")
    assert asked.json()["params"]["notifications"] == {"resourceSubscriptions": ["file:///ok"]}


async def test_what_is_no_filter_of_a_subscription_is_none(world: World) -> None:
    got = await world.clients["ruled"].modern("subscriptions/listen", {"notifications": ["file:///secret"]})
    assert (got.status_code, got.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("path", ["ruled", "ruled-two"])
async def test_rules_are_asked_about_tasks_and_about_what_nobody_knows(world: World, path: str) -> None:
    client = world.clients[path]
    await client.open()
    task = "t" if path == "ruled" else "a+t"
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        assert (await client.old(method, taskId=task))["error"] == {"code": -32602, "message": f"Unknown task: {task}"}
    assert (await client.old("odd/method", name="leak"))["error"]["code"] == -32601
    assert (await client.modern("odd/method", {"name": "leak"})).status_code == 404
    assert world.methods() == []
    if path == "ruled":
        assert (await client.old("odd/allowed"))["result"]["taskId"] == "u"
        assert (await client.old("tasks/list"))["result"]["tasks"] == []


async def test_what_is_completed_is_one_thing(world: World) -> None:
    for kind in ("ref/resource", "ref/prompt"):
        params = {"ref": {"type": kind, "uri": "file:///secret", "name": "p"}, "argument": {"name": "a", "value": ""}}
        got = await world.clients["ruled"].modern("completion/complete", params)
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32602)
    assert world.methods() == []


async def test_without_rules_a_server_has_methods_of_its_own(world: World) -> None:
    assert (await world.clients["one"].new("odd/method"))["result"]["taskId"] == "t"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name", "server"),
    [("named", "echo", "a: leak"), ("named-never", "echo", "b: other"), ("named-two", "a_echo", "a: leak")],
)
async def test_a_name_that_the_file_gives_is_one_things(world: World, path: str, name: str, server: str) -> None:
    client = world.clients[path]
    for _ in range(2):
        listed = (await client.new("tools/list"))["result"]["tools"]
        (shown,) = [one for one in listed if one["name"] == name]
        assert shown["description"] == f"Does {server.partition(' ')[2]}."
        called = await client.new("tools/call", name=name, arguments={"text": "x"})
        assert called["result"]["content"][0]["text"].startswith(server)
    taken = f"tool `echo` of a is not there for clients: its name is given to `tools.edit.{server.partition(' ')[2]}`"
    assert world.gateway.log.count(taken) >= 1
    assert (
        len([line for line in world.gateway.log.splitlines() if taken in line]) <= 2
    )  # one for each place of the file


async def test_without_prefixes_a_server_has_no_tool_that_the_file_hides(world: World) -> None:
    client = world.clients["never"]
    assert [one["name"] for one in (await client.new("tools/list"))["result"]["tools"]] == [
        "leak",
        "send",
        "echo",
        "other",
    ]
    called = await client.new("tools/call", name="echo", arguments={"text": "x"})
    assert called["result"]["content"][0]["text"].startswith("b: echo")
    gone = await world.clients["named-never"].new("tools/call", name="other")
    assert gone["error"]["code"] == -32602


# --- arguments in headers ---------------------------------------------------------------------------------------------


def copies(world: World) -> list[str | None]:
    """What servers got as the header of `region`."""
    return [one.headers.get("mcp-param-region") for server in (world.a, world.b) for one in server.asked("tools/call")]


@pytest.mark.parametrize("path", ["one", "old", "masked"])
async def test_a_header_of_an_argument_says_what_the_argument_says(world: World, path: str) -> None:
    client = world.clients[path]
    for region, header in (("eu", "us"), ("eu", ""), (None, "us"), ("a@example.com", "b@example.com")):
        arguments = {"text": "x", **({"region": region} if region else {})}
        got = await client.modern(
            "tools/call", {"name": "send", "arguments": arguments}, **{"mcp-param-region": header}
        )
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32020), (region, header)
    got = await client.modern("tools/call", {"name": "send", "arguments": {"region": "eu"}})
    assert (got.status_code, got.json()["error"]["code"]) == (400, -32020)
    assert copies(world) == []
    right = {"mcp-param-region": "=?base64?ZXU=?="}
    got = await client.modern("tools/call", {"name": "send", "arguments": {"region": "eu"}}, **right)
    assert got.status_code == 200
    assert copies(world) == (["eu"] if path != "old" else [None])


async def test_a_header_is_what_a_guard_has_left_of_the_argument(world: World) -> None:
    arguments = {"region": "ada@example.com"}
    got = await world.clients["masked"].modern(
        "tools/call", {"name": "send", "arguments": arguments}, **{"mcp-param-region": "ada@example.com"}
    )
    assert got.status_code == 200
    (asked,) = world.a.asked("tools/call")
    assert asked.json()["params"]["arguments"] == {"region": "<EMAIL_ADDRESS>"}
    assert copies(world) == ["<EMAIL_ADDRESS>"]


@pytest.mark.parametrize("given", [{}, {"mcp-param-region": "us"}])
async def test_a_pinned_argument_has_its_own_header_and_a_hidden_one_has_none(
    world: World, given: dict[str, str]
) -> None:
    got = await world.clients["pinned"].modern("tools/call", {"name": "post", "arguments": {"text": "x"}}, **given)
    assert got.status_code == 200, got.text
    got = await world.clients["hidden"].modern("tools/call", {"name": "send", "arguments": {"region": "us"}}, **given)
    assert got.status_code == 200, got.text
    assert [one.json()["params"]["arguments"] for one in world.a.asked("tools/call")] == [
        {"text": "x", "region": "eu"},
        {},
    ]
    assert copies(world) == ["eu", None]


async def test_what_nobody_has_listed_yet_is_asked_for_once(world: World) -> None:
    client = world.clients["burst"]
    call = {"name": "send", "arguments": {"region": "eu"}}
    calls = [client.modern("tools/call", call, **{"mcp-param-region": "eu"}) for _ in range(8)]
    assert [got.status_code for got in await asyncio.gather(*calls)] == [200] * 8
    assert copies(world) == ["eu"] * 8 and len(world.a.asked("tools/list")) == 1


async def test_who_waits_for_a_list_that_does_not_come_does_not_ask_again(world: World) -> None:
    client = world.clients["hanging"]
    assert "result" in await client.new("odd/method")  # its version is known
    held: asyncio.Event = asyncio.Event()

    async def silence() -> AsyncIterator[bytes]:
        await held.wait()
        yield b""

    answer = world.a.upstream.answer
    world.a.upstream.answer = lambda request: (
        silence() if request.json().get("method") == "tools/list" else world.a.answer(request)
    )
    call = {"name": "send", "arguments": {"region": "eu"}}
    try:
        calls = [client.modern("tools/call", call, **{"mcp-param-region": "eu"}) for _ in range(4)]
        assert [got.status_code for got in await asyncio.gather(*calls)] == [200] * 4
        assert (await client.modern("tools/call", call, **{"mcp-param-region": "eu"})).status_code == 200
    finally:
        held.set()
        world.a.upstream.answer = answer
    assert len(world.a.asked("tools/list")) == 1


@pytest.mark.parametrize(
    ("count", "same", "others"),
    [
        ("9007199254740993", ["9007199254740993", "9007199254740993.0"], ["9007199254740992", "9007199254740993.5"]),
        ("10", ["10", "1e1", "10.00"], ["1_0", "=?base64?IDEwIA==?=", "010", "0xa", "1e99999999999999999999", "nan"]),
        ("0.1", ["0.1", "1E-1"], [".1", "0.2", "infinity"]),
    ],
)
async def test_a_number_in_a_header_is_that_of_the_argument(
    world: World, count: str, same: list[str], others: list[str]
) -> None:
    message, headers = named("tools/call", name="send", arguments={"count": 0})
    body = json.dumps(message).replace('"count": 0', f'"count": {count}').encode()
    for header in (*same, *others):
        got = await world.clients["one"].send(body, **headers, **{"mcp-param-count": header})
        assert got.status_code == (200 if header in same else 400), (header, got.text)
        assert header in same or got.json()["error"]["code"] == -32020


async def test_a_header_that_no_argument_has_goes_no_further(world: World) -> None:
    for path in ("one", "old"):
        got = await world.clients[path].modern(
            "tools/call",
            {"name": "echo", "arguments": {"text": "x"}},
            **{"mcp-param-region": "us", "mcp-param-text": "y"},
        )
        assert got.status_code == 200
    client = world.clients["one"]
    await client.open()
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "send", "arguments": {"region": "eu"}},
    }
    assert (await client.send(message, **{"mcp-param-region": "us"})).status_code == 200
    assert copies(world) == [None, None, None]


async def test_a_tool_that_has_changed_is_looked_at_again(world: World) -> None:
    client, before = world.clients["two"], world.a.answers["tools/list"]
    call = {"name": "a_send", "arguments": {"text": "x", "region": "eu"}}
    assert (await client.modern("tools/call", call, **{"mcp-param-region": "eu"})).status_code == 200
    world.a.answers["tools/list"] = {"tools": [send_tool(region={"type": "string"})]}
    try:
        async with asyncio.timeout(20):
            while (await client.modern("tools/call", call)).status_code != 200:  # until the server may be asked again
                await asyncio.sleep(0.1)
    finally:
        world.a.answers["tools/list"] = before
    assert copies(world) == ["eu", None]
