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
two of `Host` or `Transfer-Encoding`, or two unlike       400     of equal ones see below
`Content-Length`s
no `Host`, or one that is not a host name and port        400     RFC 9112 section 3.2
a target with `#`, blanks, controls or 8-bit characters   400     RFC 9112 section 3.2
a path with an invalid `%`-escape or an encoded NUL       400
a path with dot segments                                  400     see below
========================================================  ======  =====================================================

Of a path only those escapes are decoded that never had to be there: letters, digits and `-._~` (RFC 3986 section
6.2.2.2), so that `/%61dmin` is `/admin` for routes, rules and the upstream alike. All others travel as they came, `//`
and `%2f` included. A dot segment, plain or written with `%2e`, `%2f`, `%5c`, `\\` or a `;parameter`, would mean one
path here and another one to an upstream that resolves it, so it is refused rather than passed on or resolved. Queries
travel undecoded, and so does the mark of one that is empty (RFC 3986 section 6.2.3: `/x?` need not be `/x`).

A target in absolute form is taken apart: its authority replaces `Host` (RFC 9112 section 3.2.2).

Malformed messages never come this far. The parsers answer them with 400 (bad syntax, bare CR, NUL, a fold in front of
all fields, unlike lengths), 431 (a head above `http1MaxHeadSize`) or 501 (unknown transfer codings, by h11). Three
things are malformed to llhttp, the edge's parser, and lawful to h11, Hypercorn's: equal `Content-Length`s, of which h11
makes one (RFC 9110 section 8.6), lines that end in LF alone (RFC 9112 section 2.2), and obsolete line folding, which
becomes a blank (section 5.2). None of the three goes on: what an upstream gets is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from agentgateway._host.face import TARGET
from agentgateway.errors import GatewayError, InvalidRequest

Field = tuple[bytes, bytes]

_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&'()*+,;=:@.-]*)+/?|/")
_VISIBLE = re.compile(rb"[\x21\x22\x24-\x7e]*")
_ESCAPES = re.compile(rb"(?:[^%]|%[0-9A-Fa-f]{2})*")
_NEEDLESS = re.compile(rb"%(2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])")
"""Escapes of unreserved characters (RFC 3986 section 2.3)."""
_HOST_AND_PORT = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)", re.I)
_ALONE = (b"host", b"content-length", b"transfer-encoding")
_ALLOWED = (("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


class Head(NamedTuple):
    """`target` is path and query, the path without needless escapes; `length` the body's announced size, None for one
    that ends when it ends; `error` why the request is refused, if it is: then the target is as it came."""

    target: str
    authority: str
    length: int | None
    headers: list[Field]
    error: GatewayError | None = None


class Limits(NamedTuple):
    """At most so many fields, and bytes."""

    fields: int
    size: int


def read_scope(scope: dict[str, Any], limits: Limits) -> Head:
    """The head in an ASGI scope of type `http`. Raises nothing."""
    path, query, headers = scope["raw_path"], scope["query_string"], scope["headers"]
    url = scope["extensions"].get(TARGET) or (b"%b?%b" % (path, query) if query else path)
    size = size_of(scope["method"], url, headers)
    return read_head(scope["method"], url, headers, scope["http_version"], size, limits)


def size_of(method: str, url: bytes, headers: Sequence[Field]) -> int:
    """About the bytes of a head."""
    return len(method) + len(url) + 4 * len(headers) + sum([len(name) + len(value) for name, value in headers])


def read_head(method: str, url: bytes, headers: list[Field], version: str, size: int, limits: Limits) -> Head:
    """The head of a request, of about `size` bytes. Raises nothing."""
    fields, received = dict(headers), headers
    authority = fields.get(b"host", b"")
    if not url.startswith(b"/") and (absolute := _ABSOLUTE.match(url)) is not None:
        if b"host" in fields or version != "1.1":  # which asks for it here, too
            authority = absolute[1]
        url = url[absolute.end() :]
        url = url if url.startswith(b"/") else b"/" + url
        headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
    target, wrong_target = (_known_target if len(url) <= WORTH_KEEPING else _target)(url)
    host, wrong_host = (_known_authority if len(authority) <= WORTH_KEEPING else _authority)(authority)
    error = _problem(method, url, received, fields, version) or _size_problem(received, size, limits)
    if error is None and (wrong_target or (wrong_host and (authority or version != "1.0"))):
        error = _refused(wrong_target or wrong_host)
    return Head(target, host, _length(fields, version), headers, error)


WORTH_KEEPING = 512
"""Bytes of a target or an authority whose reading is remembered."""


def _target(url: bytes) -> tuple[str, str]:
    """The target, and what is wrong with it if anything is."""
    path, mark, query = url.partition(b"?")
    problem = _target_problem(path, query)
    if b"%" in path and not problem:
        path = _NEEDLESS.sub(_decoded, path)
    return (path + mark + query).decode("latin-1"), problem


def _authority(authority: bytes) -> tuple[str, str]:
    problem = "" if _HOST_AND_PORT.fullmatch(authority) is not None else "invalid or missing host"
    return authority.decode("latin-1"), problem


_known_target = lru_cache(1024)(_target)
_known_authority = lru_cache(256)(_authority)


def _decoded(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))


def _length(fields: dict[bytes, bytes], version: str) -> int | None:
    announced = fields.get(b"content-length")
    if announced is not None and announced.isdigit():
        return int(announced)
    return None if b"transfer-encoding" in fields or version in ("2", "3") else 0


def _problem(
    method: str, url: bytes, headers: Sequence[Field], fields: dict[bytes, bytes], version: str
) -> GatewayError | None:
    if method in ("CONNECT", "TRACE") or url == b"*":
        return InvalidRequest("method not allowed", status=405, code="method_not_allowed", headers=_ALLOWED)
    if version not in ("1.1", "2", "1.0", "3"):
        return InvalidRequest("HTTP version not supported", status=505, code="http_version_not_supported")
    if len(fields) != len(headers):
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in _ALONE):
            return _refused("a header field that may occur once occurs twice")
    if b"transfer-encoding" in fields and (b"content-length" in fields or version < "1.1"):
        return _refused("ambiguous message framing")
    return None


def _size_problem(headers: Sequence[Field], size: int, limits: Limits) -> GatewayError | None:
    """Parsers count only while a head is incomplete: one that comes in a single piece is measured here."""
    if len(headers) > limits.fields:
        return InvalidRequest("too many header fields", status=431, code="header_fields_too_large")
    if size > limits.size:
        return InvalidRequest("the header fields are too large", status=431, code="header_fields_too_large")
    return None


def _target_problem(path: bytes, query: bytes) -> str:
    if query and _VISIBLE.fullmatch(query) is None:
        return "invalid request target"
    if _PLAIN_PATH.fullmatch(path) is not None:
        return ""
    if not path.startswith(b"/") or _VISIBLE.fullmatch(path) is None:
        return "invalid request target"
    if _ESCAPES.fullmatch(path) is None:
        return "invalid percent-encoding in the path"
    decoded = unquote_to_bytes(path).replace(b"\\", b"/")
    if b"\0" in decoded:
        return "invalid request target"
    if any(segment.partition(b";")[0] in (b".", b"..") for segment in decoded.split(b"/")):
        return "dot segments in the path"
    return ""


def _refused(message: str) -> GatewayError:
    return InvalidRequest(message, code="invalid_request")
