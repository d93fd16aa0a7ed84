"""Token buckets in this process's memory; the arithmetic that every implementation shares."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agentgateway.interfaces import Bucket, Buckets, Taken

MAX_KEYS = 100_000


def filled(level: int, since: float, now: float, rule: Bucket) -> tuple[int, float]:
    """A bucket's level and the time of its last fill, brought up to `now`, for one that was filled an `interval` ago
    or longer. Fills come whole, every `interval`."""
    fills = int((now - since) / rule.interval)
    return min(rule.capacity, level + fills * rule.fill), since + fills * rule.interval


@dataclass(slots=True)
class _State:
    """What a bucket holds since its last fill."""

    level: int
    since: float


class MemoryBuckets(Buckets):
    """Buckets by key; the least recently used give way above `MAX_KEYS`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: OrderedDict[str, _State] = OrderedDict()

    def take(self, key: str, rule: Bucket, amount: int = 1, *, force: bool = False) -> Taken:
        clock, states = self._clock, self._states
        now, state = clock(), states.get(key)
        if state is None:
            state = self._new(key, rule, now)
        else:
            states.move_to_end(key)
        level, since = state.level, state.since
        if now - since >= rule.interval:
            level, since = filled(level, since, now, rule)
        allowed = level >= amount if amount else level > 0
        if allowed or force:
            level -= amount
        state.level, state.since = level, since
        return Taken(allowed, level if level > 0 else 0, since + rule.interval - now)

    def _new(self, key: str, rule: Bucket, now: float) -> _State:
        """A full bucket; one that nobody used for the longest time gives way to it."""
        state = self._states[key] = _State(rule.capacity, now)
        if len(self._states) > MAX_KEYS:
            self._states.popitem(last=False)
        return state
