"""Users log in to protected servers through a real gateway: how each kind of client is told, on whichever worker, and
what nobody gets to see."""

import importlib.util
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

from .mcps import LEGACY, MODERN, Client, Json, Server, said, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")


def neighbour(name: str) -> ModuleType:
    """A module of the plugin's own tests."""
    file = Path(__file__).parents[2] / f"plugins/protocols/mcp_oauth/tests/{name}.py"
    spec = importlib.util.spec_from_file_location(f"mcp_oauth_{name}", file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


protected = neighbour("protected_server")
CONFIG = """
config:
  workers: 2
  adminAddr: "off"
  readinessAddr: "off"
  statsAddr: 127.0.0.1:0
  store: {url: "sqlite:state.sqlite"}
  logging: {level: debug}
gateways: {default: {port: 0, address: 127.0.0.1}}
frontendPolicies:
  accessLog: {add: {uri: request.uri, path: request.path}}
routes:
"""
ROUTE = """
- name: {name}
  matches: [{{path: {{pathPrefix: /{name}}}}}]
  policies:
    apiKey:
      location: {{header: {{name: x-api-key}}}}
      keys: [{{key: of-ada, metadata: {{user: ada}}}}, {{key: of-eve, metadata: {{user: eve}}}}]
  backends:
  - mcp:
      targets: {targets}
"""
NAMED = {"name": "mine", "version": "1"}
CAPABLE = {"elicitation": {"form": {}, "url": {}}}
KEY = "agentgateway.login"


@dataclass
class World:
    url: str
    gateway: Any
    server: Any
    other: Server

    def client(self, http: httpx.AsyncClient, path: str = "/alone", key: str = "of-ada") -> Client:
        return Client(http, path, {"x-api-key": key})

    async def log_in(self, link: str) -> list[str]:
        """What a browser does: the addresses that it has been at, and what came back last."""
        parts = urlsplit(link)
        async with httpx.AsyncClient() as browser:
            asked = await browser.get(link)
            assert "<form" in asked.text
            sent = await browser.post(link, headers={"origin": f"{parts.scheme}://{parts.netloc}"})
            back = self.server.authorize(sent.headers["location"])
            done = await browser.get(back)
        return [link, sent.headers["location"], back, sent.headers["set-cookie"], done.text]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(serve_all: Any) -> AsyncIterator[World]:
    server = protected.World()

    def call(request: Received) -> bytes:
        got: bytes = type(server).call(server, request)
        asked = request.json() if request.body else {}
        if b" 200 " not in got[:20] or "id" not in asked:
            return got if b" 200 " not in got[:20] else b"HTTP/1.1 202 X\r\ncontent-length: 0\r\n\r\n"
        results: Json = {
            "server/discover": {"supportedVersions": [MODERN], "capabilities": {"tools": {}}},
            "tools/list": {"tools": [tool("mine")]},
            "tools/call": said(request.headers["authorization"][-1]),
            "initialize": {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": NAMED},
        }
        result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **results[asked["method"]]}
        return reply(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result})

    server.call = call
    other = Server("other", {"tools/list": {"tools": [tool("theirs")], "ttlMs": 0, "cacheScope": "private"}})
    async with AsyncExitStack() as stack:
        server.url = (await stack.enter_async_context(Upstream(server.answer))).url
        other.upstream.answer = other.answer
        await stack.enter_async_context(other.upstream)
        mine = {"name": "mine", "mcp": {"host": server.url + "/mcp"}, "login": {"authorizationCode": {}}}
        theirs = {"name": "theirs", "mcp": {"host": other.upstream.url + "/mcp"}}
        routes = ROUTE.format(name="alone", targets=json.dumps([mine]))
        routes += ROUTE.format(name="both", targets=json.dumps([mine, theirs]))
        gateway = await serve_all(CONFIG + routes)
        yield World(gateway.url, gateway, server, other)


@pytest_asyncio.fixture(loop_scope="module")
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    world.server.scopes.clear()
    world.server.refresh_tokens.clear()
    async with httpx.AsyncClient(base_url=world.url) as client:
        yield client


def hello(capabilities: Json, version: str = LEGACY) -> Json:
    return {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "test", "version": "1"}}


async def test_a_client_of_2025_11_25_is_sent_to_a_url(world: World, http: httpx.AsyncClient) -> None:
    client = world.client(http)
    error = (await client.old("initialize", **hello(CAPABLE)))["error"]
    (asked,) = error["data"]["elicitations"]
    assert (error["code"], asked["mode"]) == (-32042, "url")
    assert asked["elicitationId"] and asked["url"].startswith(f"{world.url}/alone/oauth/mine/start?ticket=")
    assert "Logged in" in (await world.log_in(asked["url"]))[-1]
    await client.open()
    assert (await client.old("tools/list"))["result"]["tools"][0]["name"] == "mine"


@pytest.mark.parametrize(
    ("capabilities", "version"), [({}, LEGACY), ({"elicitation": {}}, LEGACY), (CAPABLE, "2025-06-18")]
)
async def test_a_client_that_opens_no_urls_is_told_the_url(
    world: World, http: httpx.AsyncClient, capabilities: Json, version: str
) -> None:
    error = (await world.client(http).old("initialize", **hello(capabilities, version)))["error"]
    assert error["code"] == -32001
    assert error["message"] == f"log in to `mine` first: {error['data']['url']}"
    assert "Logged in" in (await world.log_in(error["data"]["url"]))[-1]


async def modern(client: Client, method: str, capabilities: Json, **params: Any) -> Json:
    meta = {"protocolVersion": MODERN, "clientCapabilities": capabilities}
    params["_meta"] = {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}
    named = {"mcp-name": params["name"]} if "name" in params else {}
    message = {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}
    got = await client.send(message, **{"mcp-protocol-version": MODERN, "mcp-method": method, **named})
    assert got.status_code == 200
    return dict(got.json())


async def test_a_client_of_2026_07_28_is_asked_for_input(world: World, http: httpx.AsyncClient) -> None:
    client = world.client(http)
    call: Json = {"name": "mine", "arguments": {}, "requestState": "of-the-server"}
    result = (await modern(client, "tools/call", CAPABLE, **call))["result"]
    asked = result["inputRequests"][KEY]
    assert (result["resultType"], result["requestState"]) == ("input_required", "of-the-server")
    assert (asked["method"], asked["params"]["mode"]) == ("elicitation/create", "url")
    await world.log_in(asked["params"]["url"])
    answers = {KEY: {"action": "accept"}, "another": {"action": "accept"}}
    assert "content" in (await modern(client, "tools/call", CAPABLE, **call, inputResponses=answers))["result"]
    sent = [one.json()["params"] for one in world.server.asked if one.target == "/mcp"][-1]
    assert (sent["inputResponses"], sent["requestState"]) == ({"another": {"action": "accept"}}, "of-the-server")
    world.server.scopes.clear()
    world.server.refresh_tokens.clear()
    await modern(client, "tools/call", CAPABLE, **call)
    declined = await modern_status(client, call | {"inputResponses": {KEY: {"action": "decline"}}})
    assert (declined.status_code, declined.json()["error"]["message"]) == (403, "the login to `mine` was declined")


async def modern_status(client: Client, call: Json) -> httpx.Response:
    return await client.modern("tools/call", call)


async def test_lists_of_2026_07_28_cannot_ask_for_input(world: World, http: httpx.AsyncClient) -> None:
    for capabilities in (CAPABLE, {}):
        error = (await modern(world.client(http), "tools/list", capabilities))["error"]
        assert error["code"] == -32001 and "ticket=" in error["data"]["url"]


async def test_one_of_several_servers_may_have_users(world: World, http: httpx.AsyncClient) -> None:
    client = world.client(http, "/both")
    error = (await client.old("initialize", **hello(CAPABLE)))["error"]
    link = error["data"]["elicitations"][0]["url"]
    assert link.startswith(f"{world.url}/both/oauth/mine/start?")
    await world.log_in(link)
    await client.open()
    listed = (await client.old("tools/list"))["result"]["tools"]
    assert [one["name"] for one in listed] == ["mine_mine", "theirs_theirs"]
    assert all("authorization" not in one.headers for one in world.other.upstream.received)


async def test_logins_are_each_users_own_on_every_worker(world: World, http: httpx.AsyncClient) -> None:
    async def shown(key: str) -> Json:
        """Over a connection of its own, which may come to any worker."""
        async with httpx.AsyncClient(base_url=world.url) as alone:
            return await modern(world.client(alone, key=key), "tools/call", CAPABLE, name="mine", arguments={})

    link = (await shown("of-ada"))["result"]["inputRequests"][KEY]["params"]["url"]
    await world.log_in(link)
    assert [one for _ in range(8) if "content" not in (one := await shown("of-ada"))["result"]] == []
    assert [one for _ in range(8) if "inputRequests" not in (one := await shown("of-eve"))["result"]] == []


async def test_pages_are_for_browsers_that_nobody_knows_and_for_nothing_else(
    world: World, http: httpx.AsyncClient
) -> None:
    assert (await http.get("/alone/oauth/mine/start")).status_code == 400
    assert (await http.get("/alone/oauth/mine/callback?state=x&code=y")).status_code == 400
    assert (await http.get("/alone/oauth/mine/else")).status_code == 404
    assert (await http.get("/alone/oauth/nobody/start")).status_code in (400, 401)
    assert (await http.get("/alone/oauth/mine/start", headers={"host": "evil.example.com"})).status_code == 403
    assert (
        await http.post("/alone/oauth/mine/start", headers={"origin": "https://evil.example.com"})
    ).status_code == 403


async def test_nothing_of_a_login_is_in_logs_or_metrics(world: World, http: httpx.AsyncClient) -> None:
    client = world.client(http)
    error = (await client.old("initialize", **hello(CAPABLE)))["error"]
    link, location, back, cookie, _ = await world.log_in(error["data"]["elicitations"][0]["url"])
    await client.open()
    secrets = [dict(parse_qsl(urlsplit(one).query)) for one in (link, location, back)]
    told = {secrets[0]["ticket"], secrets[1]["state"], secrets[2]["code"], cookie.partition("=")[2].partition(";")[0]}
    told |= {world.server.forms()[-1]["code_verifier"], *world.server.scopes, *world.server.refresh_tokens, "canary"}
    await world.gateway.logged("/alone/oauth/mine/callback")
    found = re.search(r"listening on (http://\S+) \(stats\)", world.gateway.log)
    assert found is not None
    said = world.gateway.log + "".join(world.gateway.access) + (await http.get(f"{found[1]}/metrics")).text
    assert "a user has logged in" in said
    assert [secret for secret in told if secret in said] == []
    stored = b"".join(one.read_bytes() for one in world.gateway.file.parent.glob("state.sqlite*"))
    assert stored and [secret for secret in told if secret.encode() in stored] == []
