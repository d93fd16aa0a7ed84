"""Bytes in any portions to lines."""

from __future__ import annotations

from collections.abc import Iterator


class LineTooLong(Exception):
    """A line is longer than the limit."""


class Lines:
    """Cuts at line feeds. `limit` bounds one line, in bytes; a longer one is an error, or with `skips` is told of in
    its place."""

    def __init__(self, limit: int, *, skips: bool = False) -> None:
        self._limit = limit
        self._skips = skips
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now, without their ends. Raises `LineTooLong` after those before it."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            yield self.rest()
            start = end + 1
        self._add(data[start:])

    def rest(self) -> bytes:
        """What there is of a line that nobody has ended."""
        line = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._size > self._limit:
            line = b"(a line of %d bytes)" % self._size
        self._parts.clear()
        self._size = 0
        return line

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._limit:
            self._parts.append(part)
        elif self._skips:
            self._parts.clear()
        else:
            raise LineTooLong
