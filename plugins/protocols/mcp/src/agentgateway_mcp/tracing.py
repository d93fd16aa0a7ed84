"""The trace that a client's request belongs to, told to servers inside of messages: programs have no headers
(specification 2026-07-28, "_meta"; W3C Trace Context, W3C Baggage)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from agentgateway.exchange import NAME, Headers
from agentgateway_mcp.servers import Ask

CARRIED = frozenset((b"traceparent", b"tracestate", b"baggage"))


def traced(ask: Ask, headers: Headers) -> Ask:
    """The same, with the client's trace in `_meta`. What is there already wins; without such headers nothing changes,
    to the byte."""
    if CARRIED.isdisjoint(map(NAME, headers.raw)) or not ask.method:
        return ask
    params = ask.document.get("params", {})
    meta = params.get("_meta", {}) if isinstance(params, dict) else None
    if not isinstance(meta, dict) or not (context := missing(meta, headers)):
        return ask
    document = {**ask.document, "params": {**params, "_meta": {**meta, **context}}}
    return replace(ask, message=to_json(document), document=document)


def missing(meta: dict[str, Any], headers: Headers) -> dict[str, str]:
    """What the headers say and `_meta` does not. A `tracestate` goes with its own `traceparent` alone."""
    context: dict[str, str] = {}
    parents = headers.all("traceparent")
    if len(parents) == 1 and "traceparent" not in meta and "tracestate" not in meta:
        context["traceparent"] = parents[0]
        if states := headers.all("tracestate"):
            context["tracestate"] = ",".join(states)
    if "baggage" not in meta and (baggage := headers.all("baggage")):
        context["baggage"] = ",".join(baggage)
    return context
