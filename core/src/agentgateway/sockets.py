"""WebSockets as the gateway passes them on: messages one way, messages the other, and an end with a code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

Message: TypeAlias = str | bytes
"""A whole message: text or binary."""

NORMAL, GOING_AWAY, UNSUPPORTED, NO_CODE, LOST = 1000, 1001, 1003, 1005, 1006
REFUSED, TOO_BIG, FAILED = 1008, 1009, 1011
"""Codes of RFC 6455 section 7.4.1. `NO_CODE` and `LOST` are never sent: they say that none came."""


class SocketClosed(Exception):
    """The WebSocket has ended, by whoever is at its other end: with that code, and that reason."""

    def __init__(self, code: int = LOST, reason: str = "") -> None:
        super().__init__(f"closed with {code}")
        self.code = code
        self.reason = reason


class Duplex(AsyncIterator[bytes]):
    """One end of a WebSocket, which stands where a reply has its stream (`Reply.body`), and is none: it has messages.
    Whoever wraps one passes on what it does not care for. Pings are answered by whoever they come to."""

    subprotocol: str | None = None
    """What both ends agreed on."""

    async def __anext__(self) -> bytes:
        raise TypeError("a WebSocket has messages, and is no stream of bytes")

    async def receive(self) -> Message:
        """The next message. Raises `SocketClosed`, `UpstreamError`, and what a guard says of it."""
        raise NotImplementedError

    async def send(self, message: Message) -> None:
        """Send, at the pace the other end reads. Raises `SocketClosed`, and what a guard says of it."""
        raise NotImplementedError

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye. Raises nothing."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Ask for a sign of life, so that nobody on the way takes the silence for the end. Raises `SocketClosed`."""

    def failure(self, status: int, code: str, message: str) -> Message | None:
        """An error in the words of whoever speaks here, to be sent before the end; None where there are none."""
        return None

    async def aclose(self) -> None:
        """Let go of it, whatever state it is in."""
        raise NotImplementedError


def sendable(code: int) -> int:
    """The code to pass on for one that was received (RFC 6455 section 7.4.1)."""
    if code == LOST:
        return GOING_AWAY
    return NORMAL if code == NO_CODE or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code == 1004 else code
