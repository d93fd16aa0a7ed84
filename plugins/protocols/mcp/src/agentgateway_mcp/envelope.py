"""What requests and results of 2026-07-28 say in `_meta`, which the versions with sessions agree on once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentgateway_mcp.messages import CAPABILITIES_KEY, MODERN, VERSION_KEY

Json = dict[str, Any]
PREFIX = "io.modelcontextprotocol/"
CLIENT_KEY = f"{PREFIX}clientInfo"
LEVEL_KEY = f"{PREFIX}logLevel"
SERVER_KEY = f"{PREFIX}serverInfo"
SUBSCRIPTION_KEY = f"{PREFIX}subscriptionId"
ASKED_OF = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
"""What servers may ask of clients, and the capability that says so."""
INTERACTIVE = frozenset(("tools/call", "prompts/get", "resources/read"))
"""Requests during which they may, in 2026-07-28."""
CACHEABLE = frozenset(
    (
        *("server/discover", "tools/list", "prompts/list", "resources/list"),
        *("resources/templates/list", "resources/read"),
    )
)


def member(holder: Any, key: str) -> Json:
    """An object in an object; empty where there is none."""
    found = holder.get(key) if isinstance(holder, dict) else None
    return found if isinstance(found, dict) else {}


def meta_of(document: Mapping[str, Any]) -> Json:
    return member(member(document, "params"), "_meta")


def without(holder: Json, unwanted: Iterable[str]) -> Json:
    """A copy without those members."""
    left_out = frozenset(unwanted)
    return {key: value for key, value in holder.items() if key not in left_out}


def bare(meta: Json) -> Json:
    """A request's `_meta` without what belongs to 2026-07-28."""
    return {key: value for key, value in meta.items() if not key.startswith(PREFIX)}


def enveloped(document: Json, about: Mapping[str, Any], level: str | None = None) -> Json:
    """A request in 2026-07-28. `about` are the parameters of an `initialize`: who asks, and what it can do."""
    params = member(document, "params")
    meta = {
        **bare(member(params, "_meta")),
        VERSION_KEY: MODERN,
        CAPABILITIES_KEY: without(member(about, "capabilities"), ("tasks",)),
    }
    if "clientInfo" in about:
        meta[CLIENT_KEY] = about["clientInfo"]
    if level is not None:
        meta[LEVEL_KEY] = level
    return {**document, "params": {**(without(params, ("task",)) if "task" in params else params), "_meta": meta}}


def can_answer(method: str, capabilities: Mapping[str, Any]) -> bool:
    """Whether a client has said that it can be asked that."""
    return ASKED_OF.get(method) in capabilities
