"""A request's head as bytes: the only place where one is written, and where what could split it is refused."""

import re
from collections.abc import Iterable

from agentgateway.errors import InvalidRequest

# What belongs to one connection (RFC 9110 section 7.6.1), plus what is written here. `expect` goes too: the body is
# sent without waiting for a 100.
_HOP_BY_HOP = (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"upgrade")
_OWN = frozenset((*_HOP_BY_HOP, b"transfer-encoding", b"content-length", b"host", b"expect"))
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_START = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/1\.1\r\nhost: [\x21-\x7e]+\r\n")
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_LENGTH = b"content-length: "


def encode_head(
    method: str,
    target: str,
    authority: str,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    content_length: int | None,
    chunked: bool,
) -> bytes:
    """Serialise a whole head, `Host` first and the body's framing last.

    `target` is path and query, percent-encoded. Hop-by-hop fields, those named by `Connection` among them, are left
    out, and so are `Host`, `Content-Length` and `Expect`: the arguments decide. Raises `InvalidRequest` for anything
    that would end a line early (RFC 9112 section 11.1) or that is not a field name.
    """
    if chunked and content_length is not None:
        raise InvalidRequest("a body has either a length or chunks", detail="content_length and chunked both given")
    start = f"{method} {target} HTTP/1.1\r\nhost: {authority}\r\n"
    if _START.fullmatch(start) is None:
        raise InvalidRequest("the request line cannot be sent", detail=f"method {method!r} or its target")
    fields = list(headers)
    left_out = _OWN | _nominated(fields)
    fields = [field for field in fields if field[0].lower() not in left_out]
    lines = [b"%b: %b\r\n" % field for field in fields]
    _check([name for name, _ in fields], b"".join(lines))
    lines.insert(0, start.encode())
    if chunked:
        lines.append(_CHUNKED)
    elif content_length is not None:
        lines.append(b"%b%d\r\n\r\n" % (_LENGTH, content_length))
    else:
        lines.append(b"\r\n")
    return b"".join(lines)


def declared_length(head: bytes) -> int | None:
    """The body length that a head of `encode_head` announces; None for chunks. Raises ValueError if it has none."""
    if head.endswith(_CHUNKED):
        return None
    name, _, value = head[head.rfind(b"\n", 0, -4) + 1 :].partition(b" ")
    if name + b" " != _LENGTH:
        raise ValueError("a head without content-length or chunks, but a body to stream")
    return int(value)


def as_chunks(head: bytes, body: bytes | None) -> bytes | None:
    """A whole body as `head` announces it."""
    if not head.endswith(_CHUNKED):
        return body
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def _nominated(headers: list[tuple[bytes, bytes]]) -> set[bytes]:
    names: set[bytes] = set()
    for name, value in headers:
        if len(name) == 10 and name.lower() == b"connection":
            names.update(part.strip().lower() for part in value.split(b","))
    return names


def _check(names: list[bytes], block: bytes) -> None:
    # Counting line ends in the finished block finds an injected one in any field at a tenth of a regex per field.
    count = len(names)
    if block.count(b"\r") != count or block.count(b"\n") != count or b"\0" in block:
        raise InvalidRequest("a header cannot be sent", detail="CR, LF or NUL in a header")
    if b"" in names or b"".join(names).translate(None, _TOKEN):
        raise InvalidRequest("a header cannot be sent", detail="a header name is not a token")
