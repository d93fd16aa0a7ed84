"""What an API answers, as the result of a tool."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus

from pydantic_core import from_json

from agentgateway.exchange import Outgoing, Reply
from agentgateway.streams import aclose
from agentgateway_mcp_openapi.operations import Check

MOST_ERROR = 16 * 1024
"""Characters of an error's body that a model is shown."""
SHORTEST_SECRET = 8
CHARSETS = {"iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252", "utf-16": "utf-16"}
"""Others are read as UTF-8, which ASCII is, too."""


async def whole_of(reply: Reply, limit: int) -> bytes | None:
    """The body; None when it is longer than that. Raises `UpstreamError` for one that breaks off."""
    if isinstance(reply.body, bytes):
        return reply.body if len(reply.body) <= limit else None
    pieces: list[bytes] = []
    try:
        async for piece in reply.body:
            pieces.append(piece)
            limit -= len(piece)
            if limit < 0:
                return None
    finally:
        await aclose(reply.body)
    return b"".join(pieces)


def result_of(reply: Reply, body: bytes, tool: str, secrets: Sequence[bytes] = ()) -> dict[str, Any]:
    """The result of `tools/call`. `secrets` are texts of the request that no text must quote."""
    kind = media_type(reply)
    if is_json(kind) or is_text(kind) or (not kind and readable(body)):
        for secret in secrets:
            body = body.replace(secret, b"***")
    if not 200 <= reply.status < 300:
        return failed(reply, body, kind)
    if not body:
        return said(f"HTTP {reply.status} {phrase(reply.status)}: no content")
    if is_json(kind) or not kind:
        try:
            document = from_json(body, allow_inf_nan=False)
        except ValueError:
            pass
        else:
            structured = document if isinstance(document, dict) else {"data": document}
            return {**said(body.decode()), "structuredContent": structured}
    return {"content": [content(reply, body, kind, tool)], "isError": False}


def fitting(result: dict[str, Any], fits: Check | None, beside: bool = False) -> dict[str, Any]:
    """The same, or an error where the tool has an output schema that this is not: clients would raise. `beside` says
    that this is not on the event loop."""
    if fits is None or result["isError"]:
        return result
    wrong = fits(result["structuredContent"], beside) if "structuredContent" in result else "the answer: it is no JSON"
    if not wrong:
        return result
    told = said(f"The API succeeded, but its answer is not what the tool's output schema says:\n{wrong}", error=True)
    return {**told, "content": [*told["content"], *result["content"]]}


def said(text: str, *, error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": error}


def failed(reply: Reply, body: bytes, kind: str) -> dict[str, Any]:
    """Status and text of what is no success: what a model needs to do better. Redirects are not followed."""
    lines = [f"HTTP {reply.status} {phrase(reply.status)}"]
    wait = reply.headers.get("retry-after")
    if wait is not None and len(wait) < 64:
        lines.append(f"Retry-After: {wait}")
    if body and (is_json(kind) or is_text(kind) or (not kind and readable(body))):
        lines.append(text_of(body, reply)[:MOST_ERROR])
    return said("\n".join(lines), error=True)


def content(reply: Reply, body: bytes, kind: str, tool: str) -> dict[str, Any]:
    """A block of content for what is no JSON."""
    if is_text(kind) or is_json(kind) or (not kind and readable(body)):
        return {"type": "text", "text": text_of(body, reply)}
    data = base64.b64encode(body).decode()
    family = kind.partition("/")[0]
    if family in ("image", "audio"):
        return {"type": family, "data": data, "mimeType": kind}
    resource = {"uri": f"openapi:{tool}", "mimeType": kind or "application/octet-stream", "blob": data}
    return {"type": "resource", "resource": resource}


def media_type(reply: Reply) -> str:
    return (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def is_text(kind: str) -> bool:
    if kind == "image/svg+xml":
        return False
    named = ("application/xml", "application/yaml", "application/javascript", "application/graphql")
    lists = ("application/x-ndjson", "application/x-www-form-urlencoded", "application/x-yaml", "application/toml")
    return kind.startswith("text/") or kind in (*named, *lists) or kind.endswith(("+xml", "+yaml"))


def readable(body: bytes) -> bool:
    try:
        return "\0" not in body.decode()
    except UnicodeDecodeError:
        return False


def text_of(body: bytes, reply: Reply) -> str:
    after = (reply.headers.get("content-type") or "").lower().partition("charset=")[2]
    charset = after.partition(";")[0].strip(" \"'")
    return body.decode(CHARSETS.get(charset, "utf-8"), "replace")


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def added(outgoing: Outgoing, target: str, values: frozenset[bytes]) -> tuple[bytes, ...]:
    """What policies put on a request that had this target and these header values: credentials, to be quoted to
    nobody. With each, its parts: `Bearer x` is also `x`."""
    found: set[bytes] = set()
    for _, value in outgoing.headers.raw:
        if value not in values:
            found.update((value, *value.split()[1:]))
    known = set(target.partition("?")[2].split("&"))
    for pair in outgoing.target.partition("?")[2].split("&"):
        if pair not in known:
            value = pair.partition("=")[2]
            found.update((value.encode(), unquote_plus(value).encode()))
    return tuple(sorted((one for one in found if len(one) >= SHORTEST_SECRET), key=len, reverse=True))
