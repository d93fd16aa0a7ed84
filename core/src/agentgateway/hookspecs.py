"""The eight phases of every request, and the two markers that plugins use. Read this page first.

A participant is any object with one or more of these methods, each marked `@hookimpl`, `def` or `async def`::

    class Greeting(Policy):
        @hookimpl
        def pre_request(self, exchange: Exchange) -> Reply | None:
            if exchange.request.path == "/hello":
                return Reply.text(200, "hello")
            return None

Three things may happen in a hook, and nothing else:

- it returns None: the request goes on;
- it returns a `Reply`: that is the answer, later phases up to `upstream` are skipped (`accept` to `upstream` only);
- it raises a `GatewayError`: the protocol writes it in the client's own dialect. Any other exception is a bug: the
  client gets a 500 that says nothing, the log names the participant.

Within a phase the order is gateway, listener, route, backend; inside a level the published policy order, then
`after`/`before`, then the order of the file. `agentgateway explain -f FILE` prints it for each route. On the way back
(`post_response`) the order is reversed. `tryfirst`, `trylast` and wrappers are refused: the order is in one place.

A chain of plain functions runs without a task, so a `def` hook must not block; one `async def` in a chain gives the
request a task of its own, same code, same results. A `def` hook that must wait for few requests returns `Later`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pluggy

from agentgateway.exchange import Exchange, Reply

hookspec = pluggy.HookspecMarker("agentgateway")
hookimpl = pluggy.HookimplMarker("agentgateway")


class Later:
    """What a `def` hook of `accept` to `upstream` returns when this one request has to wait for something: the
    coroutine function that goes on in its place, in a task of the request's own."""

    __slots__ = ("hook",)

    def __init__(self, hook: Callable[[Exchange], Awaitable[Any]]) -> None:
        self.hook = hook


MayAnswer: TypeAlias = Reply | Later | Awaitable[Reply | None] | None
MustGoOn: TypeAlias = Awaitable[None] | None

PHASES = ("accept", "authn", "authz", "pre_request", "route", "upstream", "post_response", "log")


@hookspec
def accept(exchange: Exchange) -> MayAnswer:
    """When: the route is known and the body, if the protocol reads it, is decoded into `exchange.call`.

    May change: `exchange.deadline`, `exchange.retry`, `exchange.reply_headers`.
    May return: a Reply, for requests that need no identity (a CORS preflight).
    Raising: refuses the request before anybody asked who is calling.
    """


@hookspec
def authn(exchange: Exchange) -> MayAnswer:
    """When: participants in order, each looking for its own kind of credential.

    May change: who is asking, by `exchange.establish(principal)`; takes the credential out of `exchange.request`.
    May return: a Reply (a login redirect).
    Raising: `Unauthenticated`, when a credential is missing that must be there or does not hold.
    """


@hookspec
def authz(exchange: Exchange) -> MayAnswer:
    """When: identity is settled. Every participant must let the request pass.

    May change: nothing.
    May return: a Reply; more usual is raising.
    Raising: `Forbidden`.
    """


@hookspec
def pre_request(exchange: Exchange) -> MayAnswer:
    """When: the request is allowed, nothing is sent yet: limits, transformations, prompt enrichment, request guards.

    May change: `exchange.request` headers, path and body; `exchange.call` through its segments or its document.
    May return: a Reply (a cache hit, a direct response).
    Raising: `RateLimited`, `GuardRejected`, `InvalidRequest`, …
    """


@hookspec
def route(exchange: Exchange) -> MayAnswer:
    """When: before each attempt. After it `exchange.target` must be set; the last one to set it wins.

    May change: `exchange.target`, avoiding `exchange.attempt.failed`.
    May return: a Reply.
    Raising: `NoEndpoint`, or `RateLimited` where the limit belongs to what is about to be sent (tokens).
    """


@hookspec
def upstream(exchange: Exchange) -> MayAnswer:
    """When: before each attempt is sent; `exchange.outgoing` is ready. Credentials come late, signing last.

    May change: `exchange.outgoing`.
    May return: a Reply, which is then taken for the upstream's.
    Raising: ends the attempt; a `retryable` error may lead to another one.
    """


@hookspec
def post_response(exchange: Exchange) -> MustGoOn:
    """When: `exchange.reply` is there, the first byte has not left; in reverse order, also for refusals.

    May change: `exchange.reply`: its status, headers, body; may wrap a stream (see `agentgateway.streams`).
    May return: nothing.
    Raising: replaces the reply by the error.
    """


@hookspec
def log(exchange: Exchange) -> MustGoOn:
    """When: exactly once, after the last byte, the failure or the disconnect; shielded from cancellation.

    May change: nothing of the exchange; this is where usage is settled: counters, budgets, spans, the access log.
    May return: nothing.
    Raising: is logged, and the next participant runs.
    """
