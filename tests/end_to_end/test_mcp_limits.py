"""`localRateLimit` on an MCP route: by tool and by caller, and what a client is told."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client as SdkClient
from mcp import MCPError
from mcp.client.streamable_http import streamable_http_client

from .mcps import Client, Json, Server, said, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOOLS = {"tools": [tool("read"), tool("write")]}
DONE = {**said("done"), "resultType": "complete"}
KEYS = [{"key": f"sk-{name}", "metadata": {"name": name}} for name in ("ada", "bob", "cleo")]
BY_TOOL = 'default(mcp.tool.target + "/" + mcp.tool.name, mcp.methodName)'


def limited(key: str, **policies: Any) -> Json:
    limit = {"maxTokens": 2, "tokensPerFill": 2, "fillInterval": "1h", "key": key}
    return {**policies, "localRateLimit": [limit]}


@dataclass
class World:
    a: Server
    url: str
    http: httpx.AsyncClient
    token: Any

    def client(self, path: str, caller: str = "") -> Client:
        return Client(self.http, path, {"authorization": f"Bearer {caller}"} if caller else {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(serve_all: Any) -> AsyncIterator[World]:
    private = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    a = Server("a", {"tools/list": TOOLS, "tools/call": DONE})
    b = Server("b", {"tools/list": TOOLS, "tools/call": DONE})
    async with AsyncExitStack() as stack:
        for server in (a, b):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        targets = [{"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in (a, b)]
        keys = {"apiKey": {"keys": KEYS, "mode": "strict"}}
        tokens = {
            "jwtAuth": {
                "issuer": "https://i.test",
                "audiences": ["mcp"],
                "jwks": json.dumps({"keys": [{**public, "kid": "k"}]}),
            }
        }
        routes = {
            "tool": limited(BY_TOOL),
            "caller": limited(f'apiKey.name + "/" + {BY_TOOL}', **keys),
            "subject": limited(f'jwt.sub + "/" + {BY_TOOL}', **tokens),
        }
        config: Json = {
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {
                    "name": name,
                    "matches": [{"path": {"exact": f"/{name}"}}],
                    "policies": policies,
                    "backends": [{"mcp": {"targets": targets}}],
                }
                for name, policies in routes.items()
            ],
        }
        served = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=served.url, timeout=20))

        def token(subject: str) -> str:
            claims = {"iss": "https://i.test", "aud": "mcp", "sub": subject, "exp": 4102444800}
            return jwt.encode(claims, private, "ES256", {"kid": "k"})

        yield World(a, served.url, http, token)


async def calls(client: Client, name: str, times: int = 3) -> list[int]:
    return [(await client.modern("tools/call", {"name": name, "arguments": {}})).status_code for _ in range(times)]


async def test_each_tool_of_each_server_has_a_limit_of_its_own(world: World) -> None:
    client = world.client("/tool")
    for name in ("a_read", "a_write", "b_read"):
        assert await calls(client, name) == [200, 200, 429]
    assert len(world.a.asked("tools/call")) == 4
    refused = await client.modern("tools/call", {"name": "a_read", "arguments": {}})
    assert refused.json() == {"jsonrpc": "2.0", "id": 7, "error": {"code": -32003, "message": "rate limit exceeded"}}
    assert refused.headers["retry-after"] and refused.headers["x-ratelimit-remaining"] == "0"
    assert [len((await client.new("tools/list"))["result"]["tools"]) for _ in range(2)] == [4, 4]


@pytest.mark.parametrize("path", ["/caller", "/subject"])
async def test_each_caller_has_a_limit_of_its_own(world: World, path: str) -> None:
    ada, bob = ("sk-ada", "sk-bob") if path == "/caller" else (world.token("ada"), world.token("bob"))
    assert await calls(world.client(path, ada), "a_read") == [200, 200, 429]
    assert await calls(world.client(path, bob), "a_read") == [200, 200, 429]
    assert await calls(world.client(path, ada), "a_write", 1) == [200]


async def test_the_sdks_client_is_told_so_by_a_jsonrpc_error(world: World) -> None:
    async with (
        httpx2.AsyncClient(headers={"authorization": "Bearer sk-cleo"}, timeout=20) as http,
        SdkClient(streamable_http_client(f"{world.url}/caller", http_client=http)) as client,
    ):
        for _ in range(2):
            assert not (await client.call_tool("a_read", {})).is_error
        with pytest.raises(MCPError, match="rate limit exceeded"):
            await client.call_tool("a_read", {})
