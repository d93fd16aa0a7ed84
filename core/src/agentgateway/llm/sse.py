"""Server-sent events (WHATWG HTML, section 9.2) between bytes and events, incrementally and without loss.

Every event keeps the bytes it came in: comments, blank lines and line ends are returned as they were, so that a stream
somebody only looks at stays the same to the byte.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from agentgateway.errors import UpstreamError
from agentgateway.llm.documents import dump

CONTENT_TYPE = "text/event-stream"
EVENT_LIMIT = 1 << 20
"""The longest event accepted, in bytes."""

_BOM = b"\xef\xbb\xbf"
# Two ends of line, each as long as it can be: a lone CRLF is one of them, not two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r){2}")


class Event:
    """One event. `data` is None where there is nothing but comments; `name` is None for the default type.

    `document` is the JSON object in `data`, parsed on demand, None when `data` is no object.
    """

    __slots__ = ("_document", "_parsed", "changed", "data", "name", "raw")

    def __init__(self, data: bytes | None, name: str | None = None, raw: bytes = b"") -> None:
        self.data = data
        self.name = name
        self.raw = raw
        self.changed = not raw
        self._document: dict[str, Any] | None = None
        self._parsed = False

    @classmethod
    def of(cls, document: dict[str, Any], name: str | None = None) -> Event:
        """An event that holds a document."""
        event = cls(None, name)
        event._document = document
        event._parsed = True
        return event

    @property
    def document(self) -> dict[str, Any] | None:
        if not self._parsed:
            self._parsed = True
            self._document = _object(self.data)
        return self._document

    def mark_changed(self) -> None:
        """The document was edited, so that the bytes must be made anew."""
        self.changed = True

    def encode(self) -> bytes:
        """The bytes as they came, or made from the document when that was changed."""
        if not self.changed:
            return self.raw
        data = dump(self.document) if self.document is not None else self.data
        return encode(data or b"", self.name)

    def __repr__(self) -> str:
        return f"<Event {self.name or 'message'} {len(self.data or b'')} bytes>"


def encode(data: bytes, name: str | None = None) -> bytes:
    """The wire form of an event."""
    if b"\r" in data:
        data = _with_line_feeds(data)
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    if name is None:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


class Parser:
    """Bytes in any portions to events. `limit` bounds one event, in bytes."""

    __slots__ = ("_buffer", "_limit", "_scanned", "_started")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._buffer = b""
        self._limit = limit
        self._scanned = 0
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete now. Raises `UpstreamError` for one longer than the limit."""
        buffer = self._buffer + chunk if self._buffer else chunk
        events: list[Event] = []
        start = 0
        scan = self._scanned
        find = _end_of_block if b"\r" in buffer else _end_of_simple_block
        while (end := find(buffer, scan)) > 0:
            events.append(self._event(buffer[start:end]))
            start = scan = end
        self._buffer = buffer[start:]
        # An end of line may be split by the chunk's end; two of them have four bytes.
        self._scanned = max(0, len(self._buffer) - 3)
        if len(self._buffer) > self._limit:
            raise UpstreamError("the upstream sent an event that is too long", detail=f"over {self._limit} bytes")
        return events

    @property
    def waiting(self) -> int:
        """Bytes of an event that is not complete yet."""
        return len(self._buffer)

    def end(self) -> list[Event]:
        """What was left without its blank line. The standard drops it; vendors are known to end their last event so."""
        rest, self._buffer = self._buffer, b""
        return [self._event(rest)] if rest else []

    def _event(self, raw: bytes) -> Event:
        if len(raw) > self._limit:
            raise UpstreamError("the upstream sent an event that is too long", detail=f"over {self._limit} bytes")
        text = raw
        if not self._started:
            self._started = True
            text = raw.removeprefix(_BOM)
        name, data = _fields(text)
        return Event(data, name, raw)


def _end_of_simple_block(buffer: bytes, start: int) -> int:
    """Where the first event from `start` ends, when lines end in LF only; 0 when it does not."""
    found = buffer.find(b"\n\n", start)
    return found + 2 if found >= 0 else 0


def _end_of_block(buffer: bytes, start: int) -> int:
    blank = _BLANK_LINE.search(buffer, start)
    if blank is None or (blank.end() == len(buffer) and buffer.endswith(b"\r")):
        return 0  # the line feed of a last CR may be on its way
    return blank.end()


def _fields(text: bytes) -> tuple[str | None, bytes | None]:
    """The `event` and `data` of a block of lines; `id` and `retry` mean nothing to model streams."""
    if b"\r" in text:
        text = _with_line_feeds(text)
    if text.startswith(b"data: ") and text.endswith(b"\n\n") and text.find(b"\n") == len(text) - 2:
        return None, text[6:-2]
    name: str | None = None
    data: bytes | None = None
    for line in text.split(b"\n"):
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value.decode("utf-8", "replace") or None
    return name, data


def _with_line_feeds(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _object(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError:
        return None
    return document if type(document) is dict else None
