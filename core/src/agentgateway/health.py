"""How endpoints are doing: averages that a choice between them goes by, and evictions.

Formulas and defaults are those of the reference (its section 2.4), so that a dashboard reads the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentgateway.exchange import Exchange, Target

ALPHA = 0.3
"""The weight of the newest observation in both averages."""
DEFAULT_EVICTION = 3.0
"""Seconds, when neither the configuration nor the upstream says how long."""
LONGEST_EVICTION = 3600.0
"""Seconds: what an upstream asks for, or many evictions in a row add up to, ends here."""


LABELS = ("gen_ai_system", "backend", "endpoint")
"""Of metrics of an endpoint: its provider, its name and where it is."""


@dataclass(frozen=True, slots=True)
class HealthRule:
    """The policy `health`, compiled. `unhealthy` judges an attempt that has ended (its reply is `exchange.reply`, None
    when there was none); without `evicts` it only moves the averages. `duration` is in seconds."""

    unhealthy: Callable[[Exchange], bool] | None = None
    evicts: bool = False
    duration: float | None = None
    restore: float | None = None
    consecutive: int | None = None
    threshold: float | None = None
    evicted: Callable[[Target, float], object] | None = None
    """Told of each eviction, with its seconds."""


class Health:
    """One endpoint's state, shared by all routes that lead to it.

    `score` is the average of outcomes (1 good, 0 bad), `latency` that of seconds to the head of a good reply,
    `in_flight` the attempts under way. `evicted_until` is on the monotonic clock.
    """

    __slots__ = ("_until", "evictions", "failures", "in_flight", "latency", "restores", "score")

    def __init__(self) -> None:
        self.score = 1.0
        self.latency = 0.0
        self.in_flight = 0
        self.failures = 0
        self.evictions = 0
        self._until: MutableSequence[float] = [0.0]
        self.restores: float | None = None

    @property
    def evicted_until(self) -> float:
        return self._until[0]

    @evicted_until.setter
    def evicted_until(self, until: float) -> None:
        self._until[0] = until

    def share(self, until: MutableSequence[float]) -> None:
        """Keep the end of an eviction there, where other processes keep it, too."""
        self._until = until

    @property
    def rank(self) -> float:
        """What a choice prefers the higher of."""
        return self.score / (1 + self.latency * (1 + 0.1 * self.in_flight))

    def active(self, now: float) -> bool:
        """Whether it may be chosen; the first question after an eviction's end restores it."""
        if self._until[0] > now:
            return False
        if self.restores is not None:
            self.score, self.restores = self.restores, None
        return True

    def succeeded(self, latency: float) -> None:
        self.score += ALPHA * (1.0 - self.score)
        self.latency = latency if self.latency == 0.0 else self.latency + ALPHA * (latency - self.latency)
        self.failures = self.evictions = 0

    def failed(self, rule: HealthRule | None, hint: float | None = None) -> float | None:
        """Count a failure. Returns for how many seconds the endpoint is evicted now, None when it stays; `hint` is how
        long the upstream asked to be left alone."""
        before = self.score
        self.score -= ALPHA * self.score
        self.failures += 1
        if rule is None or not rule.evicts or not self._enough(rule, before):
            return None
        seconds = rule.duration if rule.duration is not None else hint if hint is not None else DEFAULT_EVICTION
        self.evictions += 1
        seconds = min(seconds * self.evictions, LONGEST_EVICTION)
        self.evicted_until = time.monotonic() + seconds
        self.restores = rule.restore
        return seconds

    def _enough(self, rule: HealthRule, before: float) -> bool:
        """Either threshold will do; with none, one failure is enough."""
        if rule.consecutive is None and rule.threshold is None:
            return True
        return (rule.consecutive is not None and self.failures >= rule.consecutive) or (
            rule.threshold is not None and before < rule.threshold
        )

    def __repr__(self) -> str:
        return f"<Health {self.score:.2f} {self.latency * 1000:.0f} ms {self.in_flight} in flight>"
