"""Attempts: route, edit, send, and again while the retry rule, the targets left and the clock allow.

Nothing here is tried again once a byte of a reply has been handed on. Another attempt has one of two reasons: the
policy `retry` asks for it, or the backend fails over (`Backend.fails_over`) and there is a target that has not failed
this exchange. What an attempt came to is counted in its target's health.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from logging import DEBUG

from agentgateway._host.chains import Chain, Steps
from agentgateway._host.resets import retry_after
from agentgateway._host.suspension import sleep
from agentgateway.errors import GatewayError, NoEndpoint, RequestTimeout, UpstreamError
from agentgateway.exchange import Content, Exchange, Reply

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""Methods whose requests may be sent twice (RFC 9110 section 9.2.2)."""
MOVES_ON = frozenset((401, 402, 403, 404, 408, 429, *range(500, 600)))
"""Statuses of model APIs after which another one may do better: what is wrong is the key, the quota, the deployment or
the vendor, not the call."""
UNWELL = frozenset((429, *range(500, 600)))
"""Statuses that count against an endpoint, unless `health.unhealthyExpression` says otherwise."""

ROOT = logging.getLogger()
"""Its level is looked at on every request: an attribute, where asking a logger costs five times as much."""

logger = logging.getLogger("agentgateway.upstream")

LONGEST = 1024

Phase = Callable[[Steps, Exchange], Awaitable[Reply | None]]


async def attempts(exchange: Exchange, chain: Chain, phase: Phase) -> Reply:
    """Try until an attempt holds. Raises the last attempt's error."""
    while True:
        exchange.attempt.number += 1
        try:
            reply = await attempt(exchange, chain, phase)
        except UpstreamError as error:
            if ROOT.level <= DEBUG:
                tell(exchange, f"{error.message}: {error.detail}" if error.detail else error.message)
            if exchange.attempt.watched:
                observe(exchange, None)
            moves = error.retryable and fails_over(exchange)
            if not moves and not (error.retryable and repeatable(exchange, error) and again(exchange)):
                raise in_time(exchange, error) from error.__cause__
        else:
            if ROOT.level <= DEBUG:
                tell(exchange, str(reply.status))
            if exchange.attempt.watched and reply.upstream:
                observe(exchange, reply)
            moves = reply.upstream and reply.status in MOVES_ON and fails_over(exchange)
            if not moves and not (reply.upstream and retry_wanted(exchange, reply)):
                return reply
            await let_go(reply)
        if exchange.target is not None:
            exchange.attempt.failed.append(exchange.target)
        if not moves and exchange.retry is not None and exchange.retry.backoff:
            await sleep(exchange.retry.backoff)


def tell(exchange: Exchange, outcome: str) -> None:
    """What an attempt came to, for who looks into a fault: no query, no header, no body."""
    source, place, target, request = exchange.source, exchange.place, exchange.target, exchange.request
    logger.debug(
        "%s:%d %s %s: route %s, rule %s, attempt %d at %s (%s): %s",
        *(source.address, source.port, request.method, request.path[:LONGEST], place.route, place.route_rule),
        *(exchange.attempt.number, target.name if target else "no target", target.endpoint if target else "-", outcome),
    )


async def attempt(exchange: Exchange, chain: Chain, phase: Phase) -> Reply:
    """One try: choose a target, make the outgoing request, send it."""
    exchange.reply = None
    reply = await phase(chain.route, exchange)
    if reply is not None:
        return reply
    target = exchange.target
    if target is None:
        raise NoEndpoint(detail="no participant of the route phase set a target")
    if exchange.attempt.watched:
        exchange.attempt.rule = None
        exchange.attempt.take(target.health)
    if target.edits:
        exchange.call = call_for(exchange)
        reply = await phase(target.edits, exchange)
        if reply is not None:
            return reply
    reply = await target.backend.prepare(exchange)
    if reply is not None:
        return reply
    reply = await phase(target.steps, exchange)
    if reply is not None:
        return reply
    limit_head(exchange)
    exchange.sent_at = time.monotonic()
    return await target.backend.send(exchange)


def call_for(exchange: Exchange) -> Content | None:
    """A copy of the client's call, for what one target's participants do to it."""
    attempt = exchange.attempt
    if attempt.call is None:
        attempt.call = exchange.call
    return attempt.call.copy() if attempt.call is not None else None


def fails_over(exchange: Exchange) -> bool:
    """Whether another target may be asked in place of the one that failed."""
    target = exchange.target
    if target is None or not exchange.attempt.others or not target.backend.fails_over or not replayable(exchange):
        return False
    return exchange.deadline is None or time.monotonic() < exchange.deadline


def observe(exchange: Exchange, reply: Reply | None) -> None:
    """Count an attempt in its target's health; None says that no reply came."""
    target, rule = exchange.target, exchange.attempt.rule
    if target is None:
        return
    exchange.reply = reply
    if rule is not None and rule.unhealthy is not None:
        unwell = rule.unhealthy(exchange)
    else:
        unwell = reply is None or reply.status in UNWELL
    if not unwell:
        sent, answered = exchange.sent_at, exchange.answered_at
        target.health.succeeded(answered - sent if sent is not None and answered is not None else 0.0)
        return
    hint = retry_after(reply.headers) if reply is not None and reply.status in (429, 503) else None
    evicted = target.health.failed(rule, hint)
    if evicted is not None and rule is not None and rule.evicted is not None:
        rule.evicted(target, evicted)


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
