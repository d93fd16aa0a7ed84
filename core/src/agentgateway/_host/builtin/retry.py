"""The policy `retry`: which failures are worth another attempt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentgateway.exchange import Exchange, RetryRule
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway.settings import CelText, Duration, PluginConfig

ANY_STATUS = frozenset(range(100, 600))


class RetryConfig(PluginConfig):
    """Try again after a failed connection, and after the replies and failures named here."""

    attempts: Annotated[int, Field(ge=0, le=100)] = 1
    """How many more attempts there may be after the first."""
    backoff: Duration = 0.0
    """How long to wait before each of them."""
    codes: frozenset[Annotated[int, Field(ge=100, le=599)]] = frozenset()
    """Statuses of replies that are worth another attempt. Those of failures (502, 503, 504) say that even a request
    that may have been executed, and whose method is not safe to repeat, is sent again."""
    precondition: CelText | None = None
    """Only requests for which this is true are tried again."""
    condition: CelText | None = None
    """Only replies for which this is true lead to another attempt; without `codes`, replies of any status."""


class Retry(Policy):
    """Says when another attempt may follow, and tells upstreams which one it is (`x-retry-attempt`)."""

    Config = RetryConfig

    def __init__(self, config: RetryConfig, host: Host) -> None:
        super().__init__(config, host)
        self._precondition = host.expression(config.precondition) if config.precondition is not None else None
        self._condition = host.expression(config.condition) if config.condition is not None else None
        codes = ANY_STATUS if self._condition is not None and not config.codes else config.codes
        guarded = self._precondition is not None or self._condition is not None
        self._rule = RetryRule(config.attempts, config.backoff, codes, self._allows if guarded else None, config.codes)

    @hookimpl
    def accept(self, exchange: Exchange) -> None:
        exchange.retry = self._rule

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        number = exchange.attempt.number
        if number > 1 and exchange.outgoing is not None:
            exchange.outgoing.headers.set("x-retry-attempt", str(number - 1))

    def _allows(self, exchange: Exchange) -> bool:
        """Asked after a failure, when the caller is known. Without a reply there is nothing to ask `condition`."""
        if not _true(self._precondition, exchange):
            return False
        return exchange.reply is None or _true(self._condition, exchange)


def _true(expression: Expression | None, exchange: Exchange) -> bool:
    try:
        return expression is None or expression.holds(exchange)
    except ExpressionError:
        return False
