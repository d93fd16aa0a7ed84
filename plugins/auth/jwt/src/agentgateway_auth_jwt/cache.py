"""Tokens that were verified a moment ago. Bounded in number and time; holds digests and claims, no tokens."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NewType

SIZE = 10_000
LONGEST = 300.0
"""Seconds that a verified token is believed at most; a shorter-lived one only until its `exp`."""

TokenDigest = NewType("TokenDigest", bytes)
"""All of a token in 32 bytes. A part of a token would let one caller be taken for another (CVE-2026-35030)."""


def token_digest(token: str) -> TokenDigest:
    return TokenDigest(hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32).digest())


@dataclass(frozen=True, slots=True)
class Verified:
    """What a valid token says: its subject, its claims, and until when (seconds of the epoch) it may be believed."""

    subject: str
    claims: Mapping[str, Any]
    until: float


class VerifiedTokens:
    """The last `size` verified tokens of one policy, the least recently used leaves first."""

    def __init__(self, size: int = SIZE, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[TokenDigest, Verified] = OrderedDict()

    def get(self, digest: TokenDigest) -> Verified | None:
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if entry.until <= self._clock():
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return entry

    def add(self, digest: TokenDigest, claims: dict[str, Any]) -> Verified:
        """Remember a token that was just verified, as long as its `exp` allows."""
        now = self._clock()
        longest = now + LONGEST
        until = min(longest, float(claims["exp"])) if claims.get("exp") is not None else longest
        subject = claims.get("sub")
        entry = Verified(subject if isinstance(subject, str) else "", {**claims, "rawToken": "***"}, until)
        if until > now:
            self._entries[digest] = entry
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return entry

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
