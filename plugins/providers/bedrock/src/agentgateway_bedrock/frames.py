"""AWS event streams between bytes and events: `application/vnd.amazon.eventstream`.

A frame is a prelude (its length, its headers' length, their CRC), headers, a payload, and the CRC of it all
(https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html). Read by botocore's parser.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Mapping
from struct import error as StructError
from struct import pack
from typing import TYPE_CHECKING, Any

from agentgateway.errors import UpstreamError
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import EVENT_LIMIT, Event

if TYPE_CHECKING:
    from botocore.eventstream import EventStreamMessage

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7
_JSON = "application/json"


class Frame(Event):
    """One frame. `name` is the type of its event or exception; `failed` says that it is an exception or an error."""

    __slots__ = ("_headers", "failed")

    def __init__(self, headers: Mapping[str, Any], payload: bytes, raw: bytes) -> None:
        kind = headers.get(":message-type")
        self.failed = kind in ("exception", "error")
        if kind == "error":  # what a service that cannot go on says has no payload
            payload = dump({"message": str(headers.get(":error-message", ""))})
        name = headers.get(":exception-type") or headers.get(":error-code") or headers.get(":event-type")
        super().__init__(payload, str(name) if name is not None else None, raw)
        self._headers = headers

    def encode(self) -> bytes:
        if not self.changed or self.document is None:
            return self.raw
        return frame(dump(self.document), self._headers)


class FrameParser:
    """Bytes in any portions to frames. `limit` bounds one frame, in bytes."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        from botocore.eventstream import EventStreamBuffer  # 25 ms, for those who speak to this vendor only

        self._buffer = EventStreamBuffer()
        self._held = b""
        self._limit = limit

    def feed(self, chunk: bytes) -> list[Event]:
        """The frames that are complete now. Raises `UpstreamError` for one longer than the limit, and for bytes that
        are none: a checksum that does not hold, headers of no known form."""
        held = self._held = self._held + chunk
        self._buffer.add_data(chunk)
        events: list[Event] = []
        start = 0
        while (found := self._next(held[start : start + 4])) is not None:
            end = start + found.prelude.total_length
            events.append(Frame(found.headers, found.payload, held[start:end]))
            start = end
        self._held = held[start:]
        return events

    @property
    def waiting(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._held)

    def end(self) -> list[Event]:
        """Nothing: half a frame cannot be read."""
        return []

    def _next(self, length: bytes) -> EventStreamMessage | None:
        from botocore.eventstream import ParserError

        if len(length) == 4 and int.from_bytes(length) > self._limit:
            raise UpstreamError("the upstream sent an event that is too long", detail=f"over {self._limit} bytes")
        try:
            return next(self._buffer, None)
        except (ParserError, StructError, KeyError, ValueError) as error:
            raise UpstreamError("the upstream sent an event that cannot be read", detail=repr(error)) from None


def event(name: str, payload: dict[str, Any]) -> bytes:
    """The frame of an event."""
    return frame(dump(payload), {":event-type": name, ":content-type": _JSON, ":message-type": "event"})


def exception(name: str, payload: dict[str, Any]) -> bytes:
    """The frame of an exception, which ends the stream."""
    return frame(dump(payload), {":exception-type": name, ":content-type": _JSON, ":message-type": "exception"})


def frame(payload: bytes, headers: Mapping[str, Any]) -> bytes:
    """A frame with these headers, all of them texts."""
    fields = b"".join(_field(name, str(value)) for name, value in headers.items())
    prelude = pack("!II", 16 + len(fields) + len(payload), len(fields))
    body = b"".join((prelude, pack("!I", crc32(prelude)), fields, payload))
    return body + pack("!I", crc32(body))


def _field(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return b"%c%b%c%b%b" % (len(key), key, _STRING, pack("!H", len(text)), text)
