"""The reply to an ordinary request as bytes, framed as h11 frames it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from agentgateway._host.field_lines import FieldStarts, NoToken, sendable
from agentgateway._host.reply_head import WORDLESS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentgateway._host.field_lines import Field

_STARTS = FieldStarts(frozenset((b"connection", b"content-length", b"transfer-encoding")))


class OrdinaryReply:
    """One reply, from its head to its end. What is no reply raises `h11.LocalProtocolError`, as h11 does.

    `keep` says, once it has ended, whether the connection may go on.
    """

    __slots__ = ("_close", "_left", "begun", "keep")

    def __init__(self) -> None:
        self._left: int | None = 0  # bytes of the body still to come; None for chunks
        self._close = self.begun = self.keep = False

    def head(self, status: int, headers: Iterable[Field]) -> bytes:
        """With the framing: a length where one is announced, chunks where not."""
        self._left = None
        lines = [b"HTTP/1.1 %d " % status]
        try:
            for name, value in headers:
                start = _STARTS[name]
                lines.append(start + value.strip() if start else self._framing(name, value.strip()))
        except NoToken as error:
            raise h11.LocalProtocolError(str(error)) from None
        if status in WORDLESS:
            self._left = 0
        elif self._left is None:
            lines.append(b"Transfer-Encoding: chunked")
        lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if not sendable(head, len(lines) + 1):  # the last of them is one more
            raise h11.LocalProtocolError("a control character in a header of the reply")
        self.begun = True
        return head

    def _framing(self, field: bytes, value: bytes) -> bytes:
        """The line of a field that says where the reply ends, or the connection."""
        name = field.lower()
        if name == b"connection":
            self._close = self._close or b"close" in value.lower()
        elif name == b"transfer-encoding":
            raise h11.LocalProtocolError("the framing of a reply is not its author's")
        elif self._left is not None or not value.isdigit():
            raise h11.LocalProtocolError("bad Content-Length")
        else:
            self._left = int(value)
        return field + b": " + value

    def part(self, data: bytes) -> bytes:
        if self._left is None:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._left -= len(data)
        if self._left < 0:
            raise h11.LocalProtocolError("Too much data for declared Content-Length")
        return data

    def end(self) -> bytes:
        if self._left:
            raise h11.LocalProtocolError("Too little data for declared Content-Length")
        self.keep = not self._close
        return b"0\r\n\r\n" if self._left is None else b""
