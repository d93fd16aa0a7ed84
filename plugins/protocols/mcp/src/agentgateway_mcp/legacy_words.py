"""What a server of a version with sessions is told, and says, put into words of the other era."""

from __future__ import annotations

from typing import Any

from agentgateway_mcp.envelope import CACHEABLE, SERVER_KEY, SUBSCRIPTION_KEY, Json, bare, member, without
from agentgateway_mcp.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
)
from agentgateway_mcp.known_eras import LACKS_CAPABILITY
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.task_words import EXTENSION, TOLD, has_tasks

RESOURCE_NOT_FOUND = -32002
"""Of the versions with sessions; -32602 from 2026-07-28 on."""
STATUSES = {
    METHOD_NOT_FOUND: 404,
    **dict.fromkeys((PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS), 400),
    **dict.fromkeys((HEADER_MISMATCH, LACKS_CAPABILITY, UNSUPPORTED_VERSION), 400),
}
"""Of errors, where a response stands alone (specification 2026-07-28, "Streamable HTTP")."""
CHANGES = {
    "notifications/tools/list_changed": ("toolsListChanged", "tools"),
    "notifications/prompts/list_changed": ("promptsListChanged", "prompts"),
    "notifications/resources/list_changed": ("resourcesListChanged", "resources"),
}
"""Notifications: what asks for them in a subscription, and which capability has them."""
UPDATED = "notifications/resources/updated"


def asked_in_session(document: Json, wanted: str) -> Json:
    """A request of 2026-07-28 as one in a session, with that id, which is the token of its progress too."""
    params = without(member(document, "params"), ("_meta", "inputResponses", "requestState", "task"))
    meta = bare(member(member(document, "params"), "_meta"))
    if "progressToken" in meta:
        meta["progressToken"] = wanted
    if meta:
        params["_meta"] = meta
    asked: Json = {"jsonrpc": "2.0", "id": wanted, "method": document["method"]}
    return {**asked, "params": params} if params else asked


def modern_response(document: Json, method: str, wanted: Any, server: Any) -> Json:
    """A response in 2026-07-28, with the id that the client asked with. `server` is what the server says of itself."""
    told: Json = {"jsonrpc": "2.0", "id": wanted}
    if isinstance(document.get("result"), dict):
        return {**told, "result": modern_result(document["result"], method, server)}
    error = member(document, "error") or {"code": INVALID_REQUEST, "message": "the server's answer is no response"}
    return {**told, "error": {**error, "code": INVALID_PARAMS} if error.get("code") == RESOURCE_NOT_FOUND else error}


def modern_result(result: Json, method: str, server: Any) -> Json:
    """What a client of 2026-07-28 must find in a result. Nobody may keep what nobody said may be kept."""
    hints: Json = {"ttlMs": 0, "cacheScope": "private"} if method in CACHEABLE else {}
    stamp = {SERVER_KEY: server} if isinstance(server, dict) else {}
    meta = {**member(result, "_meta"), **stamp}
    return {"resultType": "complete", **hints, **result, **({"_meta": meta} if meta else {})}


def discovered(initialized: Json) -> Json:
    """The result of `server/discover` from that of `initialize`."""
    offered = member(initialized, "capabilities")
    capabilities = without(offered, ("tasks",))
    if has_tasks(offered):
        capabilities["extensions"] = {**member(offered, "extensions"), EXTENSION: {}}
    told: Json = {"supportedVersions": [MODERN], "capabilities": capabilities}
    if isinstance(initialized.get("instructions"), str):
        told["instructions"] = initialized["instructions"]
    return modern_result(told, "server/discover", initialized.get("serverInfo"))


def status_of(document: Json) -> int:
    """The HTTP status of a response that stands alone."""
    code = member(document, "error").get("code")
    return STATUSES.get(code, 200) if isinstance(code, int) else 200


def honoured(wanted: Json, capabilities: Json) -> Json:
    """The part of a subscription that a server with these capabilities can do."""
    kept: Json = {
        key: True
        for key, capability in CHANGES.values()
        if wanted.get(key) is True and member(capabilities, capability).get("listChanged") is True
    }
    uris = wanted.get("resourceSubscriptions")
    if isinstance(uris, list) and member(capabilities, "resources").get("subscribe") is True:
        kept["resourceSubscriptions"] = [uri for uri in uris if isinstance(uri, str)]
    tasks = wanted.get("taskIds")
    if isinstance(tasks, list) and has_tasks(capabilities):
        kept["taskIds"] = [task for task in tasks if isinstance(task, str)]
    return kept


def is_wanted(document: Json, subscribed: Json) -> bool:
    """Whether a notification is among what a subscription is for."""
    method = document.get("method", "")
    if method == UPDATED:
        return member(document, "params").get("uri") in subscribed.get("resourceSubscriptions", ())
    if method == TOLD:
        return member(document, "params").get("taskId") in subscribed.get("taskIds", ())
    return method in CHANGES and subscribed.get(CHANGES[method][0]) is True


def tagged(document: Json, subscription: Any) -> Json:
    """A notification that says which subscription it comes from."""
    params = member(document, "params")
    meta = {**member(params, "_meta"), SUBSCRIPTION_KEY: subscription}
    return {**document, "params": {**params, "_meta": meta}}


def acknowledged(subscribed: Json, subscription: Any) -> Json:
    """The first word of a subscription."""
    params = {"notifications": subscribed}
    return tagged(
        {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}, subscription
    )
