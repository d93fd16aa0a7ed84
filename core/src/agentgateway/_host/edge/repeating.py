"""Heads that come again byte for byte, as a client's do on a kept connection, but for the length of the body.

A parser at rest makes the same of the same bytes: what it made of a head once need not be found out again. That holds
for a request that is whole in one read, with nothing in front of it or behind it; any other is the parser's. What is
known of a head is shared by the connections on which it comes, and forgotten with the last of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from agentgateway._host.edge.turn import Turn
    from agentgateway._host.inbound_head import Head, Limits

LONGEST = 4096
"""Bytes of a head that is remembered."""
DIGITS = 9
"""Of a body's length. llhttp takes any number of them, up to 64 bits; a body that comes in one read needs few."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})[ \t]*\r\n" % DIGITS, re.I)


class RepeatedHead:
    """The head of a request whose body has a length, or of one without a body. `read` is what `inbound_head` says of it
    under `limits`, once it did."""

    __slots__ = ("__weakref__", "_after", "_at", "_before", "_fields", "_method", "_url", "limits", "read")

    def __init__(self, before: bytes, after: bytes, turn: Turn) -> None:
        """`before` and `after` surround the digits of the length; without one, all of the head is `before`."""
        self._before = before
        self._after = after
        self._method = turn.method
        self._url = turn.url
        self._fields = turn.headers.copy()
        self._at = next((at for at, field in enumerate(turn.headers) if field[0] == b"content-length"), -1)
        self.limits: Limits | None = None
        self.read: Head | None = None

    def begins(self, data: bytes, turn: Turn) -> bool:
        """Whether `data` is a whole request with this head, and nothing else. Then it is put into the turn."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return False
        start, digits = len(before), b""
        if after:
            end = data.find(b"\r", start, start + DIGITS + 1)
            digits = data[start:end] if end > 0 else b""
            if not digits.isdigit() or not data.startswith(after, end):
                return False
            start = end + len(after)
        size = len(data) - start
        if size != (int(digits) if after else 0):
            return False
        turn.method, turn.url, turn.headers = self._method, self._url, self._fields.copy()
        if after:
            turn.headers[self._at] = (b"content-length", digits)
            turn.length = size
        if size:
            turn.parts.append(data[start:])
        turn.complete = turn.keep = True
        turn.repeated = self
        return True


_known: WeakValueDictionary[tuple[bytes, bytes], RepeatedHead] = WeakValueDictionary()


def repeated_head(data: bytes, turn: Turn) -> RepeatedHead | None:
    """What to remember of `data`, which a parser at rest has made that turn of; None if it is nothing that can be
    recognised."""
    start = data.find(b"\r\n\r\n", 0, LONGEST) + 4
    plain = turn.complete and turn.keep and not turn.expects and turn.error is None and turn.version == "1.1"
    if not plain or turn.length is None or turn.trailers or start < 4 or start + turn.length != len(data):
        return None
    before, after = data[:start], b""
    if length := _LENGTH.search(before, 0, start - 2):
        before, after = data[: length.start(1)], data[length.end(1) : start]
    elif turn.length:
        return None
    known = _known.get((before, after))
    if known is None:
        known = _known[(before, after)] = RepeatedHead(before, after, turn)
    turn.repeated = known
    return known
