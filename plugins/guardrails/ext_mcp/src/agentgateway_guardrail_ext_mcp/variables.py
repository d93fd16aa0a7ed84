"""`mcpGuardrails` in expressions."""

from __future__ import annotations

from typing import Any

from agentgateway_mcp.messages import McpCall

from agentgateway.exchange import Exchange


def mcp_guardrails(exchange: Exchange) -> dict[str, Any]:
    """What processors said of the message, by key. KeyError where they said nothing."""
    call = (exchange.parent or exchange).call
    if not isinstance(call, McpCall) or not call.said_of_it:
        raise KeyError("mcpGuardrails")
    return call.said_of_it
