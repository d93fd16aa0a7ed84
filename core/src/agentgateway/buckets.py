"""Token buckets in this process's memory; the arithmetic that every implementation shares."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from agentgateway.interfaces import Bucket, Buckets, Taken

MAX_KEYS = 100_000


def filled(level: float, since: float, now: float, rule: Bucket) -> tuple[float, float]:
    """A bucket's level and the time of its last fill, brought up to `now`. Fills come whole, every `interval`."""
    fills = int((now - since) / rule.interval)
    if fills <= 0:
        return level, since
    return min(float(rule.capacity), level + fills * rule.fill), since + fills * rule.interval


class MemoryBuckets(Buckets):
    """Buckets by key; the least recently used give way above `MAX_KEYS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._state: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, rule: Bucket, amount: int = 1, *, force: bool = False) -> Taken:
        now = self._clock()
        level, since = self._state.get(key) or (float(rule.capacity), now)
        level, since = filled(level, since, now, rule)
        allowed = level > 0 if amount == 0 else level >= amount
        if allowed or force:
            level -= amount
        self._state[key] = (level, since)
        self._state.move_to_end(key)
        if len(self._state) > MAX_KEYS:
            self._state.popitem(last=False)
        return Taken(allowed, max(0, int(level)), since + rule.interval - now)
