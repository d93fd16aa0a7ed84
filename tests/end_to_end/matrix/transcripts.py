"""What vendors put on the wire: the transcripts of `golden/`, written from the vendors' published formats.

A transcript has sections, `--- request` (a call's document), `--- reply` and `--- stream` (answers with their heads).
"""

from collections.abc import AsyncIterator
from pathlib import Path

from agentgateway.testing.upstreams import LAST, chunk

GOLDEN = Path(__file__).parent.parent / "golden"
END = b""
"""Among the pieces of an answer: the vendor dies here."""


def section(folders: tuple[str, ...], name: str, title: str) -> str:
    """A section of the first of those folders' transcripts that has it. Raises `LookupError`."""
    for folder in folders:
        file = GOLDEN / folder / f"{name}.txt"
        for part in file.read_text().split("--- ")[1:] if file.exists() else ():
            head, _, text = part.partition("\n")
            if head == title:
                return text
    raise LookupError(f"no {title} of {name} in {folders}")


def whole(folders: tuple[str, ...], name: str) -> tuple[bytes, bytes]:
    """The head and the body of a buffered answer."""
    head, body = _parts(section(folders, name, "reply"))
    return _head(head, f"content-length: {len(body)}"), body


def streamed(folders: tuple[str, ...], name: str) -> tuple[bytes, bytes]:
    """The head of a chunked answer, and its events."""
    head, body = _parts(section(folders, name, "stream"))
    return _head(head, "transfer-encoding: chunked"), body + b"\n\n"


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
