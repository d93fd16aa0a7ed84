"""The reply to an ordinary request as bytes, framed as h11 frames it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from agentgateway._host.reply_head import WORDLESS

if TYPE_CHECKING:
    from agentgateway._host.field_lines import Field


class OrdinaryReply:
    """One reply, from its head to its end. What is no reply raises `h11.LocalProtocolError`, as h11 does.

    The names and values of its head are known to be sendable (`reply_head.check`). `keep` says, once it has ended,
    whether the connection may go on.
    """

    __slots__ = ("_close", "_left", "begun", "keep")

    def __init__(self) -> None:
        self._left: int | None = 0  # bytes of the body still to come; None for chunks
        self._close = self.begun = self.keep = False

    def head(self, status: int, headers: list[Field]) -> bytes:
        """With the framing: a length where one is announced, chunks where not."""
        lines = [b"HTTP/1.1 %d " % status]
        left: int | None = None
        for field, text in headers:
            value = text.strip()
            lines.append(field + b": " + value)
            name = field.lower()
            if name == b"content-length":
                if left is not None or not value.isdigit():
                    raise h11.LocalProtocolError("bad Content-Length")
                left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self._close = True
            elif name == b"transfer-encoding":
                raise h11.LocalProtocolError("the framing of a reply is not its author's")
        if status in WORDLESS:
            left = 0
        elif left is None:
            lines.append(b"Transfer-Encoding: chunked")
        self._left = left
        self.begun = True
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

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
