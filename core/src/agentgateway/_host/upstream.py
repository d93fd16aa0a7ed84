"""Attempts: route, edit, send, and again while the retry rule and the clock allow.

Nothing here is tried again once a byte of a reply has been handed on. Health, eviction and priority groups belong
into the choice of a target; this file only keeps what failed out of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence

from agentgateway._host.chains import Chain, Steps
from agentgateway._host.suspension import sleep
from agentgateway.errors import GatewayError, InternalError, NoEndpoint, RequestTimeout, UpstreamError
from agentgateway.exchange import Exchange, Reply, Target
from agentgateway.hookspecs import hookimpl

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""Methods whose requests may be sent twice (RFC 9110 section 9.2.2)."""

Phase = Callable[[Steps, Exchange], Awaitable[Reply | None]]


async def attempts(exchange: Exchange, chain: Chain, phase: Phase) -> Reply:
    """Try until an attempt holds. Raises the last attempt's error."""
    while True:
        exchange.attempt.number += 1
        try:
            reply = await attempt(exchange, chain, phase)
        except UpstreamError as error:
            if not (error.retryable and repeatable(exchange, error) and again(exchange)):
                raise in_time(exchange, error) from error.__cause__
        else:
            if not (reply.upstream and retry_wanted(exchange, reply)):
                return reply
            await let_go(reply)
        if exchange.target is not None:
            exchange.attempt.failed.append(exchange.target)
        if exchange.retry is not None and exchange.retry.backoff:
            await sleep(exchange.retry.backoff)


async def attempt(exchange: Exchange, chain: Chain, phase: Phase) -> Reply:
    """One try: choose a target, make the outgoing request, send it."""
    exchange.reply = None
    reply = await phase(chain.route, exchange)
    if reply is not None:
        return reply
    target = exchange.target
    if target is None:
        raise NoEndpoint(detail="no participant of the route phase set a target")
    await target.backend.prepare(exchange)
    reply = await phase(target.steps, exchange)
    if reply is not None:
        return reply
    limit_head(exchange)
    exchange.sent_at = time.monotonic()
    return await target.backend.send(exchange)


def limit_head(exchange: Exchange) -> None:
    """The upstream has no longer to answer than the request has left."""
    outgoing = exchange.outgoing
    if outgoing is None or exchange.deadline is None:
        return
    left = exchange.deadline - time.monotonic()
    if left <= 0:
        raise RequestTimeout
    if outgoing.head_timeout is None or outgoing.head_timeout > left:
        outgoing.head_timeout = left


def in_time(exchange: Exchange, error: UpstreamError) -> GatewayError:
    """The request's own deadline, when that is what ended the attempt."""
    if exchange.deadline is not None and time.monotonic() >= exchange.deadline:
        return RequestTimeout(detail=error.detail)
    return error


def again(exchange: Exchange) -> bool:
    """Whether another try is allowed: the rule, the clock, a body that can be sent twice."""
    rule = exchange.retry
    if rule is None or exchange.attempt.number > rule.attempts or not replayable(exchange):
        return False
    if exchange.deadline is not None and time.monotonic() + rule.backoff >= exchange.deadline:
        return False
    return rule.allows is None or rule.allows(exchange)


def repeatable(exchange: Exchange, error: UpstreamError) -> bool:
    """Whether a failed request may go out a second time: it never went out, its method allows it, or the rule names
    this kind of failure."""
    outgoing, rule = exchange.outgoing, exchange.retry
    return (
        not error.sent
        or (outgoing is not None and outgoing.method in IDEMPOTENT)
        or (rule is not None and error.status in rule.repeats)
    )


def retry_wanted(exchange: Exchange, reply: Reply) -> bool:
    rule = exchange.retry
    if rule is None or reply.status not in rule.codes:
        return False
    exchange.reply = reply
    return again(exchange)


def replayable(exchange: Exchange) -> bool:
    outgoing = exchange.outgoing
    return outgoing is None or isinstance(outgoing.body, bytes) or outgoing.body.data is not None


async def let_go(reply: Reply) -> None:
    close = getattr(reply.body, "aclose", None)
    if close is not None:
        await close()


class WeightedChoice:
    """The route phase's default: by weight among the first priority that has not failed this exchange altogether."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = tuple(target for target in targets if target.weight > 0)
        self._only = self._targets[0] if len(self._targets) == 1 else None

    @hookimpl
    def route(self, exchange: Exchange) -> None:
        if self._only is not None:
            exchange.target = self._only
            return
        failed = exchange.attempt.failed
        left = [target for target in self._targets if target not in failed] or self._targets
        if not left:
            raise InternalError("this route has no backend")
        first = min(target.priority for target in left)
        left = [target for target in left if target.priority == first]
        exchange.target = random.choices(left, [target.weight for target in left])[0]  # noqa: S311
