"""What a child process says besides messages, in the log: bounded, printable, and without its credentials."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable

LONGEST = 1000
"""Characters of one line."""
BURST = 100
PER_SECOND = 20.0

UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
SHORTEST_SECRET = 8
"""Shorter ones are words that may stand anywhere (`true`, `info`)."""

logger = logging.getLogger("agentgateway.mcp.stdio")


class Remarks:
    """Lines of one child, tagged with its target. At most `BURST` at once and `PER_SECOND` in the long run; how many
    were left out is said with the next one."""

    def __init__(self, tag: str, secrets: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._tag = tag
        lines = [line for text in secrets for line in text.splitlines() if len(line) >= SHORTEST_SECRET]
        self._secrets = sorted(lines, key=len, reverse=True)
        self._clock = clock
        self._left = float(BURST)
        self._filled = clock()
        self._dropped = 0

    def add(self, line: bytes, what: str = "stderr", level: int = logging.INFO) -> None:
        if not logger.isEnabledFor(level) or not line.strip():
            return
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._filled) * PER_SECOND)
        self._filled = now
        if self._left < 1:
            self._dropped += 1
            return
        self._left -= 1
        if self._dropped:
            logger.warning("%s: %d lines left out", self._tag, self._dropped)
            self._dropped = 0
        logger.log(level, "%s %s: %s", self._tag, what, self._shown(line))

    def _shown(self, line: bytes) -> str:
        text = line.decode("utf-8", "replace").strip()
        for secret in self._secrets:  # before it is cut, which might leave a part of one
            text = text.replace(secret, "***")
        text = UNPRINTABLE.sub("?", text)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
