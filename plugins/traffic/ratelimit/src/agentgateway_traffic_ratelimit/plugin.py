"""The policy, and its two participants: requests are counted when they come, tokens when they were used."""

import hashlib
from collections.abc import Iterable, Sequence

from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Bucket, Host, Participant, Policy
from agentgateway_traffic_ratelimit.config import LimitConfig, LocalRateLimitConfig
from agentgateway_traffic_ratelimit.limits import Limit, report


class LocalRateLimit(Policy):
    """Limits requests, and the tokens of model calls."""

    Config = LocalRateLimitConfig
    phases = ("pre_request", "route", "log")

    def __init__(self, config: LocalRateLimitConfig, host: Host) -> None:
        super().__init__(config, host)
        limits = [(one.type, limit(one, index, host)) for index, one in enumerate(config.root)]
        requests = [one for kind, one in limits if kind == "requests"]
        tokens = [one for kind, one in limits if kind == "tokens"]
        self._parts: list[Participant] = []
        if requests:
            self._parts.append(Participant(RequestLimits(requests), "localRateLimit"))
        if tokens:
            self._parts.append(Participant(TokenLimits(tokens), "localRateLimit.tokens"))

    def participants(self) -> Iterable[Participant]:
        return self._parts


def limit(config: LimitConfig, index: int, host: Host) -> Limit:
    """A limit whose buckets outlast a reload that leaves it where and as it is."""
    digest = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
    return Limit(
        f"localRateLimit[{index}]",
        Bucket(config.max_tokens, config.tokens_per_fill, config.fill_interval),
        host.buckets(f"{host.at}[{index}] {digest}"),
        host.expression(config.key) if config.key else None,
    )


class RequestLimits:
    """Every request takes one from each bucket, until one of them has none."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        outcomes = []
        for limit in self._limits:
            taken = limit.buckets.take(limit.owner(exchange), limit.rule)
            outcomes.append((limit, taken))
            if not taken.allowed:
                break
        report(exchange, outcomes)


class TokenLimits:
    """A model call needs something left in each bucket; what it used is taken at its end, also below zero."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self._owners: dict[int, list[str]] = {}  # by exchange, from its first attempt to its log phase

    @hookimpl
    def route(self, exchange: Exchange) -> None:
        if exchange.call is None or exchange.attempt.number != 1:
            return
        owners = [limit.owner(exchange) for limit in self._limits]
        outcomes = [
            (limit, limit.buckets.take(owner, limit.rule, 0)) for limit, owner in zip(self._limits, owners, strict=True)
        ]
        report(exchange, outcomes)
        self._owners[id(exchange)] = owners

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        owners = self._owners.pop(id(exchange), None)
        if owners is None or exchange.sent_at is None or exchange.usage is None:
            return
        for limit, owner in zip(self._limits, owners, strict=True):
            limit.buckets.take(owner, limit.rule, exchange.usage.total_tokens, force=True)
