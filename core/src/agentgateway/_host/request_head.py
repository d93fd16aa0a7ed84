"""A request's head as bytes: the only place where one is written, and where what could split it is refused."""

from collections.abc import Sequence
from functools import lru_cache

from agentgateway._host.field_lines import FieldStarts, Nominating, NoToken, sendable, without_nominated
from agentgateway.errors import InvalidRequest

# What belongs to one connection (RFC 9110 section 7.6.1), plus what is written here. `expect` goes too: the body is
# sent without waiting for a 100.
_HOP_BY_HOP = (b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer", b"upgrade")
_OWN = frozenset((*_HOP_BY_HOP, b"transfer-encoding", b"content-length", b"host", b"expect"))
_STARTS = FieldStarts(_OWN)
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_LENGTH = b"content-length: "

_LONGEST_REMEMBERED = 256
_MOST_REMEMBERED = 1024
_LONGEST_HEAD_REMEMBERED = 4096
_MOST_HEADS_REMEMBERED = 256

_known: dict[tuple[object, ...], bytes] = {}
"""Heads by what they were made of: a client sends the same fields with each of its calls, and so do we."""


def encode_head(
    method: str,
    target: str,
    authority: str,
    headers: Sequence[tuple[bytes, bytes]],
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
    wanted = (method, target, authority, *headers)
    head = _known.get(wanted)
    if head is None:
        head = _lines(method, target, authority, headers)
        if len(head) <= _LONGEST_HEAD_REMEMBERED:
            if len(_known) >= _MOST_HEADS_REMEMBERED:
                _known.clear()
            _known[wanted] = head
    if content_length is not None:
        return b"%b\r\ncontent-length: %d\r\n\r\n" % (head, content_length)
    return head + (b"\r\n" + CHUNKED if chunked else b"\r\n\r\n")


def _lines(method: str, target: str, authority: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """All of a head but the body's framing."""
    lines = [(_start if len(target) <= _LONGEST_REMEMBERED else _start.__wrapped__)(method, target, authority)]
    try:
        lines += [start + value for name, value in headers if (start := _STARTS[name])]
    except Nominating:
        return _lines(method, target, authority, without_nominated(headers))
    except NoToken as error:
        raise InvalidRequest("a header cannot be sent", detail=str(error)) from None
    head = b"\r\n".join(lines)
    if not sendable(head, len(lines) + 1):  # the first of them is two
        raise InvalidRequest("a header cannot be sent", detail="a control character in a header's value")
    return head


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


@lru_cache(maxsize=_MOST_REMEMBERED)
def _start(method: str, target: str, authority: str) -> bytes:
    """The request line and `Host`: one line end in it."""
    start = method + target + authority
    if not (method and target and authority and start.isascii() and start.isprintable()) or " " in start:
        raise InvalidRequest("the request line cannot be sent", detail=f"method {method!r}, its target or authority")
    return f"{method} {target} HTTP/1.1\r\nhost: {authority}".encode()
