"""MCP through a real gateway, message by message: three servers behind one endpoint, in both eras."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing.upstreams import reply

from .mcps import ACCEPT, LEGACY, MODERN, Client, Json, Server, messages_in, said, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
CANARY = "sk-canary-of-a-client"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def paged(params: Json) -> Json:
    if params.get("cursor") == "second":
        return {"tools": [tool("later")]}
    return {"tools": [tool("echo", "text"), tool("secret")], "nextCursor": "second"}


@dataclass
class World:
    """Servers a, b and c, and the gateway's URLs by what it does."""

    a: Server
    b: Server
    c: Server
    gateway: Any = None
    clients: dict[str, Client] = field(default_factory=dict)

    def fresh(self) -> None:
        for server in (self.a, self.b, self.c):
            server.upstream.received.clear()
            server.upstream.gone.clear()
            server.events, server.size, server.hangs, server.status = [], 4096, False, 200
        for client in self.clients.values():
            client.session = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    a = Server("a", {"tools/list": paged, "tools/call": lambda params: said(f"a: {json.dumps(params['arguments'])}")})
    a.answers["resources/list"] = {"resources": [{"uri": "note://1", "name": "one"}]}
    a.answers["resources/read"] = lambda params: {"contents": [{"uri": params["uri"], "text": "a note"}]}
    b = Server("b", {"tools/list": {"tools": [tool("echo", "text"), tool("write", "path", "root")]}})
    b.answers["tools/call"] = lambda params: said(f"b: {params['name']} {json.dumps(params['arguments'])}")
    c = Server("c", {"tools/list": {"tools": [tool("slow")]}, "tools/call": said("c")}, modern=False)
    world = World(a, b, c)
    async with AsyncExitStack() as stack:
        for server in (a, b, c):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        target = {one.name: {"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in (a, b, c)}
        edited = {
            **target["b"],
            "tools": {
                "exclude": ["echo"],
                "edit": {"write": {"name": "save", "description": "Saves.", "pin": {"root": "/p"}}},
            },
        }
        dead = {"name": "dead", "mcp": {"host": "http://127.0.0.1:9/mcp"}}
        masks = {"regex": {"rules": [{"builtin": "email"}, {"builtin": "creditCard"}]}}
        refuses = {"regex": {"action": "reject", "rules": [{"pattern": "forbidden"}]}}
        keys = [{"key": "sk-ada", "metadata": {"user": "ada"}}, {"key": "sk-bob", "metadata": {"user": "bob"}}]
        routes: dict[str, tuple[Json, Json]] = {
            "one": ({"targets": [target["a"]]}, {}),
            "three": ({"targets": [target["a"], target["b"], target["c"]]}, {}),
            "two": ({"targets": [target["a"], target["b"]]}, {}),
            "edited": ({"targets": [edited]}, {}),
            "never": ({"targets": [target["a"], target["b"]], "prefixMode": "never"}, {}),
            "open": ({"targets": [dead, target["b"]], "failureMode": "failOpen"}, {}),
            "closed": ({"targets": [dead, target["b"]]}, {}),
            "ruled": (
                {"targets": [target["a"], target["b"]]},
                {
                    "mcpAuthorization": {
                        "rules": ['mcp.tool.name == "echo"', {"deny": 'mcp.tool.arguments.text == "no"'}]
                    }
                },
            ),
            "ruled-one": (
                {"targets": [target["a"]]},
                {"mcpAuthorization": {"rules": ['mcp.tool.name == "echo"', 'mcp.resource.name == "note://1"']}},
            ),
            "completed": (
                {"targets": [target["a"], target["b"]]},
                {"mcpAuthorization": {"rules": ['mcp.prompt.name == "greet"']}},
            ),
            "guarded": (
                {"targets": [target["a"]]},
                {"promptGuard": {"request": [masks, refuses], "response": [masks, refuses]}},
            ),
            "keyed": ({"targets": [target["a"]]}, {"apiKey": {"keys": keys, "mode": "strict"}}),
            "bare": ({"targets": [target["a"]], "statefulMode": "stateless"}, {}),
        }
        config: Json = {
            "config": {"adminAddr": "off", "statsAddr": "127.0.0.1:0", "readinessAddr": "off"},
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {
                    "name": name,
                    "matches": [{"path": {"exact": f"/{name}"}}],
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
    running.fresh()
    return running


def names(response: Json, key: str = "tools", named: str = "name") -> list[str]:
    return [one[named] for one in response["result"][key]]


async def test_a_session_through_one_server_is_that_servers(world: World) -> None:
    client = world.clients["one"]
    assert (await client.open())["serverInfo"]["name"] == "scripted"
    assert client.session is not None and client.session != f"a-{world.a.opened}"
    assert names(await client.old("tools/list")) == ["echo", "secret"]
    called = await client.old("tools/call", name="echo", arguments={"text": "hi"})
    assert called["result"]["content"][0]["text"] == 'a: {"text": "hi"}'
    assert world.a.asked("tools/call")[0].headers["mcp-session-id"] == f"a-{world.a.opened}"
    ended = await client.http.delete(client.path, headers={"mcp-session-id": client.session})
    assert ended.status_code == 200
    assert (await client.send({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 404


async def test_one_server_passes_to_the_byte(world: World) -> None:
    world.a.events = [{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}]
    got = await world.clients["one"].modern("tools/call", {"name": "echo", "arguments": {"text": "hi"}})
    assert got.text.startswith('event: message\ndata: {"jsonrpc": "2.0", "method": "notifications/message", "params"')


async def test_a_trace_goes_on_in_the_message_as_in_the_header(world: World) -> None:
    client = world.clients["two"]
    params = {"name": "b_echo", "arguments": {"text": "hi"}}
    await client.modern("tools/call", params, traceparent=TRACE, tracestate="a=1")
    await client.modern("tools/call", params)
    traced, plain = world.b.asked("tools/call")
    meta = traced.json()["params"]["_meta"]
    assert (meta["traceparent"], meta["tracestate"], traced.headers["traceparent"]) == (TRACE, "a=1", TRACE)
    assert "traceparent" not in plain.json()["params"]["_meta"]


@pytest.mark.parametrize("era", ["old", "new"])
async def test_names_are_told_apart_by_their_target(world: World, era: str) -> None:
    client = world.clients["two"]
    if era == "old":
        merged = await client.open()
        assert merged["serverInfo"]["name"] == "agentgateway"
        assert merged["capabilities"] == {"tools": {"listChanged": True}}
    ask = getattr(client, era)
    first = await ask("tools/list")
    assert names(first) == ["a_echo", "a_secret", "b_echo", "b_write"]
    second = await ask("tools/list", cursor=first["result"]["nextCursor"])
    assert names(second) == ["a_later"] and "nextCursor" not in second["result"]
    called = await ask("tools/call", name="b_echo", arguments={"text": "hi"})
    assert called["result"]["content"][0]["text"] == 'b: echo {"text": "hi"}'
    (received,) = world.b.asked("tools/call")
    assert received.json()["params"]["name"] == "echo"
    if era == "new":
        assert received.headers["mcp-name"] == "echo"
        assert first["result"]["resultType"] == "complete" and first["result"]["cacheScope"] == "private"
    assert world.a.asked("tools/call") == []


async def test_a_list_is_what_servers_have_now_however_often_it_is_asked_for(world: World) -> None:
    client = world.clients["two"]
    try:
        for uris in (["x://1"], ["x://1"], ["x://1", "x://2"], ["x://1"], []):
            world.b.answers["resources/list"] = {"resources": [{"uri": uri, "name": "r"} for uri in uris]}
            for _ in range(2):
                listed = await client.new("resources/list")
                assert names(listed, "resources", "uri") == ["a+note://1", *(f"b+{uri}" for uri in uris)]
    finally:
        del world.b.answers["resources/list"]


async def test_resources_carry_their_target(world: World) -> None:
    client = world.clients["two"]
    listed = await client.new("resources/list")
    assert names(listed, "resources", "uri") == ["a+note://1"]
    read = await client.new("resources/read", uri="a+note://1")
    assert read["result"]["contents"][0]["uri"] == "a+note://1"
    assert world.a.asked("resources/read")[0].json()["params"]["uri"] == "note://1"


async def test_servers_of_two_eras_are_one_to_clients_of_either(world: World) -> None:
    client = world.clients["three"]
    assert (await client.new("server/discover"))["result"]["supportedVersions"] == [MODERN]
    assert "c_slow" in names(await client.new("tools/list"))
    assert (await client.new("tools/call", name="c_slow"))["result"]["content"] == said("c")["content"]
    assert (await client.open())["protocolVersion"] == LEGACY
    assert "c_slow" in names(await client.old("tools/list"))


async def test_servers_that_speak_the_newer_era_are_discovered_as_one(world: World) -> None:
    found = (await world.clients["two"].new("server/discover"))["result"]
    assert found["supportedVersions"] == [MODERN]
    assert (found["ttlMs"], found["cacheScope"]) == (1000, "public")


async def test_tools_are_seen_as_the_file_says(world: World) -> None:
    client = world.clients["edited"]
    (only,) = (await client.new("tools/list"))["result"]["tools"]
    assert (only["name"], only["description"], list(only["inputSchema"]["properties"])) == ("save", "Saves.", ["path"])
    called = await client.new("tools/call", name="save", arguments={"path": "x", "root": "/etc"})
    assert called["result"]["content"][0]["text"] == 'b: write {"path": "x", "root": "/p"}'
    for hidden in ("write", "echo"):
        assert "Unknown tool" in (await client.new("tools/call", name=hidden, arguments={}))["error"]["message"]


async def test_without_prefixes_the_first_target_owns_a_name(world: World) -> None:
    client = world.clients["never"]
    assert names(await client.new("tools/list")) == ["echo", "secret", "write"]
    for name, owner in (("echo", "a: "), ("write", "b: "), ("later", "a: ")):
        called = await client.new("tools/call", name=name, arguments={})
        assert called["result"]["content"][0]["text"].startswith(owner)


async def test_without_prefixes_servers_may_have_no_such_list(world: World) -> None:
    world.b.answers |= {"prompts/list": {"prompts": [{"name": "greet"}]}, "prompts/get": {"messages": []}}
    try:
        assert (await world.clients["never"].new("prompts/get", name="greet"))["result"] == {"messages": []}
        got = await world.clients["never"].modern("prompts/get", {"name": "other"})
        assert got.json()["error"] == {"code": -32602, "message": "Unknown prompt: other"}
    finally:
        for method in ("prompts/list", "prompts/get"):
            del world.b.answers[method]


async def test_a_dead_server_fails_all_or_is_left_out(world: World) -> None:
    assert names(await world.clients["open"].new("tools/list")) == ["b_echo", "b_write"]
    got = await world.clients["closed"].modern("tools/list", {})
    assert (got.status_code, got.json()["error"]["code"]) == (503, -32603)


async def test_what_rules_refuse_does_not_exist(world: World) -> None:
    client = world.clients["ruled"]
    assert names(await client.new("tools/list")) == ["a_echo", "b_echo"]
    for name, arguments in (("a_secret", {}), ("a_nowhere", {}), ("b_echo", {"text": "no"})):
        got = await client.modern("tools/call", {"name": name, "arguments": arguments})
        assert (got.status_code, got.json()["error"]) == (400, {"code": -32602, "message": f"Unknown tool: {name}"})
    assert names(await client.new("resources/list"), "resources", "uri") == []
    called = await client.new("tools/call", name="a_echo", arguments={"text": "yes"})
    assert "result" in called


async def test_nobody_keeps_for_others_what_rules_let_pass(world: World) -> None:
    """What a server lets everybody keep is for those whom the rules let have it."""
    kept = {"resultType": "complete", "ttlMs": 1000, "cacheScope": "public"}
    read, listed = world.a.answers["resources/read"], world.b.answers["tools/list"]
    world.a.answers["resources/read"] = {**kept, "contents": []}
    world.a.answers["tools/list"] = {**kept, "tools": [tool("echo", "text")]}
    world.b.answers["tools/list"] = {**kept, **listed}
    try:
        for path, scope in (("ruled", "private"), ("two", "public"), ("ruled-one", "private"), ("one", "public")):
            assert (await world.clients[path].new("tools/list"))["result"]["cacheScope"] == scope
        for path, scope in (("ruled-one", "private"), ("one", "public")):
            assert (await world.clients[path].new("resources/read", uri="note://1"))["result"]["cacheScope"] == scope
    finally:
        world.a.answers |= {"resources/read": read, "tools/list": paged}
        world.b.answers["tools/list"] = listed


async def test_completions_are_of_what_rules_let_pass(world: World) -> None:
    world.a.answers["completion/complete"] = {"completion": {"values": ["Oslo"]}}
    for path, name, code in (
        ("completed", "a_greet", None),
        ("completed", "a_other", -32602),
        ("completed", "x", -32602),
    ):
        reference = {"type": "ref/prompt", "name": name}
        got = await world.clients[path].new(
            "completion/complete", ref=reference, argument={"name": "city", "value": "O"}
        )
        assert got.get("error", {}).get("code") == code
    assert world.a.asked("completion/complete")[0].json()["params"]["ref"]["name"] == "greet"


@pytest.mark.parametrize("key", ["inputResponses", "arguments"])
async def test_guards_see_what_users_answer(world: World, key: str) -> None:
    params = {"name": "echo", "arguments": {}, key: {"one": {"action": "accept", "content": {"text": "forbidden"}}}}
    refused = await world.clients["guarded"].modern("tools/call", params)
    assert refused.json()["error"]["code"] == -32001
    assert world.a.asked("tools/call") == []


@pytest.mark.parametrize("size", [0, 1, 4096])
async def test_guards_see_arguments_and_results_also_in_streams(world: World, size: int) -> None:
    """Size 0 is an answer that comes whole."""
    if size:
        params = {"level": "info", "data": "mail ada@example.com"}
        world.a.events = [{"jsonrpc": "2.0", "method": "notifications/message", "params": params}]
        world.a.size = size
    world.a.answers["tools/call"] = lambda params: said(f"{params['arguments']['text']} bob@example.com")
    client = world.clients["guarded"]
    got = await client.modern("tools/call", {"name": "echo", "arguments": {"text": "to eve@example.com"}})
    assert "@example.com" not in got.text and "@example.com" not in world.a.asked("tools/call")[0].body.decode()
    last = messages_in(got.text)[-1] if size else got.json()
    assert last["result"]["content"][0]["text"] == "to <EMAIL_ADDRESS> <EMAIL_ADDRESS>"
    refused = await client.modern("tools/call", {"name": "echo", "arguments": {"text": "forbidden"}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (200, -32001)
    assert len(world.a.asked("tools/call")) == 1
    world.a.answers["tools/call"] = said("forbidden")
    refused = await client.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    last = messages_in(refused.text)[-1] if size else refused.json()
    assert last["error"]["code"] == -32001 and last["id"] == 7 and "forbidden" not in refused.text
    world.a.answers["tools/call"] = lambda params: said(f"a: {json.dumps(params['arguments'])}")


MAIL = "ada@example.com"
WORDS = ("foo", "name", "data", "type", "uri", "format", "role", "method", "mimeType", "blob", "$ref", "uriTemplate")
SCHEMA = {"type": "object", "properties": {"type": {"type": "string", "title": MAIL}, "name": {"default": MAIL}}}
RESULTS: dict[str, Json] = {
    **{f"structured {word}": {"content": [], "structuredContent": {word: MAIL}} for word in WORDS},
    "structured, below": {"content": [], "structuredContent": {"user": [{"name": [MAIL]}]}},
    "structured, a key": {"content": [], "structuredContent": {MAIL: {MAIL: 1}}},
    "meta": {"content": [], "_meta": {"name": MAIL, "of": {"uri": MAIL}}},
    "an unknown member": {"content": [], "name": MAIL, "data": {"type": MAIL}},
    "an unknown member of a text": {"content": [{"type": "text", "text": "x", "data": MAIL}]},
    "an unknown block": {"content": [{"type": "novel", "data": MAIL, "name": MAIL}]},
    "a block that is none": {"content": [MAIL]},
    "an object for a word": {"content": [{"type": {"name": MAIL}, "name": {"type": MAIL}}]},
    "a list for a word": {"content": [{"type": [MAIL], "name": [MAIL]}], "nextCursor": [MAIL]},
    "a resource": {"content": [{"type": "resource", "resource": {"uri": "a:b", "text": MAIL, "name": MAIL}}]},
    "a result of a tool": {"content": [{"type": "tool_use", "id": "1", "name": "t", "input": {"name": MAIL}}]},
    "a status": {"taskId": "t", "status": "working", "statusMessage": MAIL, "name": MAIL},
    "a task's result": {"taskId": "t", "status": "completed", "result": {"structuredContent": {"name": MAIL}}},
    "a schema": {"tools": [{"name": "t", "description": MAIL, "inputSchema": SCHEMA}]},
    "a question": {
        "inputRequests": {"q": {"method": "elicitation/create", "params": {"message": MAIL, "requestedSchema": SCHEMA}}}
    },
}
ERRORS: dict[str, Json] = {
    "a text": {"code": -32000, "message": MAIL},
    "data": {"code": -32000, "message": "m", "data": MAIL},
    "data's name": {"code": -32000, "message": "m", "data": {"name": MAIL, "of": [{"uri": MAIL}]}},
}
TOLD: dict[str, tuple[str, Json]] = {
    "a log's data": ("notifications/message", {"level": "info", "data": {"name": MAIL}}),
    "a logger": ("notifications/message", {"level": "info", "logger": MAIL, "data": "x"}),
    "progress": ("notifications/progress", {"progressToken": 1, "progress": 1, "message": MAIL}),
    "a status": ("notifications/tasks/status", {"taskId": "x", "status": "working", "statusMessage": MAIL}),
    "an unknown one": ("notifications/novel", {"name": MAIL, "of": {"data": MAIL}}),
    "a tool of a model": (
        "sampling/createMessage",
        {"messages": [], "maxTokens": 1, "tools": [{"name": "t", "description": MAIL, "inputSchema": SCHEMA}]},
    ),
    "what a model said": (
        "sampling/createMessage",
        {"messages": [{"role": "user", "content": {"type": "text", "text": MAIL, "data": MAIL}}], "maxTokens": 1},
    ),
    "an address": ("elicitation/create", {"mode": "url", "message": "m", "elicitationId": "1", "url": f"x:{MAIL}"}),
}


async def called(world: World) -> httpx.Response:
    return await world.clients["guarded"].modern("tools/call", {"name": "echo", "arguments": {"text": "hi"}})


@pytest.mark.parametrize("status", [200, 400])
async def test_guards_see_every_text_wherever_it_stands(world: World, status: int) -> None:
    """Also where the server says by its status that something failed."""
    world.a.status = status
    answers = [{"resultType": "complete", **one} for one in RESULTS.values()]
    answers += [{"error": one} for one in ERRORS.values()]
    for one in answers:
        world.a.answers["tools/call"] = one
        got = await called(world)
        assert got.status_code == status and MAIL not in got.text and "<EMAIL_ADDRESS>" in got.text, (one, got.text)
    world.a.answers["tools/call"] = {"structuredContent": {"card": 4111111111111111, "of": [4111111111111111, 7]}}
    masked = (await called(world)).json()["result"]["structuredContent"]
    assert masked == {"card": "<CREDIT_CARD>", "of": ["<CREDIT_CARD>", 7]}
    world.a.answers["tools/call"] = {"error": {"code": 1, "message": "m", "data": {"name": "forbidden"}}}
    got = await called(world)
    assert (got.status_code, got.json()["error"]["code"]) == (200, -32001) and "forbidden" not in got.text


async def test_guards_see_pages_of_failures(world: World) -> None:
    page = reply(403, f"<p>ask {MAIL}</p>".encode(), headers={"content-type": "text/html"})
    world.a.upstream.answer = lambda request: page
    try:
        got = await called(world)
    finally:
        world.a.upstream.answer = world.a.answer
    assert (got.status_code, got.text) == (403, "<p>ask <EMAIL_ADDRESS></p>")


async def test_guards_see_every_text_of_a_stream(world: World) -> None:
    for method, params in TOLD.values():
        world.a.answers["tools/call"] = {"error": {"code": 1, "message": "m", "data": {"name": MAIL}}}
        world.a.events = [{"jsonrpc": "2.0", "method": method, "params": params}]
        got = await called(world)
        first, last = messages_in(got.text)
        assert MAIL not in got.text, got.text
        assert first["method"] == method and "<EMAIL_ADDRESS>" in json.dumps(first)
        assert last["error"]["data"] == {"name": "<EMAIL_ADDRESS>"}


async def test_the_protocols_own_words_are_no_texts(world: World) -> None:
    """A name or an address that is another one leads nowhere."""
    link = {"type": "resource_link", "uri": f"x:{MAIL}", "name": MAIL}
    content = [link, {"type": "image", "data": MAIL, "mimeType": MAIL}]
    world.a.answers["tools/call"] = {"content": content, "_meta": {"io.modelcontextprotocol/subscriptionId": MAIL}}
    assert (await called(world)).json()["result"]["content"] == content
    schema = {"type": "object", "properties": {"email": {"type": "string", "format": "email"}}, "required": ["email"]}
    world.a.answers["tools/call"] = {"tools": [{"name": MAIL, "inputSchema": schema}]}
    assert (await called(world)).json()["result"] == world.a.answers["tools/call"]
    question = {"method": "elicitation/create", "params": {"message": "m", "requestedSchema": schema}}
    world.a.answers["tools/call"] = {"inputRequests": {MAIL: question}, "requestState": MAIL}
    assert (await called(world)).json()["result"] == world.a.answers["tools/call"]


async def test_guards_see_every_text_of_a_client(world: World) -> None:
    world.a.answers["tools/call"] = said("done")
    client = world.clients["guarded"]
    for word in (*WORDS, MAIL):
        await client.modern("tools/call", {"name": "echo", "arguments": {"text": "x", word: {word: [MAIL]}}})
    await client.modern("tools/call", {"name": "echo", "arguments": {}, "novel": {"name": MAIL}})
    given = {"q": {"action": "accept", "content": {"name": MAIL, "type": MAIL}}}
    await client.modern("tools/call", {"name": "echo", "arguments": {}, "inputResponses": given})
    bodies = [one.body.decode() for one in world.a.asked("tools/call")]
    assert len(bodies) == len(WORDS) + 3
    assert not [one for one in bodies if MAIL in one or "<EMAIL_ADDRESS>" not in one]


async def test_a_session_is_its_owners(world: World) -> None:
    client = world.clients["keyed"]
    client.headers = {"authorization": "Bearer sk-ada"}
    await client.open()
    assert "result" in await client.old("ping")
    client.headers = {"authorization": "Bearer sk-bob"}
    assert (await client.send({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 404
    client.headers = {}
    assert (await client.send({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 401


async def test_a_servers_expired_session_is_opened_anew(world: World) -> None:
    client = world.clients["two"]
    await client.open()
    world.b.sessions.clear()
    before = world.b.opened
    for _ in range(2):
        assert "result" in await client.old("tools/call", name="b_echo", arguments={})
    assert world.b.opened == before + 1


async def test_without_state_each_message_has_a_session_of_its_own(world: World) -> None:
    client = world.clients["bare"]
    before = len(world.a.sessions)
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {}}
    got = await client.send(message, **{"mcp-protocol-version": LEGACY})
    assert got.json()["result"]["tools"] and len(world.a.sessions) == before


@pytest.mark.parametrize("stream", [False, True])
async def test_a_clients_token_stays_here(world: World, stream: bool) -> None:
    client = world.clients["one"]
    client.headers = {"authorization": f"Bearer {CANARY}", "cookie": f"s={CANARY}"}
    if stream:
        world.a.events = [{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}}]
    await client.new("tools/call", name="echo", arguments={"text": "x"})
    client.headers = {}
    assert CANARY not in str(world.a.upstream.received)
    assert CANARY not in world.gateway.log + "".join(world.gateway.access)


async def test_a_client_that_leaves_ends_its_call_at_the_server(world: World) -> None:
    world.a.hangs = True
    client = world.clients["two"]
    call = asyncio.create_task(client.modern("tools/call", {"name": "a_echo", "arguments": {}}))
    async with asyncio.timeout(5):
        while not world.a.asked("tools/call"):
            await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(5):
        await world.a.upstream.gone.wait()


def shown(value: object) -> str:
    return str(value)[:40]


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
FINE = {"mcp-protocol-version": LEGACY}


@pytest.mark.parametrize(
    ("message", "headers", "status", "code"),
    [
        (b"", {}, 400, -32700),
        (b"{", {}, 400, -32700),
        (b"[]", {}, 400, -32600),
        (json.dumps([PING]).encode(), {}, 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', {}, 400, -32600),
        (b"[" * 500, {}, 400, -32600),
        (b'{"a":' * 500, {}, 400, -32700),
        ({"id": 1, "method": "ping"}, {}, 400, -32600),
        ({**PING, "id": None}, {}, 400, -32600),
        ({**PING, "id": True}, {}, 400, -32600),
        ({**PING, "params": []}, {}, 400, -32600),
        ({"jsonrpc": "2.0", "id": 1}, {}, 400, -32600),
        (PING, {"content-type": "text/plain"}, 415, -32600),
        (PING, {"accept": "application/json"}, 406, -32600),
        (PING, {"content-encoding": "gzip"}, 415, -32600),
        (PING, {}, 400, -32600),
        (PING, {"mcp-session-id": "forged", **FINE}, 404, -32600),
        (PING, {"mcp-session-id": "A" * 20_000, **FINE}, 404, -32600),
        (PING, {"mcp-protocol-version": MODERN, "mcp-method": "ping"}, 404, -32601),
        ({**PING, "method": "tools/list"}, {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}, 400, -32602),
    ],
    ids=shown,
)
async def test_bad_messages_are_refused(
    world: World, message: Any, headers: dict[str, str], status: int, code: int
) -> None:
    for name in ("one", "two"):
        got = await world.clients[name].send(message, **headers)
        assert (got.status_code, got.json()["error"]["code"]) == (status, code), got.text
        assert got.json()["jsonrpc"] == "2.0"


async def test_one_session_is_named_by_one_header(world: World) -> None:
    client = world.clients["one"]
    await client.open()
    twice = [("mcp-session-id", str(client.session)), ("mcp-session-id", str(client.session))]
    got = await client.http.post(client.path, json=PING, headers=[*twice, ("accept", ACCEPT), *FINE.items()])
    assert (got.status_code, got.json()["error"]["code"]) == (400, -32600)


async def test_headers_must_say_what_the_body_says(world: World) -> None:
    client, params = world.clients["two"], {"name": "a_echo", "arguments": {}}
    for header, value in (("mcp-method", "tools/list"), ("mcp-name", "a_secret"), ("mcp-name", "=?base64?%%?=")):
        got = await client.modern("tools/call", params, **{header: value})
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32020)
    wrapped = await client.modern("tools/call", params, **{"mcp-name": "=?base64?YV9lY2hv?="})
    assert wrapped.status_code == 200
    assert world.a.asked("tools/list") == []


async def test_other_versions_are_told_what_is_spoken(world: World) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2030-01-01", "io.modelcontextprotocol/clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": meta}}
    headers = {"mcp-protocol-version": "2030-01-01", "mcp-method": "tools/list"}
    got = await world.clients["two"].send(message, **headers)
    assert got.status_code == 400
    assert got.json()["error"]["data"] == {"supported": [MODERN], "requested": "2030-01-01"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example.com"}, 403),
        ({"host": "localhost"}, 200),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:5173"}, 200),
    ],
    ids=shown,
)
async def test_pages_do_not_reach_local_servers(world: World, headers: dict[str, str], status: int) -> None:
    got = await world.clients["one"].modern("tools/list", {}, **headers)
    assert got.status_code == status


async def test_the_log_and_the_metrics_say_what_was_called(world: World) -> None:
    await world.clients["two"].new("tools/call", name="b_write", arguments={})
    line = await world.gateway.logged("gen_ai.tool.name=write")
    assert "mcp.method.name=tools/call mcp.target=b mcp.resource.type=tool" in line and "protocol=mcp" in line
    server = world.b
    server.answers["tools/call"], answer = {"error": {"code": -32000, "message": "no"}}, server.answers["tools/call"]
    await world.clients["two"].new("tools/call", name="b_write", arguments={})
    server.answers["tools/call"] = answer
    counted, _ = await series(world)
    assert counted['method="tools/call",resource_type="tool",server="b",resource="write"'] >= 2


async def series(world: World) -> tuple[dict[str, int], str]:
    """The counts of messages, and all that there is."""
    async with httpx.AsyncClient() as http:
        told = (await http.get(f"{world.gateway.urls['stats']}/metrics")).text
    return {labels: int(count) for labels, count in re.findall(r"mcp_requests_total\{(.*)\} (\d+)", told)}, told


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("outcome", ["answers", "says so in the result", "refuses"])
async def test_what_clients_make_up_is_no_series(world: World, outcome: str, streamed: bool) -> None:
    error = {"error": {"code": -32602, "message": "Unknown tool"}}
    result = {"answers": said("yes"), "says so in the result": {**said("no"), "isError": True}, "refuses": error}
    answers = world.a.answers
    world.a.answers = {**answers, "tools/call": result[outcome], "prompts/get": result[outcome]}
    world.a.answers["prompts/list"] = {"prompts": [{"name": "greet"}]}
    world.a.events = [{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}] if streamed else []
    made_up = f"invented-{outcome[:3]}-{streamed}"
    routes = {"one": "", "two": "a_", "never": ""}
    clients = [(world.clients[route], prefix) for route, prefix in routes.items()]

    async def ask(number: int) -> None:
        name = f"{made_up}-{number}"
        for client, prefix in clients:
            await client.new("tools/call", name=prefix + name, arguments={})
            await client.new("prompts/get", name=prefix + name)
            await client.new(name)
            got = await client.send({"jsonrpc": "2.0", "method": f"notifications/{name}"})
            assert got.status_code == 202

    try:
        for client, prefix in clients:
            await client.open()
            await client.new("tools/list")
            await client.new("prompts/list")
            await client.new("tools/call", name=f"{prefix}echo", arguments={})
            await client.new("prompts/get", name=f"{prefix}greet")
        await ask(0)
        before, _ = await series(world)
        for number in range(1, 20):
            await ask(number)
    finally:
        world.a.answers = answers
    after, told = await series(world)
    assert after.keys() == before.keys() and made_up not in told
    for labels in (
        'method="tools/call",resource_type="tool",server="a",resource="echo"',
        'method="prompts/get",resource_type="prompt",server="a",resource="greet"',
    ):
        assert after[labels] >= 3
    assert after['method="",resource_type="",server="",resource=""'] >= 100


async def test_the_example_does_what_its_comments_say(serve_all: Any) -> None:
    text = (Path(__file__).parents[2] / "conf/mcp.yaml").read_text()
    served = await serve_all(text.replace("port: 3000", "port: 0"))
    async with httpx.AsyncClient(base_url=served.url, timeout=20) as http:
        client = Client(http)
        assert names(await client.new("tools/list")) == ["desk_add", "desk_echo", "time"]
        called = [
            ("desk_add", {"a": 2, "b": 3}, "5"),
            ("desk_echo", {"text": "mail ada@example.com"}, "mail <EMAIL_ADDRESS>"),
        ]
        for name, arguments, text in called:
            got = await client.new("tools/call", name=name, arguments=arguments)
            assert got["result"]["content"] == [{"type": "text", "text": text}]
        assert "+00:00" in str(await client.new("tools/call", name="time", arguments={}))
        assert (await client.new("tools/call", name="desk_add", arguments={"a": 2}))["result"]["isError"]
        for name, arguments in (("clock_add", {"a": 2, "b": 3}), ("desk_add", {"a": 2_000_000, "b": 3})):
            got = await client.new("tools/call", name=name, arguments=arguments)
            assert got["error"] == {"code": -32602, "message": f"Unknown tool: {name}"}
        assert (await client.open())["serverInfo"]["name"] == "agentgateway"
        assert "result" in await client.old("ping")
