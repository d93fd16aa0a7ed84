"""What vendors put on the wire: the transcripts of `golden/`, written from the vendors' published formats.

A transcript has sections, `--- request` (a call's document), `--- reply` and `--- stream` (answers with their heads).
Streams of frames are written as lines, each the name of an event or exception and its document.
"""

from binascii import crc32
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from struct import pack

from agentgateway.testing.upstreams import LAST, chunk

GOLDEN = Path(__file__).parent.parent / "golden"
END = b""
"""Among the pieces of an answer: the vendor dies here."""


@cache
def section(folders: tuple[str, ...], name: str, title: str) -> str:
    """A section of the first of those folders' transcripts that has it. Raises `LookupError`."""
    for folder in folders:
        file = GOLDEN / folder / f"{name}.txt"
        for part in file.read_text().split("--- ")[1:] if file.exists() else ():
            head, _, text = part.partition("\n")
            if head == title:
                return text
    raise LookupError(f"no {title} of {name} in {folders}")


@cache
def whole(folders: tuple[str, ...], name: str) -> tuple[bytes, bytes]:
    """The head and the body of a buffered answer."""
    head, body = _parts(section(folders, name, "reply"))
    return _head(head, f"content-length: {len(body)}"), body


@cache
def streamed(folders: tuple[str, ...], name: str) -> tuple[bytes, bytes]:
    """The head of a chunked answer, and its events."""
    head, body = _parts(section(folders, name, "stream"))
    framed = "vnd.amazon.eventstream" in head
    events = b"".join(map(_frame, body.decode().split("\n"))) if framed else body + b"\n\n"
    return _head(head, "transfer-encoding: chunked"), events


def up_to(events: bytes, word: bytes) -> bytes:
    """A stream that ends behind the event that has that word."""
    at = events.index(word)
    if not events.startswith(b"\0"):
        return events[: events.index(b"\n\n", at) + 2]
    end = 0
    while end < at:
        end += int.from_bytes(events[end : end + 4])
    return events[:end]


def _frame(line: str) -> bytes:
    """https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream"""
    name, _, document = line.partition(" ")
    kind, payload = "exception" if name.endswith("Exception") else "event", document.encode()
    told = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    fields = b"".join(
        pack("!B", len(key)) + key.encode() + pack("!BH", 7, len(text)) + text.encode() for key, text in told.items()
    )
    prelude = pack("!II", 16 + len(fields) + len(payload), len(fields))
    message = prelude + pack("!I", crc32(prelude)) + fields + payload
    return message + pack("!I", crc32(message))


def pieces(head: bytes, events: bytes, end: bytes = LAST) -> list[bytes]:
    """A stream in pieces that respect neither events nor characters."""
    return [head, *(chunk(events[start : start + 29]) for start in range(0, len(events), 29)), end]


async def played(said: list[bytes]) -> AsyncIterator[bytes]:
    for piece in said:
        if piece == END:
            raise ConnectionError("the vendor dies here")
        yield piece


def _parts(message: str) -> tuple[str, bytes]:
    head, _, body = message.partition("\n\n")
    return head, body.strip().encode()


def _head(head: str, framing: str) -> bytes:
    return f"{head}\n{framing}\n\n".replace("\n", "\r\n").encode()
