"""Event streams of MCP servers, cut as the network may cut them."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing.upstreams import LAST, Received, Upstream, chunk, reply, stream_head

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
mcp:
  port: 0
  policies:
    mcpAuthorization: {{rules: ["mcp.tool.name != 'hidden'"]}}
  targets:
  - name: one
    mcp: {{host: "{upstream}/mcp"}}
"""
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
OPENED = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
TOOLS = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("seen", "hidden")]}
RESULTS = {"initialize": OPENED, "tools/list": TOOLS}


def answered(request: Received) -> tuple[bytes, bytes]:
    """The head of an event stream, and its one event with the end."""
    asked = request.json()
    message = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": RESULTS[asked["method"]]}).encode()
    return stream_head(), chunk(b"event: message\ndata: " + message + b"\n\n") + LAST


def at_once(request: Received) -> bytes:
    return b"".join(answered(request)) if "id" in request.json() else reply(202, b"")


async def byte_by_byte(request: Received) -> AsyncIterator[bytes]:
    for byte in at_once(request):
        yield bytes([byte])


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[at_once, byte_by_byte], ids=lambda one: one.__name__
)
async def endpoint(request: pytest.FixtureRequest, serve_all) -> AsyncIterator[str]:
    async with Upstream(request.param) as upstream:
        served = await serve_all(CONFIG.format(upstream=upstream.url))
        yield f"http://127.0.0.1:{served.port}/mcp"


async def test_a_session_opens_and_a_list_has_what_it_may_have(endpoint: str) -> None:
    async with httpx.AsyncClient(headers=HEADERS) as client:
        welcome = await client.post(endpoint, json=INITIALIZE)
        assert welcome.status_code == 200, welcome.text
        session = {"mcp-session-id": welcome.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        listed = await client.post(endpoint, headers=session, json={"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
    assert "seen" in listed.text and "hidden" not in listed.text
