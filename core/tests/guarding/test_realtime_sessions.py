"""Guards on a realtime session: `promptGuard`'s own participants, a vendor that is a list, and the relay."""

import asyncio
import inspect
import json
from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import TypeAdapter

from agentgateway._host.builtin.guarding import PromptGuard, PromptGuardConfig
from agentgateway._host.relay import ClientClosed, relay
from agentgateway.errors import GatewayError, GuardFailed, GuardRejected, InvalidRequest, RateLimited
from agentgateway.exchange import Body, Exchange, Headers, Reply, Request, Source, UpgradeRequest, Usage
from agentgateway.llm.dialects import dialect
from agentgateway.llm.protocol import LlmProtocol
from agentgateway.llm.realtime import RealtimeCall, RealtimeSession
from agentgateway.sockets import Duplex, Message, SocketClosed
from agentgateway.testing import LoopbackHost

OF = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
DONE = {"type": "response.done", "response": {"usage": {"input_tokens": 3, "output_tokens": 2}}}


class End(Duplex):
    """One end: says what it is given to say, then waits or closes."""

    def __init__(self, says: Iterable[Any] = (), *, closes: SocketClosed | None = None) -> None:
        self.says = [one if isinstance(one, str | bytes) else json.dumps(one) for one in says]
        self.closes = closes
        self.told: list[Any] = []
        self.closed: list[int] = []

    async def receive(self) -> Message:
        if self.says:
            return self.says.pop(0)
        if self.closes is not None:
            raise self.closes
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.told.append(json.loads(message))

    async def close(self, code: int, reason: str = "") -> None:
        self.closed.append(code)

    async def aclose(self) -> None:
        pass


def asked() -> Exchange:
    request = UpgradeRequest("GET", "/v1/realtime?model=m", Headers(), Body(), authority="x")
    exchange = Exchange(request, Source())
    exchange.protocol = LlmProtocol(LoopbackHost())
    return exchange


async def session(guard: PromptGuard | None, vendor: End) -> tuple[RealtimeSession, Exchange]:
    """A session as the phases leave it."""
    exchange = asked()
    assert exchange.protocol is not None
    await exchange.protocol.decode(exchange)
    call = exchange.call
    assert isinstance(call, RealtimeCall)
    await run(guard, "pre_request", exchange)
    made = RealtimeSession(exchange, vendor, call, "m")
    exchange.reply = Reply(101, body=made, upstream=True)
    await run(guard, "post_response", exchange)
    return made, exchange


async def run(guard: PromptGuard | None, phase: str, exchange: Exchange) -> None:
    for participant in guard.participants() if guard is not None else ():
        if hook := getattr(participant.hooks, phase, None):
            answer = hook(exchange)
            assert (await answer if inspect.isawaitable(answer) else answer) is None


def guards(kit: Any, kind: str = "Blunt", stream: str = "hold-window", **config: Any) -> PromptGuard:
    guard = getattr(kit, kind)()
    guard.stream = stream
    entries = {"request": [{"blunt": {}}], "response": [{"blunt": {}}], **config}
    return PromptGuard(TypeAdapter(PromptGuardConfig).validate_python(entries), kit.Host({"blunt": guard}))


def said(text: str) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": {"role": "user", "content": [{"type": "x", "text": text}]}}


def piece(text: str) -> dict[str, Any]:
    return {"type": "response.output_audio_transcript.delta", **OF, "delta": text}


def ended(text: str) -> dict[str, Any]:
    return {"type": "response.output_audio_transcript.done", **OF, "transcript": text}


async def all_of(made: RealtimeSession) -> list[Any]:
    events: list[Any] = []
    with pytest.raises((SocketClosed, GatewayError)) as end:
        while True:
            events.append(json.loads(await made.receive()))
    return [*events, end.value]


KINDS = pytest.mark.parametrize("kind", ["Blunt", "Remote"])


@KINDS
@pytest.mark.parametrize(("text", "error"), [("forbidden", GuardRejected), ("broken canary-3", GuardFailed)])
async def test_what_a_guard_refuses_or_cannot_judge_reaches_no_vendor(
    kit: Any, kind: str, text: str, error: type[GatewayError]
) -> None:
    vendor = End()
    made, _ = await session(guards(kit, kind), vendor)
    with pytest.raises(error) as refused:
        await made.send(json.dumps(said(text)))
    assert not vendor.told and refused.value.by == "ai.guards" and "canary-3" not in refused.value.detail


@KINDS
async def test_a_guard_that_fails_on_the_models_words_ends_the_session(kit: Any, kind: str) -> None:
    vendor = End([piece("it is bro"), piece("ken"), ended("it is broken")])
    made, exchange = await session(guards(kit, kind), vendor)
    events = await all_of(made)
    assert len(events) == 1 and isinstance(events[0], GuardFailed) and exchange.error is events[0]


async def test_hold_all_lets_nothing_leave_before_the_whole_was_seen(kit: Any) -> None:
    sound = {"type": "response.output_audio.delta", **OF, "delta": "UklG"}
    vendor = End([piece("x" * 500), sound, piece(" forbidden"), ended("")], closes=SocketClosed(1000))
    made, _ = await session(guards(kit, stream="hold-all"), vendor)
    assert [type(one) for one in await all_of(made)] == [GuardRejected]


async def test_what_is_held_back_leaves_when_the_vendor_ends(kit: Any) -> None:
    vendor = End([piece("a secret")], closes=SocketClosed(1000))
    made, _ = await session(guards(kit), vendor)
    events = await all_of(made)
    assert events[0]["delta"] == "a ###" and events[1].code == 1000


async def test_an_observer_ends_it_behind_what_it_refuses(kit: Any) -> None:
    vendor = End([piece("forbidden"), ended("forbidden")], closes=SocketClosed(1000))
    made, _ = await session(guards(kit, stream="observe"), vendor)
    events = await all_of(made)
    assert [one["type"] for one in events[:-1]] == [piece("")["type"], ended("")["type"]]
    assert isinstance(events[-1], GuardRejected)


async def test_the_transcript_of_what_the_client_said_is_the_clients(kit: Any) -> None:
    heard = {"type": "conversation.item.input_audio_transcription.completed", "transcript": "forbidden"}
    made, _ = await session(guards(kit, response=[]), End([heard]))
    assert isinstance((await all_of(made))[0], GuardRejected)


async def test_what_no_guard_can_read_is_refused(kit: Any) -> None:
    made, _ = await session(guards(kit), End([b"\x00"]))
    with pytest.raises(InvalidRequest):
        await made.send(b"\x00")
    with pytest.raises(GuardFailed):
        await made.receive()


async def test_streaming_disabled_leaves_the_models_words_alone(kit: Any) -> None:
    vendor = End([piece("forbidden")], closes=SocketClosed(1000))
    made, _ = await session(guards(kit, streaming="Disabled", request=[]), vendor)
    assert (await all_of(made))[0]["delta"] == "forbidden"


async def test_a_long_session_forgets_the_answers_behind_it(kit: Any) -> None:
    turns = [one for _ in range(3000) for one in (piece("hello "), ended("hello"), DONE)]
    made, exchange = await session(guards(kit), End(turns, closes=SocketClosed(1000)))
    assert len(await all_of(made)) == 9001
    assert exchange.usage == Usage(9000, 6000)


async def test_a_spent_limit_is_told_behind_the_turn(kit: Any) -> None:
    made, exchange = await session(None, End([DONE, DONE]))
    charged: list[Usage] = []

    def charge(usage: Usage) -> None:
        charged.append(usage)
        raise RateLimited

    assert isinstance(exchange.call, RealtimeCall)
    exchange.call.charges.append(charge)
    events = await all_of(made)
    assert events[0]["type"] == "response.done" and isinstance(events[1], RateLimited) and charged == [Usage(3, 2)]


async def test_a_copy_of_the_call_has_its_own_guards(kit: Any) -> None:
    _, exchange = await session(guards(kit), End())
    call = exchange.call
    assert isinstance(call, RealtimeCall)
    copied = call.copy()
    copied.asked.clear()
    assert len(call.asked) == 1 and copied.model == "m" and copied.outbound(call.dialect, "other").model == "other"


# --- the relay -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "code"), [("forbidden", 1008), ("broken", 1011)])
async def test_a_refusal_is_an_error_event_and_a_code(kit: Any, text: str, code: int) -> None:
    client, vendor = End([said(text)]), End()
    made, _ = await session(guards(kit), vendor)
    with pytest.raises(GatewayError):
        await relay(client, made)
    assert [event["type"] for event in client.told] == ["error"]
    assert (client.closed, vendor.closed) == ([code], [1000])


async def test_the_clients_end_is_the_vendors(kit: Any) -> None:
    for code, passed in ((4000, 4000), (1005, 1000), (1006, 1001), (1000, 1000)):
        client, vendor = End(closes=ClientClosed(code)), End()
        with pytest.raises(ClientClosed):
            await relay(client, vendor)
        assert vendor.closed == [passed]


async def test_a_relay_that_is_cancelled_says_goodbye_to_both() -> None:
    client, vendor = End(), End()
    task = asyncio.create_task(relay(client, vendor))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait((task,))
    assert (client.closed, vendor.closed) == ([1001], [1001])


@pytest.mark.parametrize("query", ["", "model=", "model=a&model=b", "mo%64el=a&model=b", "model=a&call_id=c"])
def test_a_query_that_does_not_name_one_model_is_refused(query: str) -> None:
    request = Request("GET", f"/v1/realtime?{query}", Headers(), Body())
    with pytest.raises(InvalidRequest):
        RealtimeCall.of(dialect("realtime"), request)


def test_nothing_else_of_the_query_goes_on() -> None:
    request = Request("GET", "/v1/realtime?api-key=k&model=a%20b&deployment=x&intent=transcription", Headers(), Body())
    call = RealtimeCall.of(dialect("realtime"), request)
    assert call.target("/v1/realtime", call.model) == "/v1/realtime?model=a+b&intent=transcription"
    assert call.target("/r?api-version=preview", "m") == "/r?api-version=preview&model=m&intent=transcription"
