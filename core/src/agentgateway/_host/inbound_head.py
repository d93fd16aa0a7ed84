"""A request's head as a client sent it: what of it the gateway reads, and the one place that says which are refused.

========================================================  ======  =====================================================
what came                                                 status  why
========================================================  ======  =====================================================
`CONNECT`, `TRACE`, `OPTIONS *`                           405     tunnels and reflections are not offered
more header fields than `http1MaxHeaders`, or more bytes  431
than `http1MaxHeadSize`
`Content-Length` together with `Transfer-Encoding`        400     RFC 9112 section 6.1: ambiguous framing
`Transfer-Encoding` in HTTP/1.0                           400     RFC 9112 section 6.1
an HTTP version nobody knows                              505
two of `Host`, `Content-Length` or `Transfer-Encoding`    400
no `Host`, or one that is not a host name and port        400     RFC 9112 section 3.2
a target with `#`, blanks, controls or 8-bit characters   400     RFC 9112 section 3.2
a path with an invalid `%`-escape or an encoded NUL       400
a path with dot segments                                  400     see below
========================================================  ======  =====================================================

Paths travel undecoded: routing, authorisation and the upstream see the same bytes, `//` and `%2f` included. A dot
segment, plain or written with `%2e`, `%2f`, `%5c`, `\\` or a `;parameter`, would mean one path here and another one to
an upstream that resolves it, so it is refused rather than passed on or resolved.

A target in absolute form is taken apart: its authority replaces `Host` (RFC 9112 section 3.2.2).

Malformed messages never come this far: h11 and h2 answer them with 400 (bad syntax, obsolete line folding that hides a
field, bare CR, NUL, conflicting lengths), 431 (head above `http1MaxHeadSize`) or 501 (unknown transfer codings).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from agentgateway.errors import GatewayError, InvalidRequest

Field = tuple[bytes, bytes]

_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&'()*+,;=:@.-]*)+/?|/")
_VISIBLE = re.compile(rb"[\x21\x22\x24-\x7e]*")
_ESCAPES = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")
_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)", re.I)
_ALONE = (b"host", b"content-length", b"transfer-encoding")
_ALLOWED = (("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


@dataclass(frozen=True, slots=True)
class Head:
    """`target` is path and query; `length` the body's announced size, None for one that ends when it ends; `error`
    why the request is refused, if it is."""

    target: str
    authority: str
    length: int | None
    headers: list[Field]
    error: GatewayError | None = None


def read_head(scope: dict[str, Any], max_headers: int, max_size: int) -> Head:
    """The head in an ASGI scope of type `http`; at most so many fields, and bytes. Raises nothing."""
    headers: list[Field] = scope["headers"]
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    fields = dict(headers)
    authority = fields.get(b"host", b"")
    absolute = _ABSOLUTE.match(path) if not path.startswith(b"/") else None
    if absolute is not None:
        authority, path = absolute[1], path[absolute.end() :] or b"/"
        headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
    error = (
        _method_problem(scope["method"], path)
        or _size_problem(scope, max_headers, max_size)
        or _framing_problem(headers, fields, scope["http_version"])
        or _target_problem(path, query)
        or _authority_problem(authority, scope["http_version"])
    )
    target = b"%b?%b" % (path, query) if query else path
    return Head(target.decode("latin-1"), authority.decode("latin-1"), _length(fields, scope), headers, error)


def _length(fields: dict[bytes, bytes], scope: dict[str, Any]) -> int | None:
    announced = fields.get(b"content-length")
    if announced is not None and announced.isdigit():
        return int(announced)
    return None if b"transfer-encoding" in fields or scope["http_version"] in ("2", "3") else 0


def _method_problem(method: str, path: bytes) -> GatewayError | None:
    if method in ("CONNECT", "TRACE") or path == b"*":
        return InvalidRequest("method not allowed", status=405, code="method_not_allowed", headers=_ALLOWED)
    return None


def _size_problem(scope: dict[str, Any], max_headers: int, max_size: int) -> GatewayError | None:
    """h11 counts only while a head is incomplete: one that comes in a single piece is measured here."""
    headers: Sequence[Field] = scope["headers"]
    if len(headers) > max_headers:
        return InvalidRequest("too many header fields", status=431, code="header_fields_too_large")
    size = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + 4 * len(headers)
    if size + sum([len(name) + len(value) for name, value in headers]) > max_size:
        return InvalidRequest("the header fields are too large", status=431, code="header_fields_too_large")
    return None


def _framing_problem(headers: Sequence[Field], fields: dict[bytes, bytes], version: str) -> GatewayError | None:
    if version not in ("1.1", "2", "1.0", "3"):
        return InvalidRequest("HTTP version not supported", status=505, code="http_version_not_supported")
    if len(fields) != len(headers):
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in _ALONE):
            return _refused("a header field that may occur once occurs twice")
    if b"transfer-encoding" in fields and (b"content-length" in fields or version < "1.1"):
        return _refused("ambiguous message framing")
    return None


def _target_problem(path: bytes, query: bytes) -> GatewayError | None:
    if query and _VISIBLE.fullmatch(query) is None:
        return _refused("invalid request target")
    if _PLAIN_PATH.fullmatch(path) is not None:
        return None
    if not path.startswith(b"/") or _VISIBLE.fullmatch(path) is None:
        return _refused("invalid request target")
    if _ESCAPES.fullmatch(path) is None:
        return _refused("invalid percent-encoding in the path")
    decoded = unquote_to_bytes(path).replace(b"\\", b"/")
    if b"\0" in decoded:
        return _refused("invalid request target")
    if any(segment.partition(b";")[0] in (b".", b"..") for segment in decoded.split(b"/")):
        return _refused("dot segments in the path")
    return None


def _authority_problem(authority: bytes, version: str) -> GatewayError | None:
    if _AUTHORITY.fullmatch(authority) is not None or (not authority and version == "1.0"):
        return None
    return _refused("invalid or missing host")


def _refused(message: str) -> GatewayError:
    return InvalidRequest(message, code="invalid_request")
