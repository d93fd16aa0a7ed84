"""Which version of the protocol a message speaks, and what that version asks of its headers.

Until 2025-11-25 a session is negotiated by `initialize`; from 2026-07-28 on every request says for itself what it
speaks, in its body and in headers, which must agree (specification 2026-07-28, "Streamable HTTP").
"""

from __future__ import annotations

import base64
import binascii
import re

from agentgateway.exchange import Headers
from agentgateway_mcp.errors import HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND, UNSUPPORTED_VERSION, McpError
from agentgateway_mcp.messages import CAPABILITIES_KEY, HEADED_BY, LEGACY, MODERN, VERSION_KEY, McpCall

SUPPORTED = (MODERN,)
ROUTING = ("mcp-protocol-version", "mcp-method", "mcp-name")
REMOVED = frozenset(
    (
        *("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "roots/list"),
        *("tasks/result", "tasks/list"),
    )
)
"""Methods that the sessionless version has no more."""
BEFORE_HEADERS = "2025-03-26"
"""What a client without the header speaks (specification 2025-06-18, "Protocol Version Header")."""
WRAPPED = re.compile(r"=\?base64\?(.*)\?=")


def speak(call: McpCall, headers: Headers) -> None:
    """Set the call's version. Raises `McpError` for one that nobody speaks, and for headers that say otherwise than
    the body."""
    named = headers.get("mcp-protocol-version")
    if call.method == "initialize" and (named is None or named < MODERN):
        version = call.params.get("protocolVersion")
        call.version = version if isinstance(version, str) and version in LEGACY else LEGACY[-1]
        return
    if named in LEGACY or (named is None and VERSION_KEY not in _meta(call)):
        call.version = named or BEFORE_HEADERS
        return
    call.version = MODERN
    if call.purpose != "send":
        raise McpError(METHOD_NOT_FOUND, "Method not allowed", status=405, headers=(("allow", "POST"),))
    if call.is_request:
        _check(call, headers, named)
    elif named not in SUPPORTED:
        raise _unsupported(named)


def _check(call: McpCall, headers: Headers, named: str | None) -> None:
    method, meta, given = call.method, _meta(call), dict(headers.raw)
    if method in REMOVED:
        if named is not None and named not in SUPPORTED:
            raise _unsupported(named)
        raise McpError(METHOD_NOT_FOUND, f"Method not found: {method}", status=404)
    if len(given) != len(headers.raw):
        for name in ROUTING:
            if len(headers.all(name)) > 1:
                raise _mismatch(f"{name} header appears more than once")
    if missing := [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in meta]:
        raise McpError(INVALID_PARAMS, f"params._meta is missing {', '.join(missing)}")
    if not isinstance(meta[CAPABILITIES_KEY], dict):
        raise McpError(INVALID_PARAMS, f"params._meta.{CAPABILITIES_KEY} must be an object")
    version = meta[VERSION_KEY]
    if not isinstance(version, str) or named != version:
        raise _mismatch("mcp-protocol-version header does not match params._meta")
    if given.get(b"mcp-method", b"").decode("latin-1") != method:
        raise _mismatch("mcp-method header does not match the method")
    key = HEADED_BY.get(method)
    value = call.params.get(key) if key is not None else None
    if value is not None and unwrapped(headers.get("mcp-name")) != value:
        raise _mismatch(f"mcp-name header does not match params.{key}")
    if version not in SUPPORTED:
        raise _unsupported(version)


def _meta(call: McpCall) -> dict[str, object]:
    meta = call.params.get("_meta")
    return meta if isinstance(meta, dict) else {}


def _mismatch(message: str) -> McpError:
    return McpError(HEADER_MISMATCH, message)


def _unsupported(version: str | None) -> McpError:
    data = {"supported": list(SUPPORTED), "requested": (version or "")[:64]}
    return McpError(UNSUPPORTED_VERSION, "Unsupported protocol version", data=data)


def wrapped(text: str) -> str:
    """A text as the value of a header: as it is, or as `=?base64?…?=` where it would not survive."""
    plain = text.isascii() and text.isprintable() and text == text.strip() and WRAPPED.fullmatch(text) is None
    return text if plain else f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def unwrapped(value: str | None) -> str | None:
    """The inverse. None for what is no such value, so that it is equal to nothing."""
    found = WRAPPED.fullmatch(value) if value is not None else None
    if found is None:
        return value
    try:
        text = base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text if wrapped_again(text) == found[1] else None


def wrapped_again(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
