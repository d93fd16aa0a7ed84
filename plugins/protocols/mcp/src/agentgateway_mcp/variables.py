"""`mcp` in expressions (the reference's section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from agentgateway.exchange import Exchange
from agentgateway_mcp.messages import McpCall

THING: dict[str, Any] = {"target": {}, "name": {}}
CALLED = {**THING, "arguments": None}


class Mcp:
    """`methodName`, and one of `tool`, `prompt`, `resource`, `task` with the `target` and the `name` that this server
    has for it; a tool that is called has its `arguments`. KeyError where there is no message."""

    members: ClassVar[Mapping[str, Any]] = {
        "methodName": {},
        **dict.fromkeys(("tool", "prompt"), CALLED),
        **dict.fromkeys(("resource", "task"), THING),
    }

    def __call__(self, exchange: Exchange) -> dict[str, Any]:
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


mcp = Mcp()
