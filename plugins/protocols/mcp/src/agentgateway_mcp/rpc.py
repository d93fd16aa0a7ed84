"""JSON-RPC 2.0 messages as they stand on a pipe or in an event: read them, and write those of the gateway's own."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json


def read(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """The messages in a text, each with its bytes: one, or those of a batch (2025-03-26 has them).

    Raises ValueError for what is no message. Lone surrogates, which some encoders write, are let through.
    """
    try:
        document = from_json(data)
    except ValueError:
        document = json.loads(data)
    if type(document) is dict:
        return [(document, data)]
    if type(document) is list and document and all(type(item) is dict for item in document):
        return [(item, json.dumps(item, separators=(",", ":")).encode()) for item in document]
    raise ValueError("neither a message nor a batch of them")


def failure(request: Any, code: int, message: str, data: Any = None) -> bytes:
    """A response that says what went wrong with a request."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return to_json({"jsonrpc": "2.0", "id": request, "error": error})


def cancelled(request: Any) -> bytes:
    """The notification that nobody waits for a request's answer any more."""
    params = {"requestId": request, "reason": "the client is gone"}
    return to_json({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})


def inside(document: dict[str, Any], *keys: str) -> Any:
    """What stands below these keys, None where there is no such thing."""
    found: Any = document
    for key in keys:
        if type(found) is not dict:
            return None
        found = found.get(key)
    return found
