"""How targets do, by the policy `health` that stands on them: one that fails is left alone for a while when all are
asked."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from agentgateway.exchange import Exchange, Reply, Target
from agentgateway.health import HealthRule
from agentgateway_mcp.servers import Answer

UNWELL = frozenset((429, *range(500, 600)))


class Wellness:
    """The targets of one backend."""

    def __init__(self) -> None:
        self._rules: dict[str, HealthRule | None] = {}

    def left_alone(self, members: Mapping[str, Target], asked: Collection[str]) -> frozenset[str]:
        """Those that are not to be asked now; none when that were all."""
        if not self._rules:
            return frozenset()
        now = time.monotonic()
        resting = frozenset(name for name in asked if name in self._rules and not members[name].health.active(now))
        return resting if len(resting) < len(asked) else frozenset()

    def ready(self, exchange: Exchange) -> None:
        """A request is about to be sent to its target."""
        if exchange.attempt.watched and exchange.target is not None:
            self._rules[exchange.target.name] = exchange.attempt.rule

    def answered(self, exchange: Exchange, answer: Answer | None) -> None:
        """What came of it; None is nothing."""
        target = exchange.target
        if target is None or not exchange.attempt.watched:
            return
        rule = exchange.attempt.rule
        exchange.reply = Reply(answer.status, answer.headers) if answer is not None else None
        if rule is not None and rule.unhealthy is not None:
            unwell = rule.unhealthy(exchange)
        else:
            unwell = answer is None or answer.status in UNWELL
        if unwell:
            self.failed(target)
        else:
            sent = exchange.sent_at
            target.health.succeeded(time.monotonic() - sent if sent is not None else 0.0)

    def failed(self, target: Target) -> None:
        """It did not answer, or not well. Only that of a target with a policy counts."""
        if target.name not in self._rules:
            return
        rule = self._rules[target.name]
        seconds = target.health.failed(rule)
        if seconds is not None and rule is not None and rule.evicted is not None:
            rule.evicted(target, seconds)
