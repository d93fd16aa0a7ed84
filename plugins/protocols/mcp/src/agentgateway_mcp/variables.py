"""`mcp` in expressions (the reference's section 7.1)."""

from __future__ import annotations

from typing import Any

from agentgateway.exchange import Exchange
from agentgateway_mcp.messages import McpCall


def mcp(exchange: Exchange) -> dict[str, Any]:
    """`methodName`, and one of `tool`, `prompt`, `resource`, `task` with the `target` and the `name` that this server
    has for it; a tool that is called has its `arguments`. KeyError where there is no message."""
    call = exchange.call
    if not isinstance(call, McpCall):
        raise KeyError("mcp")
    told: dict[str, Any] = {"methodName": call.operation}
    kind, target, name = call.looked_at or (call.kind, call.target, call.name)
    if kind is not None and name is not None:
        thing: dict[str, Any] = {"name": name}
        if target is not None:
            thing["target"] = target
        if kind in ("tool", "prompt") and call.looked_at is None:
            arguments = call.params.get("arguments")
            thing["arguments"] = arguments if isinstance(arguments, dict) else {}
        told[kind] = thing
    return told
