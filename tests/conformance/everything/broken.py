"""What this server may do wrong on purpose: a suite that still passes would not have noticed."""

from typing import Any

from calls import Json
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError

UNPROTECTED, UNSEALED = "no-dns-rebinding-protection", "unsealed-state"
KEPT = ("type", "properties", "required")
"""What a server keeps of a schema that knows no more of JSON Schema."""


async def stripped_schema(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Schemas lose every keyword but the three best known."""
    result = await call_next(context)
    if context.method == "tools/list" and isinstance(result, dict):
        for tool in result["tools"]:
            tool["inputSchema"] = {key: value for key, value in tool["inputSchema"].items() if key in KEPT}
    return result


async def empty_contents(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A resource that there is not reads as empty."""
    try:
        return await call_next(context)
    except MCPError:
        if context.method != "resources/read":
            raise
        return {"contents": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


async def no_caching_hints(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Nothing says how long it may be kept."""
    result = await call_next(context)
    return _without(result, "ttlMs", "cacheScope")


async def broken_rounds(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A result that asks for input does not say that it does."""
    result = await call_next(context)
    if isinstance(result, dict) and result.get("resultType") == "input_required":
        return _without(result, "resultType")
    return result


def _without(result: HandlerResult, *keys: str) -> HandlerResult:
    if not isinstance(result, dict):
        return result
    kept: Json = {key: value for key, value in result.items() if key not in keys}
    return kept


FAULTS = {
    UNPROTECTED: None,
    UNSEALED: None,
    "stripped-schema": stripped_schema,
    "empty-contents": empty_contents,
    "no-caching-hints": no_caching_hints,
    "broken-rounds": broken_rounds,
}
"""By the name that the command line knows: what lies over the server, where that is enough."""
