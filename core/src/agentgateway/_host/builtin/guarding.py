"""`promptGuard`: the guards of model calls and of their replies, in the order of the file; the first refusal ends it.

A guard that fails, fails closed. Streams are guarded whenever replies are; `streaming: Disabled` says otherwise (in the
reference that is the default).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import ClassVar

from agentgateway._host.builtin.guarding_config import GuardEntry, PromptGuardConfig
from agentgateway._host.builtin.placed_guard import Breaker, Guarding, PlacedGuard
from agentgateway._host.builtin.screening import Guards
from agentgateway.errors import ConfigError, GatewayError, GuardFailed, InvalidRequest
from agentgateway.exchange import Exchange, Reply, Stream
from agentgateway.guarded import GuardedEvents, guarded, observed
from agentgateway.hookspecs import Later, hookimpl
from agentgateway.interfaces import Guard, Host, Level, Participant, Policy, Segment
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.forms import FormCall
from agentgateway.llm.realtime import RealtimeCall

SCOPES = frozenset({"systemPrompt", "messages", "toolInput", "toolOutput"})
SLOT = "ai.guards"


class PromptGuard:
    """The guards of one place of the file. `at` is where they stand, relative to the host's place."""

    def __init__(self, config: PromptGuardConfig, host: Host, at: str = "") -> None:
        self._host = host
        counter = host.counter("guardrail_checks", "Texts that guards looked at.", ("phase", "action"))
        prefix = f"{at}." if at else ""

        def placed(phase: str, entries: Sequence[GuardEntry]) -> Guards:
            def count(action: str) -> None:
                counter.add((phase.capitalize(), action))

            return Guards(
                placed_guard(host, entry, f"{prefix}{phase}[{index}]", phase.capitalize(), count)
                for index, entry in enumerate(entries)
            )

        self._request = placed("request", config.request)
        self._response = placed("response", config.response)
        self._streaming = config.streaming == "Enabled"

    def participants(self) -> Iterable[Participant]:
        required = self._host.level != "gateway"
        limit = self._host.body_limit
        if self._request:
            kind = AwaitedRequestGuards if self._request.awaits else RequestGuards
            yield Participant(kind(self._request, required, limit), SLOT)
        if self._response:
            answer = AwaitedReplyGuards if self._response.awaits else ReplyGuards
            yield Participant(answer(self._response, required, limit, self._streaming), SLOT)

    def placed_guards(self) -> Sequence[PlacedGuard]:
        return (*self._request, *self._response)

    async def start(self) -> None:
        for placed in self.placed_guards():
            await placed.guard.start()

    async def stop(self) -> None:
        """Stops every guard, also when one of them fails to."""
        failures = []
        for placed in reversed(self.placed_guards()):
            try:
                await placed.guard.stop()
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup("guards failed to stop", failures)


class PromptGuardPolicy(Policy, Guarding):
    """Guards model calls and their replies."""

    Config = PromptGuardConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("pre_request", "post_response")
    reads_calls = True

    def __init__(self, config: PromptGuardConfig, host: Host) -> None:
        super().__init__(config, host)
        self._guards = PromptGuard(config, host)

    def participants(self) -> Iterable[Participant]:
        return self._guards.participants()

    def placed_guards(self) -> Sequence[PlacedGuard]:
        return self._guards.placed_guards()

    async def start(self) -> None:
        await self._guards.start()

    async def stop(self) -> None:
        await self._guards.stop()


def placed_guard(host: Host, entry: GuardEntry, at: str, phase: str, count: Callable[[str], object]) -> PlacedGuard:
    """The guard of an entry with what that says. Raises `ConfigError`."""
    guard, rejection, breaker = built(host, entry, at), entry.rejection, entry.circuit_breaker
    return PlacedGuard(
        guard,
        f"{host.at}.{at}",
        phase,
        entry.name or entry.kind[0],
        rejection.body,
        rejection.status,
        (*rejection.headers.add.items(), *rejection.headers.set.items()),
        count,
        entry.failure_mode == "failOpen" if entry.failure_mode is not None else guard.fails_open,
        entry.timeout,
        Breaker(breaker.failures, breaker.duration),
    )


def built(host: Host, entry: GuardEntry, at: str) -> Guard:
    """The guard of an entry. Raises `ConfigError` when what it promises cannot be kept."""
    kind, config = entry.kind
    guard: Guard = host.build("agentgateway.guards", kind, config, f"{at}.{kind}")
    where = f"{host.at}.{at}.{kind}"
    if unknown := guard.scopes - SCOPES:
        raise ConfigError(f"the guard looks at unknown scopes: {', '.join(sorted(unknown))}", path=where)
    if guard.stream not in ("hold-all", "hold-window", "observe"):
        raise ConfigError(f"the guard promises `{guard.stream}` for streams, which nobody can keep", path=where)
    if guard.stream == "hold-window" and guard.window < 1:
        raise ConfigError("the guard's window holds nothing", path=where)
    return guard


class _RequestTexts:
    """What the client sent. `required` says that this place is for model calls only; `limit` is of the texts of a
    form, in bytes."""

    def __init__(self, guards: Guards, required: bool, limit: int) -> None:
        self._guards = guards
        self._required = required
        self._limit = limit

    def _segments(self, exchange: Exchange) -> list[Segment]:
        insist_on_texts(exchange, self._required)
        call = exchange.call
        if isinstance(call, LlmCall):
            insist_on_reading(call)
        if isinstance(call, LlmCall) and (field := call.unreadable()):
            raise InvalidRequest(f"{field}: this route's guards can read texts only", param=field)
        segments = call.segments() if call is not None else []
        if not segments and isinstance(call, RealtimeCall):
            call.asked.append(partial(asked, exchange, self._guards))
        return segments


class RequestGuards(_RequestTexts):
    """Guards of requests that need no awaiting."""

    @hookimpl
    def pre_request(self, exchange: Exchange) -> Later | None:
        if isinstance(exchange.call, FormCall) and not exchange.call.form.judged:
            return Later(self._read_on)
        self._guards.screen(self._segments(exchange), exchange)
        return None

    async def _read_on(self, exchange: Exchange) -> None:
        """A form, whose texts may still be coming."""
        call = exchange.call
        assert isinstance(call, FormCall)
        await call.read_texts(self._limit)
        self._guards.screen(self._segments(exchange), exchange)


class AwaitedRequestGuards(_RequestTexts):
    """Guards of requests with one among them that must be awaited."""

    @hookimpl
    async def pre_request(self, exchange: Exchange) -> None:
        if isinstance(exchange.call, FormCall):
            await exchange.call.read_texts(self._limit)
        await self._guards.judge(self._segments(exchange), exchange)


class _ReplyTexts:
    """What the model answered: whole, or on its way."""

    def __init__(self, guards: Guards, required: bool, limit: int, streaming: bool) -> None:
        self._guards = guards
        self._holding = guards.holding if streaming else Guards()
        self._observing = guards.observing if streaming else Guards()
        self._required = required
        self._limit = limit

    def _segments(self, exchange: Exchange) -> list[Segment]:
        """The texts to look at now; those of a stream are looked at on their way."""
        reply = exchange.reply
        if reply is None or not reply.upstream:
            return []
        if reply.status >= 400 and (exchange.protocol is None or not exchange.protocol.guards_failures):
            return []
        insist_on_texts(exchange, self._required)
        call = exchange.call
        if isinstance(call, LlmCall):
            insist_on_reading(call)
        if call is None or exchange.protocol is None or (isinstance(call, LlmCall) and not call.dialect.replies):
            if isinstance(call, RealtimeCall):
                self._guard_session(exchange, call)
            return []
        if reply.streaming:
            if not call.attend(partial(asked, exchange, Guards((*self._holding, *self._observing)))):
                self._guard_stream(exchange, reply)
            return []
        content = exchange.protocol.content(exchange)
        if content is None:
            raise GuardFailed(detail="the reply has no texts that a guard could read")
        return content.segments()

    def _guard_stream(self, exchange: Exchange, reply: Reply) -> None:
        if not self._holding and not self._observing:
            return
        spoken = insist_on_events(exchange, reply)
        check = partial(judged, exchange)
        blocked = partial(cut_short, exchange)
        if holding := self._holding:
            reply.body = guarded(
                stream_of(reply),
                spoken,
                partial(check, holding),
                blocked,
                scopes=holding.scopes,
                window=holding.window,
                limit=self._limit,
            )
        if observing := self._observing:
            reply.body = observed(stream_of(reply), spoken, partial(check, observing), blocked, scopes=observing.scopes)
        reply.headers.remove("content-length")

    def _guard_session(self, exchange: Exchange, call: RealtimeCall) -> None:
        """What the model says in a session is guarded like a stream, each text of it."""
        if holding := self._holding:
            call.views.append(
                partial(
                    GuardedEvents,
                    call.dialect,
                    partial(judged, exchange, holding),
                    partial(cut_short, exchange),
                    scopes=holding.scopes,
                    window=holding.window,
                    limit=self._limit,
                )
            )
        if observing := self._observing:
            call.observers.append(partial(asked, exchange, observing))


class ReplyGuards(_ReplyTexts):
    """Guards of replies that need no awaiting."""

    @hookimpl
    def post_response(self, exchange: Exchange) -> None:
        self._guards.screen(self._segments(exchange), exchange)


class AwaitedReplyGuards(_ReplyTexts):
    """Guards of replies with one among them that must be awaited."""

    @hookimpl
    async def post_response(self, exchange: Exchange) -> None:
        await self._guards.judge(self._segments(exchange), exchange)


async def judged(exchange: Exchange, guards: Guards, segments: Sequence[Segment]) -> list[str]:
    await guards.judge(segments, exchange)
    return [segment.text for segment in segments]


async def asked(exchange: Exchange, guards: Guards, segments: Sequence[Segment]) -> None:
    """Judge texts of a session."""
    try:
        await guards.judge(segments, exchange)
    except GatewayError as error:
        error.by = error.by or SLOT
        raise


def cut_short(exchange: Exchange, error: GatewayError, characters: int) -> None:
    """Record why a stream was ended, and how much of it had left."""
    error.by = error.by or SLOT
    error.detail = f"{error.detail}, after {characters} characters of a stream"
    exchange.error = error


def insist_on_texts(exchange: Exchange, required: bool) -> None:
    """Refuse where guards were asked for and the route's protocol gives them nothing to read."""
    if required and (exchange.protocol is None or not exchange.protocol.reads_body):
        raise GuardFailed(detail="guards stand on a route whose protocol has no texts: its backends serve no models")


def insist_on_reading(call: LlmCall) -> None:
    """Refuse calls that nobody reads."""
    if call.dialect.unread:
        raise InvalidRequest("this route has guards, and they cannot read calls to this path", code="unreadable_call")


def insist_on_events(exchange: Exchange, reply: Reply) -> Dialect:
    """The dialect of a streamed reply. Refuses what guards cannot read: another format, or a compressed one."""
    call = exchange.call
    kind = (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()
    encoded = reply.headers.get("content-encoding") not in (None, "", "identity")
    if not isinstance(call, LlmCall) or kind != call.dialect.stream_content_type or encoded:
        raise GuardFailed(detail="the reply is a stream that a guard cannot read")
    return call.dialect


def stream_of(reply: Reply) -> Stream:
    assert not isinstance(reply.body, bytes)
    return reply.body


__all__ = ["PromptGuard", "PromptGuardConfig", "PromptGuardPolicy"]
