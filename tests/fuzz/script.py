"""What a client does, written as bytes: mostly what it sends, and between that, marked by 0xff, what happens meanwhile.

A corpus file reads like the traffic it stands for: `POST /read HTTP/1.1\\r\\n…` with `\\xffs` where one read ends and
the next begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

MARK = 0xFF
REPEAT = ord("R")
UNIT = 64
"""`\\xffR` n c stands for 64·n times c."""
MOST = 32 * 1024
"""Bytes that one script sends, repeats included."""


class Event(Enum):
    """What happens between two reads. Everything after `BYTEWISE` comes in single bytes, until the next event."""

    SPLIT = "s"
    SETTLE = "S"
    BYTEWISE = "1"
    SECOND = "w"
    LONG = "W"
    STOPS_READING = "p"
    READS_ON = "r"
    HALF_CLOSES = "e"
    RESETS = "x"
    UPSTREAM = "u"
    UPSTREAM_FAILS = "U"
    DRAIN = "d"
    RETIRE = "q"
    CUT = "c"


_EVENTS = {ord(event.value): event for event in Event}


def steps(script: bytes) -> Iterator[bytes | Event]:
    """Pieces as they are read from the socket, and events, in order."""
    piece, sent, bytewise = bytearray(), 0, False
    rest = iter(script)
    for byte in rest:
        event = None
        if byte != MARK:
            piece.append(byte)
        elif (code := next(rest, MARK)) == REPEAT:
            count = next(rest, 1) * UNIT
            piece += bytes((next(rest, 0x61),)) * count
        elif (event := _EVENTS.get(code)) is None:
            piece.append(code)
        if event is not None or sent + len(piece) >= MOST:
            yield from _pieces(piece, bytewise)
            sent += len(piece)
            piece.clear()
            bytewise = event is Event.BYTEWISE
        if event is not None:
            yield event
        if sent >= MOST:
            return
    yield from _pieces(piece, bytewise)


def _pieces(piece: bytearray, bytewise: bool) -> Iterator[bytes]:
    if bytewise:
        yield from (bytes((byte,)) for byte in piece)
    elif piece:
        yield bytes(piece)
