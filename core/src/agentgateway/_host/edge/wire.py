"""What the edge writes: a reply's head as bytes, and chunks (RFC 9112 sections 4 and 7.1)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from agentgateway._host.field_lines import FieldStarts, sendable, without_nominated
from agentgateway._host.reply_head import MEASURED, WORDLESS, bodiless, http_date

if TYPE_CHECKING:
    from agentgateway._host.edge.turn import Turn
    from agentgateway.exchange import Reply

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}
_STARTS = FieldStarts(MEASURED)
_NOMINATES_NOTHING = (b"keep-alive", b"close")


def head_of_whole(turn: Turn, reply: Reply, body: bytes, *, last: bool) -> bytes:
    """Of a reply whose body is known. Without a body, a `content-length` tells of what would have been. Raises
    ValueError for a head that cannot be sent."""
    length: int | None = len(body)
    if bodiless(turn.method, reply.status) and (not body or reply.status in WORDLESS):
        length = announced(reply) if reply.status != 204 else None
    return _head(turn, reply, b"content-length: %d" % length if length is not None else b"", last)


def head_of_stream(turn: Turn, reply: Reply, length: int | None, *, last: bool) -> bytes:
    """Of a stream whose length is known, or not; in HTTP/1.0, which knows no chunks, the latter ends with its
    connection. Raises ValueError as above."""
    if length is not None:
        return _head(turn, reply, b"content-length: %d" % length, last)
    if turn.version == "1.1":
        return _head(turn, reply, b"transfer-encoding: chunked", last)
    return _head(turn, reply, b"", True)


def announced(reply: Reply) -> int | None:
    """The length that the reply's own head tells."""
    length = reply.headers.get("content-length")
    return int(length) if length is not None and length.isascii() and length.isdigit() else None


def chunk_of(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(turn: Turn, reply: Reply, framing: bytes, last: bool) -> bytes:
    status, headers = reply.status, reply.headers.raw
    if not 200 <= status <= 599:
        raise ValueError("the reply has no final status")
    fields = dict(headers)
    if b"connection" in fields and (fields[b"connection"] not in _NOMINATES_NOTHING or len(fields) != len(headers)):
        headers = list(without_nominated(headers))
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    lines += [start + value for name, value in headers if (start := _STARTS[name])]
    if b"date" not in fields:
        lines.append(b"date: " + http_date())
    if framing:
        lines.append(framing)
    if last:
        lines.append(b"connection: close")
    elif turn.version == "1.0":
        lines.append(b"connection: keep-alive")
    head = b"\r\n".join(lines)
    if not sendable(head, len(lines)):
        raise ValueError("a control character in a header of the reply")
    return head + b"\r\n\r\n"


def request_head(turn: Turn) -> bytes:
    """A request's own head, as it may have come, for whoever goes on with it."""
    lines = [b"%b %b HTTP/%b" % (turn.method.encode(), turn.url, turn.version.encode())]
    lines += [b"%b: %b" % field for field in turn.headers]
    return b"\r\n".join((*lines, b"", b""))
