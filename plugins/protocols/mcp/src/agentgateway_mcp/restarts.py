"""How long to leave a server alone that keeps failing."""

from __future__ import annotations

import time
from collections.abc import Callable

SHORTEST = 0.5
LONGEST = 60.0
STEADY = 60.0
"""Seconds without a failure, after which the next one counts as the first."""


class Restarts:
    """Twice as long after every failure, half a second to a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._not_before = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next try, 0 for now."""
        return max(0.0, self._not_before - self._clock())

    def failed(self) -> float:
        """One more failure; returns the wait. Those of several children at once count as one."""
        now = self._clock()
        if now < self._not_before:
            return self.wait
        self._failures = 1 if now - self._not_before > STEADY else self._failures + 1
        self._not_before = now + min(LONGEST, SHORTEST * 2 ** min(self._failures - 1, 16))
        return self.wait
