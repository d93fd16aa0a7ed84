"""A small real gateway: compiled chains and routes whose answers tell what was understood.

=========  ===========================================================================================================
path       answers
=========  ===========================================================================================================
/now       at once, without reading the body; no task
/read      when its protocol has read the body, of at most `BODY` bytes; no task
/task      when a coroutine has read the body, in a task
/later     when the upstream moves, in a task
/push      with a stream that the upstream pushes, without a task
/wrap      with the same stream, wrapped by somebody, in a task
/known     with a stream whose length is announced
/short     with a stream that ends before its announced length
/none      204
/bad       with a head that cannot be sent
/error     with an exception
=========  ===========================================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from agentgateway._host.chains import Chain, Placed, compile_chain
from agentgateway._host.config import HttpFrontend
from agentgateway._host.gateway import Bind, BoundListener
from agentgateway._host.routes import Listener, Match, Route, RouteTable
from agentgateway._host.suspension import Suspension
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.errors import UpstreamError
from agentgateway.exchange import Exchange, Headers, Place, Reply
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Protocol
from agentgateway.settings import PathMatch

BODY = 2000
CHUNKS = [b"data: %d\n\n" % number * 16 for number in range(3)] + [b"data: [DONE]\n\n"]
STREAM = b"".join(CHUNKS)
STREAMS = ("/push", "/wrap", "/known")
PLACE = Place("fuzz", "default", "http")


@dataclass
class Seen:
    """A request as the pipeline saw it, and what became of it."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    answered: bool = False  # by a route, rather than refused
    body: bytes | None = None  # where it was read to its end
    status: int = 0
    error: Any = None


class Upstream:
    """A connection to a model that streams, a chunk at each move."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.response = UpstreamResponse(loop, self, 1)
        self.response.status = 200
        self.paused = False
        self._left = CHUNKS[:]

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def fail(self, error: Exception) -> None:
        self._left.clear()
        self.response.failed(error)

    def move(self) -> None:
        if not self._left or self.paused:
            return
        chunk = self._left.pop(0)
        if self._left:
            self.response.arrived(chunk)
        else:
            self.response.finished(chunk)


class Site:
    """What happened on one connection, and the upstreams behind it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.begun: list[Seen] = []
        self.logged = 0
        self._upstreams: list[Upstream] = []
        self._later = Suspension(loop)

    def enter(self, exchange: Exchange) -> Seen:
        request = exchange.request
        seen = Seen(request.method, request.target, request.headers.raw)
        self.begun.append(seen)
        return seen

    def stream(self) -> UpstreamResponse:
        self._upstreams.append(Upstream(self._loop))
        return self._upstreams[-1].response

    async def later(self) -> None:
        await self._later.suspend()

    def move(self) -> None:
        self._later.wake()
        for upstream in self._upstreams:
            upstream.move()

    def break_off(self) -> None:
        self._later.wake()
        for upstream in self._upstreams:
            if not upstream.response.complete and upstream.response.failure is None:
                upstream.fail(UpstreamError("the upstream broke off"))


CURRENT: list[Site] = [None]  # type: ignore[list-item]


def echo(exchange: Exchange, seen: Seen) -> Reply:
    """A reply that says which request it is for, and what was understood of it."""
    site = CURRENT[0]
    seen.answered = True
    names = b",".join([name for name, _ in seen.headers])
    length = b"-" if seen.body is None else b"%d" % len(seen.body)
    body = b"%d %b %b" % (len(site.begun) - 1, length, names)
    return Reply(200, Headers.of({"x-number": str(len(site.begun) - 1)}), body)


class Answers:
    """Base of the hooks below: they all log."""

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        site = CURRENT[0]
        site.logged += 1
        if len(site.begun) < site.logged:  # refused before any route
            site.enter(exchange)
        seen = site.begun[site.logged - 1]
        seen.status, seen.error = exchange.status, exchange.error


class Now(Answers):
    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        seen = CURRENT[0].enter(exchange)
        if exchange.request.body.data is not None:
            seen.body = exchange.request.body.data
        return echo(exchange, seen)


class Task(Answers):
    @hookimpl
    async def pre_request(self, exchange: Exchange) -> Reply:
        seen = CURRENT[0].enter(exchange)
        seen.body = b"".join([chunk async for chunk in exchange.request.body])
        return echo(exchange, seen)


class Later(Answers):
    @hookimpl
    async def pre_request(self, exchange: Exchange) -> Reply:
        seen = CURRENT[0].enter(exchange)
        await CURRENT[0].later()
        return echo(exchange, seen)


class Push(Answers):
    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        reply = echo(exchange, CURRENT[0].enter(exchange))
        reply.body = CURRENT[0].stream()
        return reply


class Wrap(Answers):
    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        reply = echo(exchange, CURRENT[0].enter(exchange))
        reply.body = Wrapped(CURRENT[0].stream())
        return reply


class Wrapped:
    """A stream that a plugin wrapped."""

    def __init__(self, inner: UpstreamResponse) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            await asyncio.sleep(0)
            yield chunk.upper()

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Known(Answers):
    more: int = 0

    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        reply = echo(exchange, CURRENT[0].enter(exchange))
        reply.headers.add("content-length", str(len(STREAM) + self.more))
        reply.body = CURRENT[0].stream()
        return reply


class Nothing(Answers):
    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        reply = echo(exchange, CURRENT[0].enter(exchange))
        return Reply(204, reply.headers, b"")


class Bad(Answers):
    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        reply = echo(exchange, CURRENT[0].enter(exchange))
        reply.headers.raw.append((b"x-bad", b"a\r\nb: c"))
        return reply


class Error(Answers):
    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        CURRENT[0].enter(exchange)
        raise LookupError("planted")


class Plain(Protocol):
    """Reads nothing, and does not ask for a task."""

    inline = True


class Reading(Protocol):
    """Like the one of model calls: reads the body whole, and waits for nothing else."""

    inline = True

    async def decode(self, exchange: Exchange) -> None:
        await exchange.request.body.read(BODY)


ROUTES: dict[str, Answers] = {
    "/now": Now(),
    "/read": Now(),
    "/task": Task(),
    "/later": Later(),
    "/push": Push(),
    "/wrap": Wrap(),
    "/known": Known(),
    "/short": Known(more=1),
    "/none": Nothing(),
    "/bad": Bad(),
    "/error": Error(),
}


def route_of(path: str, hooks: Answers) -> tuple[str, Match, Route]:
    chain = compile_chain([Placed(hooks, "test", "route", path)])
    protocol = Reading() if path == "/read" else Plain()
    return "*", Match(PathMatch(exact=path)), Route(path, "", chain, protocol, PLACE)


def bind() -> Bind:
    table = RouteTable([route_of(path, hooks) for path, hooks in ROUTES.items()])
    early = Chain(log=compile_chain([Placed(Answers(), "test", "route", "log")]).log)
    listener = Listener("http", "*", PLACE, early, table)
    return Bind("default", 0, "127.0.0.1", (BoundListener(listener, None),))


BIND = bind()


@dataclass
class Snapshot:
    """A compiled configuration."""

    http: HttpFrontend
    active: int = 0
    binds: dict[int, Bind] = field(default_factory=lambda: {0: BIND})
