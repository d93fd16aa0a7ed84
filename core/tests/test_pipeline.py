"""The life of a request, phase by phase, with participants of three lines each."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agentgateway._host.balancing import Balancer
from agentgateway._host.chains import Placed, compile_chain
from agentgateway._host.pipeline import run
from agentgateway._host.routes import Listener, Match, Route, RouteTable
from agentgateway.errors import ConnectFailed, Forbidden, RateLimited, UpstreamError
from agentgateway.exchange import ClientGone, Exchange, Outgoing, Place, Reply, RetryRule, Target
from agentgateway.hookspecs import PHASES, Later, hookimpl
from agentgateway.interfaces import Backend, Protocol
from agentgateway.settings import PathMatch
from agentgateway.testing import http


class Answers(Backend):
    """Answers with what the test gave it: a reply, an error, or a function of the exchange."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent = 0

    async def prepare(self, exchange: Exchange) -> None:
        exchange.outgoing = Outgoing("GET", "http://upstream.test", "/", exchange.request.headers.copy())

    async def send(self, exchange: Exchange) -> Reply:
        self.sent += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(exchange) if callable(answer) else answer


def ok(body: bytes = b"hello") -> Reply:
    return Reply(200, body=body, upstream=True)


class Recorder:
    """Notes that each phase came, in order."""

    def __init__(self, seen: list[str], name: str = "") -> None:
        self.seen, self.name = seen, name

    def _note(self, phase: str) -> None:
        self.seen.append(f"{self.name}{phase}")


def _recording(phase: str) -> Callable[..., None]:
    def hook(self: Recorder, exchange: Exchange) -> None:
        self._note(phase)

    hook.__name__ = phase
    return hookimpl(hook)


for _phase in PHASES:
    setattr(Recorder, _phase, _recording(_phase))


def participant(phase: str, function: Callable[[Exchange], Any]) -> object:
    if asyncio.iscoroutinefunction(function):

        async def hook(exchange: Exchange) -> Any:
            return await function(exchange)
    else:

        def hook(exchange: Exchange) -> Any:
            return function(exchange)

    return type("One", (), {phase: staticmethod(hookimpl(hook))})()


def listener(backend: Backend, *participants: object) -> Listener:
    target = Target(backend, "upstream", "upstream.test:80")
    placed = [Placed(one, f"p{i}", "route", "") for i, one in enumerate(participants)]
    steps = compile_chain(placed).upstream
    target = Target(backend, "upstream", "upstream.test:80", steps=steps)
    chain = compile_chain([*placed, Placed(Balancer([target]), "backends", "backend", "")])
    route = Route("r", "", chain, Protocol(), Place(route="r"))
    table = RouteTable([("*", Match(PathMatch(path_prefix="/")), route)])
    return Listener("l", "*", Place(), compile_chain([]), table)


async def passed(exchange: Exchange, at: Listener) -> tuple[int, bytes]:
    """Run it; the status and body that were written."""
    written: list[tuple[int, bytes]] = []

    async def write(done: Exchange) -> None:
        reply = done.reply
        assert reply is not None
        body = reply.body if isinstance(reply.body, bytes) else b"".join([chunk async for chunk in reply.body])
        written.append((reply.status, body))

    await run(exchange, at, write)
    (only,) = written
    return only


async def test_every_phase_comes_once_and_in_order():
    seen: list[str] = []
    assert await passed(http(), listener(Answers(ok()), Recorder(seen))) == (200, b"hello")
    assert seen == list(PHASES)


async def test_the_way_back_is_in_reverse():
    seen: list[str] = []
    await passed(http(), listener(Answers(ok()), Recorder(seen, "a."), Recorder(seen, "b.")))
    assert [note for note in seen if "post_response" in note] == ["b.post_response", "a.post_response"]
    assert [note for note in seen if "authn" in note] == ["a.authn", "b.authn"]


@pytest.mark.parametrize("phase", ["accept", "authn", "authz", "pre_request", "route", "upstream"])
async def test_a_reply_ends_the_way_in_and_starts_the_way_back(phase):
    seen: list[str] = []
    backend = Answers(ok())
    answer = participant(phase, lambda exchange: Reply.text(203, "from a participant"))
    status, body = await passed(http(), listener(backend, answer, Recorder(seen)))
    assert (status, body) == (203, b"from a participant")
    assert backend.sent == 0
    assert seen[-2:] == ["post_response", "log"]
    assert phase not in seen


@pytest.mark.parametrize("phase", ["accept", "authn", "authz", "pre_request", "route", "upstream", "post_response"])
async def test_an_error_is_written_and_logged_once(phase):
    seen: list[str] = []

    def refuse(exchange: Exchange) -> None:
        raise Forbidden("not you")

    exchange = http()
    assert await passed(exchange, listener(Answers(ok()), participant(phase, refuse), Recorder(seen))) == (
        403,
        b"not you",
    )
    assert seen.count("log") == 1
    assert exchange.error is not None
    assert exchange.error.by == "p0"


@pytest.mark.parametrize("phase", [*PHASES[:-1]])
async def test_a_bug_says_nothing_to_the_client_and_names_the_participant_in_the_log(phase, caplog):
    def broken(exchange: Exchange) -> None:
        raise KeyError("canary-secret")

    exchange = http()
    status, body = await passed(exchange, listener(Answers(ok()), participant(phase, broken)))
    assert (status, body) == (500, b"internal error")
    assert exchange.error is not None
    assert "canary" not in str(exchange.error) + exchange.error.detail


async def test_a_broken_log_participant_does_not_stop_the_others(caplog):
    seen: list[str] = []

    def broken(exchange: Exchange) -> None:
        raise KeyError("x")

    assert await passed(http(), listener(Answers(ok()), participant("log", broken), Recorder(seen))) == (200, b"hello")
    assert seen[-1] == "log"
    assert "p0 failed in the log phase" in caplog.text


@pytest.mark.parametrize("answer", [b"bytes", 7, {"a": 1}])
async def test_anything_but_none_and_a_reply_is_a_bug(answer, caplog):
    status, _ = await passed(http(), listener(Answers(ok()), participant("authz", lambda exchange: answer)))
    assert status == 500


async def test_a_plain_function_that_returns_an_awaitable_is_a_bug_and_the_awaitable_is_closed(caplog):
    async def late() -> None:
        return None

    status, _ = await passed(http(), listener(Answers(ok()), participant("authz", lambda exchange: late())))
    assert status == 500


async def test_a_plain_function_may_wait_later():
    seen: list[str] = []

    async def slow(exchange: Exchange) -> Reply | None:
        await asyncio.sleep(0)
        seen.append("slow")
        return ok(b"cached") if exchange.request.method == "POST" else None

    at = listener(Answers(ok()), participant("authn", lambda exchange: Later(slow)), Recorder(seen))
    assert await passed(http(), at) == (200, b"hello")
    assert seen[:3] == ["accept", "slow", "authn"]
    assert await passed(http("POST"), at) == (200, b"cached")


async def test_what_goes_on_later_fails_like_any_participant(caplog):
    async def broken(exchange: Exchange) -> None:
        raise ZeroDivisionError

    at = listener(Answers(ok()), participant("authn", lambda exchange: Later(broken)))
    assert (await passed(http(), at))[0] == 500
    assert "p0: ZeroDivisionError" in caplog.text
    at = listener(Answers(ok()), participant("post_response", lambda exchange: Later(broken)))
    assert (await passed(http(), at))[0] == 500


async def test_coroutines_and_functions_mix():
    seen: list[str] = []

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0)
        seen.append("slow")

    at = listener(Answers(ok()), participant("authn", slow), Recorder(seen))
    assert await passed(http(), at) == (200, b"hello")
    assert seen[:3] == ["accept", "slow", "authn"]


def test_a_chain_of_functions_needs_no_task():
    """Driven by hand: the coroutine never suspends."""
    at = listener(Answers(ok()), Recorder([]))
    written: list[int] = []

    async def write(exchange: Exchange) -> None:
        assert exchange.reply is not None
        written.append(exchange.reply.status)

    coroutine = run(http(), at, write)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert written == [200]


async def test_a_coroutine_participant_has_as_long_as_the_request_has_left():
    async def forever(exchange: Exchange) -> None:
        await asyncio.sleep(60)

    exchange = http()
    exchange.deadline = exchange.started + 0.05
    status, body = await passed(exchange, listener(Answers(ok()), participant("pre_request", forever)))
    assert (status, body) == (504, b"request timeout")


async def test_no_route_is_404():
    table = RouteTable([])
    assert await passed(http(), Listener("l", "*", Place(), compile_chain([]), table)) == (404, b"route not found")


# --- attempts ---------------------------------------------------------------------------------------------------------


async def test_without_a_rule_nothing_is_tried_twice():
    backend = Answers(ConnectFailed())
    assert (await passed(http(), listener(backend)))[0] == 503
    assert backend.sent == 1


@pytest.mark.parametrize(("attempts", "sent", "status"), [(1, 2, 502), (3, 4, 502), (5, 5, 200)])
async def test_a_retryable_failure_is_tried_again_as_often_as_the_rule_says(attempts, sent, status):
    backend = Answers(*[UpstreamError()] * 4, ok())
    exchange = http()
    exchange.retry = RetryRule(attempts)
    if status != 200:
        backend.answers = [UpstreamError()]
    assert (await passed(exchange, listener(backend)))[0] == status
    assert (backend.sent, exchange.attempt.number) == (sent, sent)


async def test_a_status_of_the_rule_is_tried_again_and_others_are_not():
    backend = Answers(Reply(503, upstream=True), Reply(500, upstream=True), ok())
    exchange = http()
    exchange.retry = RetryRule(5, codes=frozenset({503}))
    assert (await passed(exchange, listener(backend)))[0] == 500
    assert backend.sent == 2


async def test_the_last_attempts_reply_is_the_answer():
    backend = Answers(Reply(503, body=b"first", upstream=True), Reply(503, body=b"last", upstream=True))
    exchange = http()
    exchange.retry = RetryRule(1, codes=frozenset({503}))
    assert await passed(exchange, listener(backend)) == (503, b"last")


async def test_a_rule_that_forbids_ends_the_attempts():
    backend = Answers(UpstreamError())
    exchange = http()
    exchange.retry = RetryRule(5, allows=lambda exchange: exchange.attempt.number < 2)
    await passed(exchange, listener(backend))
    assert backend.sent == 2


async def test_a_rate_limit_is_never_retried():
    backend = Answers(ok())

    def limit(exchange: Exchange) -> None:
        raise RateLimited

    exchange = http()
    exchange.retry = RetryRule(5)
    assert (await passed(exchange, listener(backend, participant("route", limit))))[0] == 429
    assert exchange.attempt.number == 1


async def test_the_next_attempt_goes_elsewhere():
    bad, good = Answers(ConnectFailed()), Answers(ok())
    choice = Balancer([Target(bad, "bad", weight=1000), Target(good, "good", weight=1)])
    chain = compile_chain([Placed(choice, "backends", "backend", "")])
    route = Route("r", "", chain, Protocol(), Place())
    at = Listener("l", "*", Place(), compile_chain([]), RouteTable([("*", Match(PathMatch(path_prefix="/")), route)]))
    for _ in range(20):
        exchange = http()
        exchange.retry = RetryRule(1)
        assert await passed(exchange, at) == (200, b"hello")
    assert bad.sent <= 20


async def test_a_later_priority_is_used_when_the_first_has_failed():
    bad, good = Answers(ConnectFailed()), Answers(ok())
    choice = Balancer([Target(good, "spare", priority=1), Target(bad, "main", priority=0)])
    exchange = http()
    choice.route(exchange)
    assert exchange.target is not None
    assert exchange.target.name == "main"
    exchange.attempt.failed.append(exchange.target)
    choice.route(exchange)
    assert exchange.target.name == "spare"


# --- clients that leave ----------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_while_the_upstream_thinks_is_logged_once_and_cancels_it():
    seen: list[str] = []
    cancelled = asyncio.Event()

    async def thinks(exchange: Exchange) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    exchange = http()
    task = asyncio.create_task(
        passed(exchange, listener(Answers(ok()), participant("upstream", thinks), Recorder(seen)))
    )
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
    assert seen.count("log") == 1
    assert exchange.status == 499


async def test_a_client_that_leaves_while_reading_ends_the_stream():
    closed = asyncio.Event()
    seen: list[str] = []

    async def stream() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.set()

    body = stream()

    async def write(exchange: Exchange) -> None:
        assert exchange.reply is not None
        assert await anext(body) == b"one"
        await body.aclose()
        raise ClientGone

    exchange = http()
    await run(exchange, listener(Answers(Reply(200, body=body, upstream=True)), Recorder(seen)), write)
    assert closed.is_set()
    assert seen[-1] == "log"
    assert exchange.error is not None
    assert exchange.error.code == "client_gone"


async def test_an_error_on_the_way_back_lets_the_stream_go():
    closed = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        try:
            yield b"one"
        finally:
            closed.set()

    body = stream()
    await anext(body)

    def refuse(exchange: Exchange) -> None:
        raise Forbidden("blocked")

    at = listener(Answers(Reply(200, body=body, upstream=True)), participant("post_response", refuse))
    assert await passed(http(), at) == (403, b"blocked")
    assert closed.is_set()
