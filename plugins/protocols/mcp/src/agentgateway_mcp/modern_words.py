"""What a server of 2026-07-28 says, put into words of the versions with sessions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentgateway_mcp.envelope import SERVER_KEY, SUBSCRIPTION_KEY, Json, member, without
from agentgateway_mcp.errors import INVALID_PARAMS
from agentgateway_mcp.legacy_words import RESOURCE_NOT_FOUND
from agentgateway_mcp.messages import LEGACY
from agentgateway_mcp.task_words import OFFERED, SINCE, STATUS, TOLD, has_extension, legacy_task

UNKNOWN_BEFORE = ("resultType", "ttlMs", "cacheScope")
INPUT_REQUIRED = "input_required"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def initialized(discovery: Json, wanted: Any) -> Json:
    """The result of `initialize` from that of `server/discover`, in the version that the client asks for, if there is
    such a one."""
    server, version = member(discovery, "_meta").get(SERVER_KEY), spoken(wanted)
    offered = member(discovery, "capabilities")
    tasks: Json = {"tasks": OFFERED} if has_extension(offered) and version >= SINCE else {}
    told: Json = {
        "protocolVersion": version,
        "capabilities": {**without(offered, ("extensions", "tasks")), **tasks},
        "serverInfo": server if isinstance(server, dict) else {"name": "unknown", "version": "0"},
    }
    if isinstance(discovery.get("instructions"), str):
        told["instructions"] = discovery["instructions"]
    return told


def spoken(wanted: Any) -> str:
    """The version that is spoken with a client that asks for this one."""
    return str(wanted) if wanted in LEGACY else LEGACY[-1]


def legacy_response(document: Json, method: str, wanted: Any) -> Json:
    """A response without what the versions with sessions do not know."""
    told: Json = {"jsonrpc": "2.0", "id": wanted}
    if isinstance(document.get("result"), dict):
        return {**told, "result": legacy_result(document["result"], method)}
    return {**told, "error": legacy_error(member(document, "error"), method)}


def legacy_result(result: Json, method: str) -> Json:
    told = without(result, UNKNOWN_BEFORE)
    if "_meta" in told:
        meta = without(member(told, "_meta"), (SERVER_KEY, SUBSCRIPTION_KEY))
        told = {**told, "_meta": meta} if meta else without(told, ("_meta",))
    if method == "tools/call" and not isinstance(told.get("structuredContent", {}), dict):
        told = without(told, ("structuredContent",))
    if method == "tools/list" and isinstance(told.get("tools"), list):
        told["tools"] = [legacy_tool(tool) for tool in told["tools"]]
    return told


def legacy_tool(tool: Any) -> Any:
    """A tool whose structured results, before 2026-07-28, can be objects only."""
    schema = tool.get("outputSchema") if isinstance(tool, dict) else None
    fits = schema is None or (isinstance(schema, dict) and schema.get("type") == "object")
    return tool if fits else without(tool, ("outputSchema",))


def legacy_error(error: Json, method: str) -> Json:
    missing = method == "resources/read" and error.get("code") == INVALID_PARAMS
    if missing and ("uri" in member(error, "data") or "not found" in str(error.get("message", "")).lower()):
        return {**error, "code": RESOURCE_NOT_FOUND}
    return error


def legacy_notification(document: Json) -> Json:
    """A notification that does not say which subscription it is of."""
    params = member(document, "params")
    if document.get("method") == TOLD:
        return {"jsonrpc": "2.0", "method": STATUS, "params": legacy_task(params)}
    if SUBSCRIPTION_KEY not in member(params, "_meta"):
        return document
    meta = without(params["_meta"], (SUBSCRIPTION_KEY,))
    kept = {**params, "_meta": meta} if meta else without(params, ("_meta",))
    return {**without(document, ("params",)), **({"params": kept} if kept else {})}


def subscription(uris: Iterable[str], tasks: Iterable[str]) -> Json:
    """What a stream of everything unasked is in 2026-07-28."""
    lists = dict.fromkeys(("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True)
    known, followed = sorted(uris), list(tasks)
    wanted: Json = {**lists, **({"resourceSubscriptions": known} if known else {})}
    return {**wanted, "taskIds": followed} if followed else wanted
