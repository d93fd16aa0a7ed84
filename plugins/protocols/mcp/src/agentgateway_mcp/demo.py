"""The target kind `demo`: a server in this process with three tools, to try things out without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic_core import to_json

from agentgateway.exchange import Exchange
from agentgateway_mcp.eras import SUPPORTED
from agentgateway_mcp.errors import INVALID_PARAMS, METHOD_NOT_FOUND
from agentgateway_mcp.merging import VERSION
from agentgateway_mcp.messages import LEGACY, MODERN
from agentgateway_mcp.servers import Answer, Ask, Server
from agentgateway_mcp.streamable import asked

Json = dict[str, Any]
CAPABILITIES: Json = {"tools": {}}
SELF = {"name": "agentgateway-demo", "version": VERSION}
KEPT = {"ttlMs": 60_000, "cacheScope": "public"}
LISTED = {"prompts/list": "prompts", "resources/list": "resources", "resources/templates/list": "resourceTemplates"}


def schema(**properties: str) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }


TOOLS: tuple[Json, ...] = (
    {"name": "add", "description": "Adds two numbers.", "inputSchema": schema(a="number", b="number")},
    {"name": "echo", "description": "Says the same again.", "inputSchema": schema(text="string")},
    {"name": "now", "description": "Tells the time in UTC.", "inputSchema": schema()},
)
DOES: Mapping[str, Callable[[Json], str]] = {
    "add": lambda given: str(given["a"] + given["b"]),
    "echo": lambda given: str(given["text"]),
    "now": lambda given: datetime.now(UTC).isoformat(timespec="seconds"),
}
KINDS = {"number": (int, float), "string": (str,)}


class Demo(Server):
    """Answers by itself, in every version of the protocol."""

    pipes: ClassVar[bool] = True

    @property
    def endpoint(self) -> str:
        return "demo"

    async def send(self, exchange: Exchange) -> Answer:
        ask = asked(exchange)
        if ask.purpose != "send":
            return Answer(405 if ask.purpose == "listen" else 200, whole=b"")
        if not ask.wants_answer:
            return Answer(202, whole=b"")
        params = ask.document.get("params")
        told = answered(ask, params if isinstance(params, dict) else {})
        status = 404 if ask.version >= MODERN and told.get("error", {}).get("code") == METHOD_NOT_FOUND else 200
        return Answer(status, whole=to_json({"jsonrpc": "2.0", "id": ask.document["id"], **told}))


def answered(ask: Ask, params: Json) -> Json:
    """The `result` or the `error` of a response."""
    method, modern = ask.method, ask.version >= MODERN
    marks: Json = {"resultType": "complete"} if modern else {}
    kept: Json = KEPT if modern else {}
    if method == "initialize":
        wanted = params.get("protocolVersion")
        version = wanted if wanted in LEGACY else LEGACY[-1]
        return {"result": {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": SELF}}
    if method == "server/discover":
        meta = {"io.modelcontextprotocol/serverInfo": SELF}
        found = {"supportedVersions": list(SUPPORTED), "capabilities": CAPABILITIES, "_meta": meta}
        return {"result": {**marks, **found, **kept}}
    if method == "ping":
        return {"result": {}}
    if method == "tools/list":
        return {"result": {**marks, "tools": [dict(tool) for tool in TOOLS], **kept}}
    if method in LISTED:
        return {"result": {**marks, LISTED[method]: [], **kept}}
    if method == "tools/call":
        return called(params, marks)
    return {"error": {"code": METHOD_NOT_FOUND, "message": f"Method not found: {method[:64]}"}}


def called(params: Json, marks: Json) -> Json:
    tool = next((one for one in TOOLS if one["name"] == params.get("name")), None)
    if tool is None:
        return {"error": {"code": INVALID_PARAMS, "message": f"Unknown tool: {str(params.get('name'))[:128]}"}}
    arguments = params.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    for name, wanted in tool["inputSchema"]["properties"].items():
        if not isinstance(given.get(name), KINDS[wanted["type"]]) or isinstance(given.get(name), bool):
            return said(f"`{name}` must be a {wanted['type']}", marks, error=True)
    return said(DOES[tool["name"]](given), marks)


def said(text: str, marks: Json, *, error: bool = False) -> Json:
    return {"result": {**marks, "content": [{"type": "text", "text": text}], "isError": error}}
