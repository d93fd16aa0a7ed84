"""Heads that a server need not think about, read at once. h11 takes each line by itself, for 60 µs a request.

Ordinary is what nearly all clients send: HTTP/1.1 with one `Host`, no field twice, a body of announced length or none,
and nothing that asks for anything but an answer on a connection that stays open. Of such a head exactly that is made
which h11 makes of it; any other, a wrong one above all, is left to h11.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from agentgateway._host.field_lines import Field

_HEAD = re.compile(
    rb"([A-Z]+) ([!-~]+) HTTP/1\.1\r\n"  # h11 takes more than what is visible, in targets and in values
    rb"((?:[-!#$%&'*+.^_`|~0-9a-zA-Z]++:[\t -~\x80-\xff]*+\r\n)++)\r\n"
)
_FIELD = re.compile(rb"([^:]+):[ \t]*([^\r]*)\r\n")
_OTHER_ANSWERS = frozenset(("CONNECT", "HEAD"))
"""Methods whose answers are framed in ways of their own."""
_EXTRAORDINARY = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_DIGITS = 20
"""Of a length, at most: h11's own limit."""


class OrdinaryHead(NamedTuple):
    """`headers` with names in lower case; `length` of the body; `size` of the head itself, in bytes."""

    method: str
    target: bytes
    headers: list[Field]
    length: int
    size: int


def ordinary_head(data: bytes) -> OrdinaryHead | None:
    """The head that `data` begins with, if it is whole and ordinary."""
    match = _HEAD.match(data)
    if match is None:
        return None
    method = match[1].decode()
    headers = [(name.lower(), value.rstrip(b" \t")) for name, value in _FIELD.findall(match[3])]
    fields = dict(headers)
    length = fields.get(b"content-length", b"0")
    if (
        method in _OTHER_ANSWERS
        or len(fields) != len(headers)
        or b"host" not in fields
        or not _EXTRAORDINARY.isdisjoint(fields)
        or fields.get(b"connection", b"keep-alive").lower() != b"keep-alive"
        or not length.isdigit()
        or len(length) > _DIGITS
    ):
        return None
    return OrdinaryHead(method, match[2], headers, int(length), match.end())
