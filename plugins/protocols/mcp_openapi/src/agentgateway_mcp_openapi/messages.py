"""JSON-RPC and MCP, as far as a server of tools needs them, in the versions with sessions and the one without."""

from __future__ import annotations

from typing import Any

from agentgateway_mcp.servers import Answer, Ask
from pydantic_core import to_json

from agentgateway.exchange import Headers
from agentgateway_mcp_openapi.tools import Api

MODERN = "2026-07-28"
"""The first version without sessions; versions are dates, and compare as such."""
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
CACHE = {"ttlMs": 0, "cacheScope": "private"}
"""Nothing is to be kept, as in the reference: a reload may change any list."""
EMPTY = {
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
NOT_MODERN = frozenset(("initialize", "ping"))
CAPABILITIES: dict[str, Any] = {"tools": {}}


def answered(ask: Ask, result: dict[str, Any]) -> Answer:
    """A result, in the words of the version that is spoken."""
    if ask.version >= MODERN:
        result = {"resultType": "complete", **result}
    return whole(200, to_json({"jsonrpc": "2.0", "id": ask.document["id"], "result": result}))


def listed(ask: Ask, tools: bytes) -> Answer:
    """The tools, which are JSON already: there may be thousands."""
    rest = b',"resultType":"complete","ttlMs":0,"cacheScope":"private"' if ask.version >= MODERN else b""
    return whole(200, b'{"jsonrpc":"2.0","id":%b,"result":{"tools":%b%b}}' % (to_json(ask.document["id"]), tools, rest))


def whole(status: int, message: bytes) -> Answer:
    return Answer(status, whole=message, headers=Headers([(b"content-type", b"application/json")]))


def refused(ask: Ask, code: int, message: str) -> Answer:
    status = 404 if code == METHOD_NOT_FOUND and ask.version >= MODERN else 200
    error = {"code": code, "message": message}
    return whole(status, to_json({"jsonrpc": "2.0", "id": ask.document["id"], "error": error}))


def own_answer(ask: Ask, api: Api) -> Answer:
    """What needs no API to be asked: everything but a good `tools/call`."""
    if ask.purpose == "listen":
        return Answer(405)  # this server never says anything unasked
    if ask.purpose == "end" or not ask.wants_answer:
        return Answer(202)
    if ask.method == "tools/list":
        return listed(ask, api.listed)
    result = _result(ask, api)
    if result is None:
        return refused(ask, METHOD_NOT_FOUND, f"Method not found: {ask.method[:100]}")
    return answered(ask, result)


def _result(ask: Ask, api: Api) -> dict[str, Any] | None:
    method, modern = ask.method, ask.version >= MODERN
    cache = CACHE if modern else {}
    if modern and method in NOT_MODERN:
        return None
    if method in EMPTY:
        return {EMPTY[method]: [], **cache}
    if method == "initialize":
        return {"protocolVersion": spoken(ask), "capabilities": CAPABILITIES, "serverInfo": about(api)}
    if method == "server/discover":
        meta = {SERVER_KEY: about(api)}
        return {"supportedVersions": [MODERN], "capabilities": CAPABILITIES, **CACHE, "_meta": meta}
    return {} if method == "ping" else None


def about(api: Api) -> dict[str, str]:
    return {"name": api.title, "version": api.version}


def spoken(ask: Ask) -> str:
    params = ask.document.get("params")
    wanted = params.get("protocolVersion") if isinstance(params, dict) else None
    return wanted if wanted in LEGACY else LEGACY[-1]
