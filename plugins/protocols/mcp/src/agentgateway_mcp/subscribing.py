"""The resources of a subscription to several servers: each hears of its own, by the names that it knows."""

from __future__ import annotations

from agentgateway_mcp.envelope import Json, member, without
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names

URIS = "resourceSubscriptions"


def asked_of(names: Names, target: str, call: McpCall) -> bytes | Json:
    """A client's `subscriptions/listen` as one of several servers gets it."""
    params = call.params
    wanted = member(params, "notifications")
    uris = wanted.get(URIS)
    if not isinstance(uris, list) or not names.marks_uris:
        return call.body()
    found = [names.inward_uri(uri) for uri in uris if isinstance(uri, str)]
    own = [uri for owner, uri in found if owner == target]
    kept = {**wanted, URIS: own} if own else without(wanted, (URIS,))
    return {**call.document, "params": {**params, "notifications": kept}}


def acknowledged_by(names: Names, target: str, document: Json) -> Json:
    """A server's word that it has begun, by the names that the client knows."""
    wanted = member(member(document, "params"), "notifications")
    if isinstance(wanted.get(URIS), list):
        wanted[URIS] = [names.outward_uri(target, uri) for uri in wanted[URIS] if isinstance(uri, str)]
    return document
