"""How messages of the transport of 2024-11-05 ("HTTP with SSE") say which stream they are about: by `sessionId` in the
query of a path that ends in `/sse`. Whoever has it may speak there, so that it is taken out of the request.
"""

from __future__ import annotations

from urllib.parse import unquote_plus

from agentgateway.exchange import Request

PARAMETER = "sessionId"


def is_stream_path(path: str) -> bool:
    return path.endswith("/sse")


def take_ticket(request: Request) -> str:
    """The stream's session id, empty when there is none; the request is without it then."""
    found, kept = "", []
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) == PARAMETER:
            found = found or unquote_plus(value)
        elif part:
            kept.append(part)
    request.query = "&".join(kept)
    request.target = f"{request.path}?{request.query}" if kept else request.path
    return found


def reference(query: str, ticket: str) -> str:
    """Where messages go, for who asked for the stream with that query: relative to the stream's own URL, whatever
    stands in front of the gateway."""
    return f"?{query}&{PARAMETER}={ticket}" if query else f"?{PARAMETER}={ticket}"
