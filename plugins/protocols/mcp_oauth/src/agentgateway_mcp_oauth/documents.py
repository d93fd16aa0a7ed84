"""What is served below `/.well-known`: the metadata of the resource, and of the authorization server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentgateway.exchange import Reply
from agentgateway_mcp_oauth.config import McpAuthenticationConfig

READING = ("GET", "HEAD", "OPTIONS")
POSTING = ("POST", "OPTIONS")
Methods = tuple[str, ...]


def cors(methods: Methods) -> tuple[tuple[str, str], ...]:
    """Pages of every origin may read what comes without credentials."""
    return (
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", ", ".join(methods)),
        ("access-control-allow-headers", "authorization, content-type, mcp-protocol-version"),
        ("access-control-max-age", "600"),
    )


def preflight(methods: Methods) -> Reply:
    """The answer to OPTIONS."""
    reply = Reply(204)
    reply.headers.update((("allow", ", ".join(methods)), *cors(methods)))
    return reply


def refused_method(methods: Methods) -> Reply:
    return Reply.json(405, {"error": "invalid_request"}, (("allow", ", ".join(methods)), *cors(methods)))


def document(body: dict[str, Any]) -> Reply:
    """Public metadata."""
    return Reply.json(200, body, cors(READING))


def answer(status: int, body: dict[str, Any], headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """What was answered to a POST; it may hold a token (RFC 6749 section 5.1)."""
    always = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
    return Reply.json(status, body, (*always, *headers, *cors(POSTING)))


def of_resource(config: McpAuthenticationConfig, resource: str, server: str) -> dict[str, Any]:
    """RFC 9728 section 2. `resource` is its URL and `server` that of its authorization server, unless the
    configuration says otherwise."""
    about = config.resource_metadata
    made: dict[str, Any] = {
        "resource": about.resource or resource,
        "authorization_servers": about.authorization_servers or [server],
    }
    if about.scopes_supported is not None:
        made["scopes_supported"] = about.scopes_supported
    if config.authorization_location is None:
        made["bearer_methods_supported"] = ["header"]
    return {**made, **about.others()}
