"""A request's head as bytes: the only place where one is written, and where what could split it is refused."""

from collections.abc import Iterable

from agentgateway.errors import InvalidRequest

# What belongs to one connection (RFC 9110 section 7.6.1), plus what is written here. `expect` goes too: the body is
# sent without waiting for a 100.
_HOP_BY_HOP = (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"upgrade")
_OWN = frozenset((*_HOP_BY_HOP, b"transfer-encoding", b"content-length", b"host", b"expect"))
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
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
    start = method + target + authority
    if not (method and target and authority and start.isascii() and start.isprintable()) or " " in start:
        raise InvalidRequest("the request line cannot be sent", detail=f"method {method!r}, its target or authority")
    parts = [f"{method} {target} HTTP/1.1\r\nhost: {authority}\r\n".encode()]
    nominated: list[bytes] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered in _OWN:
            if lowered == b"connection":
                nominated += [option.strip().lower() for option in value.split(b",")]
            continue
        parts += (name, b": ", value, b"\r\n")
    _check(parts[1::4], parts[3::4])
    if nominated:
        _leave_out(parts, nominated)
    if chunked:
        parts.append(CHUNKED)
    elif content_length is not None:
        parts.append(b"content-length: %d\r\n\r\n" % content_length)
    else:
        parts.append(b"\r\n")
    return b"".join(parts)


def declared_length(head: bytes) -> int | None:
    """The body length that a head of `encode_head` announces; None for chunks. Raises ValueError if it has none."""
    if head.endswith(CHUNKED):
        return None
    name, _, value = head[head.rfind(b"\n", 0, -4) + 1 :].partition(b" ")
    if name + b" " != _LENGTH:
        raise ValueError("a head without content-length or chunks, but a body to stream")
    return int(value)


def in_one_chunk(body: bytes | None) -> bytes:
    """A whole body for a head that announces chunks."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def _check(names: list[bytes], values: list[bytes]) -> None:
    # All of them at once: a tenth of the price of a regular expression for each.
    together = b"".join(values)
    if b"\r" in together or b"\n" in together or b"\0" in together:
        raise InvalidRequest("a header cannot be sent", detail="CR, LF or NUL in a header's value")
    if b"" in names or b"".join(names).translate(None, _TOKEN):
        raise InvalidRequest("a header cannot be sent", detail="a header name is not a token")


def _leave_out(parts: list[bytes], nominated: list[bytes]) -> None:
    for index in range(len(parts) - 4, 0, -4):
        if parts[index].lower() in nominated:
            del parts[index : index + 4]
