"""The policy, and its two participants: requests are counted when they come, tokens when they were used."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial

from agentgateway.errors import RateLimited
from agentgateway.exchange import Exchange, Usage
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Bucket, Host, Participant, Policy
from agentgateway.llm.realtime import RealtimeCall
from agentgateway_traffic_ratelimit.config import LimitConfig, LocalRateLimitConfig
from agentgateway_traffic_ratelimit.limits import LIMIT, Limit, left, report

FREE = "count_tokens"
"""The operation that uses no tokens."""


class LocalRateLimit(Policy):
    """Limits requests, and the tokens of model calls."""

    Config = LocalRateLimitConfig
    phases = ("pre_request", "route", "log")

    def __init__(self, config: LocalRateLimitConfig, host: Host) -> None:
        super().__init__(config, host)
        limits = [(one.type, limit(one, index, host)) for index, one in enumerate(config.root)]
        requests = [one for kind, one in limits if kind == "requests"]
        tokens = [one for kind, one in limits if kind == "tokens"]
        self.models_only = [f"[{index}].type" for index, one in enumerate(config.root) if one.type == "tokens"]
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
        (LIMIT, str(config.max_tokens)),
    )


class RequestLimits:
    """Every request takes one from each bucket, until one of them has none."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._first, *others = limits
        self._others = tuple(others)

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        tightest = self._first
        least = tightest.take(exchange)
        for limit in self._others:
            if not least.allowed:
                break
            taken = limit.take(exchange)
            if left(taken) < left(least):
                tightest, least = limit, taken
        report(exchange, tightest, least)


class TokenLimits:
    """A model call needs something left in each bucket; what it used is taken at its end, also below zero; what a
    session used, at the end of each turn."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        self._owners: dict[int, list[tuple[Limit, str]]] = {}  # by exchange, from its first attempt to its log phase

    @hookimpl
    def route(self, exchange: Exchange) -> None:
        call = exchange.call
        if call is None or exchange.attempt.number != 1 or getattr(call, "operation", None) == FREE:
            return
        owners = [(limit, limit.owner(exchange)) for limit in self._limits]
        outcomes = [(limit, limit.buckets.take(owner, limit.rule, 0)) for limit, owner in owners]
        limit, least = outcomes[0] if len(outcomes) == 1 else min(outcomes, key=lambda outcome: left(outcome[1]))
        report(exchange, limit, least)
        if type(exchange.call) is RealtimeCall:
            exchange.call.charges.append(partial(charge, owners))
        else:
            self._owners[id(exchange)] = owners

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        owners = self._owners.pop(id(exchange), None)
        usage = exchange.usage
        if owners is None or usage is None or exchange.sent_at is None:
            return
        for limit, owner in owners:
            limit.buckets.take(owner, limit.rule, usage.total_tokens, force=True)


def charge(owners: Sequence[tuple[Limit, str]], usage: Usage) -> None:
    """Take what a turn of a session used. Raises `RateLimited` when nothing is left for another one."""
    outcomes = [(one, one.buckets.take(owner, one.rule, usage.total_tokens, force=True)) for one, owner in owners]
    for one, taken in outcomes:
        if taken.remaining <= 0:
            raise RateLimited(detail=one.name)
