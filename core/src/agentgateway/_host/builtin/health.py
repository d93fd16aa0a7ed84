"""The policies `health`, which says when an endpoint is left alone, and `sessionAffinity`, which sends the same
requester to the same one."""

from __future__ import annotations

import logging
from typing import ClassVar

from pydantic import Field

from agentgateway.exchange import Exchange, Target
from agentgateway.expressions import ExpressionError
from agentgateway.health import LABELS, HealthRule
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.settings import CelText, Duration, PluginConfig

logger = logging.getLogger("agentgateway.health")


class Eviction(PluginConfig):
    """When an unhealthy endpoint is left alone, and for how long."""

    duration: Duration | None = None
    """For how long; multiplied by the number of evictions in a row. Absent: what the upstream asks for (`Retry-After`
    and the vendors' own reset headers), else 3s."""
    restore_health: float | None = Field(None, ge=0, le=1)
    """The score an endpoint comes back with; absent, the one it had."""
    consecutive_failures: int | None = Field(None, ge=1)
    """Evict after so many failures in a row."""
    health_threshold: float | None = Field(None, ge=0, le=1)
    """Evict when the score was below this before the failure. With neither this nor `consecutiveFailures`, one failure
    evicts; with both, either does."""


class HealthConfig(PluginConfig):
    """How the health of an endpoint is judged."""

    unhealthy_expression: CelText | None = None
    """True for an attempt that failed (`response.code == 529`); absent, a failed connection, 429 or 5xx."""
    eviction: Eviction | None = None
    """Leave an unhealthy endpoint alone; absent, its health only moves the choice."""


class HealthPolicy(Policy):
    """Judges each attempt. What it evicts is counted and logged."""

    Config = HealthConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})

    def __init__(self, config: HealthConfig, host: Host) -> None:
        super().__init__(config, host)
        source = config.unhealthy_expression
        self._expression = host.expression(source) if source is not None else None
        eviction = config.eviction or Eviction()
        self._evictions = host.counter("endpoint_evictions", "Endpoints left alone for a while.", LABELS)
        self._rule = HealthRule(
            self._unhealthy if self._expression is not None else None,
            config.eviction is not None,
            eviction.duration,
            eviction.restore_health,
            eviction.consecutive_failures,
            eviction.health_threshold,
            self._evicted,
        )

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        exchange.attempt.watched = True
        exchange.attempt.rule = self._rule

    def _unhealthy(self, exchange: Exchange) -> bool:
        """A failed connection has no reply to ask about: it is unhealthy whatever the expression."""
        assert self._expression is not None
        return exchange.reply is None or self._expression.holds_or(exchange, False)

    def _evicted(self, target: Target, seconds: float) -> None:
        self._evictions.add((target.provider, target.name, target.endpoint))
        logger.warning("%s (%s) is evicted for %.1f s", target.name, target.endpoint, seconds)


class AffinityConfig(PluginConfig):
    """Who counts as the same requester."""

    source: CelText
    """The key: `apiKey.name`, `request.headers["x-session-id"]`. What cannot be computed leaves the choice as it is."""


class SessionAffinity(Policy):
    """Chooses by rendezvous hash of a key: the same endpoint while it is well, and only its own keys move if not."""

    Config = AffinityConfig

    def __init__(self, config: AffinityConfig, host: Host) -> None:
        super().__init__(config, host)
        self._key = host.expression(config.source)

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        try:
            value = self._key.value(exchange)
        except ExpressionError:
            return
        if value is not None and value != "":
            exchange.attempt.affinity = str(value)
