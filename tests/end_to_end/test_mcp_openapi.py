"""An HTTP API as MCP tools, through a real gateway: alone, beside another one, with policies, rules and guards."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from mcp import Client as SdkClient

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .mcps import Client, Json

pytestmark = pytest.mark.asyncio(loop_scope="module")
CANARY = "sk-canary-of-the-api"
STORE: Json = {
    "openapi": "3.0.3",
    "info": {"title": "Store", "version": "1"},
    "servers": [{"url": "/v2"}],
    "paths": {
        "/pets/{petId}": {
            "parameters": [{"name": "petId", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "getPet", "parameters": [{"name": "tags", "in": "query", "schema": {}}]},
            "delete": {"operationId": "deletePet"},
        },
        "/birds/{birdId}": {
            "parameters": [{"name": "birdId", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {
                "operationId": "getBird",
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
                    "404": {"content": {"application/json": {"schema": {"type": "string"}}}},
                },
            },
        },
        "/pets": {
            "post": {
                "operationId": "addPet",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
            }
        },
    },
    "components": {
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "friend": {"$ref": "#/components/schemas/Pet"}},
            }
        }
    },
}


BIRDS = {
    "fits": reply(200, {"name": "Rex", "friend": {"name": "Tom"}, "more": 1}),
    "other": reply(200, {"name": 7}),
    "nothing": reply(204, b""),
    "gone": reply(404, '"no such bird"'),
}


MAILS = {
    "1": reply(200, '"ada@example.com"'),
    "2": reply(200, {"name": "ada@example.com", "of": [{"type": "ada@example.com"}]}),
    "3": reply(200, {"ada@example.com": {"ada@example.com": 1}}),
}


def pets(request: Received) -> Any:
    if request.target == "/v2/pets/long":
        return endless()
    if request.target == "/v2/pets/gone":
        return reply(404, {"error": f"no such pet for {request.headers.get('authorization')}"})
    if request.target.startswith("/v2/pets/mail"):
        return MAILS[request.target[-1]]
    if request.target.startswith("/v2/birds/"):
        return BIRDS[request.target.rpartition("/")[2]]
    return reply(200, {"asked": f"{request.method} {request.target}", "owner": "ada@example.com"})


async def endless() -> AsyncIterator[bytes]:
    yield stream_head("text/plain")
    for _ in range(64):
        yield chunk(b"x" * 65536)
    yield LAST


@dataclass
class World:
    api: Upstream
    clients: dict[str, Client] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(Upstream(pets))
        store = {"openapi": {"schema": STORE, "host": api.url}}
        keyed = {"name": "store", **store, "policies": {"backendAuth": {"key": CANARY}}}
        other = {
            "name": "other",
            "openapi": {"schema": STORE, "host": f"{api.url}/other", "include": [{"method": "get"}]},
        }
        masks = {"regex": {"rules": [{"builtin": "email"}]}}
        rules = ['mcp.tool.name == "getPet"', {"deny": 'mcp.tool.arguments.path.petId == "secret"'}]
        routes: dict[str, tuple[Json, Json]] = {
            "one": ({"targets": [keyed]}, {}),
            "two": ({"targets": [keyed, other]}, {}),
            "ruled": ({"targets": [keyed]}, {"mcpAuthorization": {"rules": rules}}),
            "guarded": ({"targets": [keyed]}, {"promptGuard": {"request": [masks], "response": [masks]}}),
        }
        config: Json = {
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
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, timeout=20))
        yield World(api, {name: Client(http, f"/{name}") for name in routes})


@pytest.fixture
def world(running: World) -> World:
    running.api.received.clear()
    for client in running.clients.values():
        client.session = None
    return running


def called(path: Any = None, **more: Any) -> Json:
    return {"name": "getPet", "arguments": {"path": {"petId": path}, **more}}


def text_in(response: Json) -> str:
    text: str = response["result"]["content"][0]["text"]
    return text


@pytest.mark.parametrize("era", ["old", "new"])
async def test_operations_are_tools_and_calls_are_requests_with_the_targets_credential(world: World, era: str) -> None:
    client = world.clients["one"]
    if era == "old":
        assert (await client.open())["serverInfo"] == {"name": "Store", "version": "1"}
    ask = getattr(client, era)
    listed = (await ask("tools/list"))["result"]["tools"]
    assert [tool["name"] for tool in listed] == ["getPet", "deletePet", "getBird", "addPet"]
    assert listed[3]["inputSchema"]["$defs"]["Pet"]["properties"]["friend"] == {"$ref": "#/$defs/Pet"}
    got = (await ask("tools/call", **called("a/b", query={"tags": ["x", "y"]})))["result"]
    assert got["structuredContent"]["asked"] == "GET /v2/pets/a%2Fb?tags=x&tags=y"
    assert got["isError"] is False and ("resultType" in got) == (era == "new")
    (request,) = world.api.received
    assert request.headers["authorization"] == f"Bearer {CANARY}"
    assert (await ask("prompts/list"))["result"]["prompts"] == []


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdks_client_takes_every_result_for_what_the_output_schema_says(world: World, mode: str) -> None:
    url = str(world.clients["one"].http.base_url).rstrip("/") + "/one"
    async with SdkClient(url, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["getBird"].output_schema["$ref"] == "#/$defs/Pet" and tools["getPet"].output_schema is None
        results = {bird: await client.call_tool("getBird", {"path": {"birdId": bird}}) for bird in BIRDS}
    assert results["fits"].structured_content == {"name": "Rex", "friend": {"name": "Tom"}, "more": 1}
    assert {bird: result.is_error for bird, result in results.items()} == {
        "fits": False,
        "other": True,
        "nothing": True,
        "gone": True,
    }


@pytest.mark.parametrize("path", ["../admin", "..%2fadmin", "%2e%2e", "..;", "．．／admin", "", ".", "a\r\nb"])
async def test_nothing_leaves_the_base_and_nothing_is_sent_that_would(world: World, path: str) -> None:
    got = await world.clients["one"].new("tools/call", **called(path))
    assert got["result"]["isError"] is True
    assert world.api.received == []


async def test_two_apis_are_told_apart_by_their_target_and_keep_their_credentials(world: World) -> None:
    client = world.clients["two"]
    listed = (await client.new("tools/list"))["result"]["tools"]
    assert [tool["name"] for tool in listed] == [
        *("store_getPet", "store_deletePet", "store_getBird", "store_addPet"),
        *("other_getPet", "other_getBird"),
    ]
    got = await client.new("tools/call", name="other_getPet", arguments={"path": {"petId": "7"}})
    assert got["result"]["structuredContent"]["asked"] == "GET /other/pets/7"
    (request,) = world.api.received
    assert "authorization" not in request.headers
    assert (await client.new("server/discover"))["result"]["supportedVersions"] == ["2026-07-28"]


async def test_errors_of_the_api_are_for_the_model_and_quote_no_credential(world: World) -> None:
    got = await world.clients["one"].new("tools/call", **called("gone"))
    assert got["result"]["isError"] is True
    assert text_in(got).startswith("HTTP 404 Not Found\n")
    assert CANARY not in json.dumps(got)


async def test_an_answer_without_end_is_cut(world: World) -> None:
    got = await world.clients["one"].new("tools/call", **called("long"))
    assert got["result"]["isError"] is True
    assert "ask for less" in text_in(got)


async def test_rules_see_the_arguments(world: World) -> None:
    client = world.clients["ruled"]
    assert [tool["name"] for tool in (await client.new("tools/list"))["result"]["tools"]] == ["getPet"]
    assert "result" in await client.new("tools/call", **called("7"))
    assert "Unknown tool" in (await client.new("tools/call", **called("secret")))["error"]["message"]
    assert len(world.api.received) == 1


async def test_guards_see_what_goes_and_what_comes(world: World) -> None:
    got = await world.clients["guarded"].new("tools/call", **called("bob@example.com"))
    assert "bob" not in world.api.received[0].target
    assert "ada@example.com" not in json.dumps(got)
    for mail in MAILS:  # which is said twice, once as a text
        got = await world.clients["guarded"].new("tools/call", **called(f"mail{mail}"))
        assert "ada@example.com" not in json.dumps(got)
        assert "<EMAIL_ADDRESS>" in json.dumps(got["result"]["structuredContent"])
