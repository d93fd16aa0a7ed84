"""A chain of plain functions and the same one of coroutine functions: same replies, same requests passed on, same log.

The first kind is driven by the callbacks of the connections on the edge, the second by a task.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from agentgateway.errors import Forbidden
from agentgateway.exchange import Exchange, Reply
from agentgateway.hookspecs import PHASES, hookimpl

KINDS = [(False, False), (True, True), (False, True), (True, False)]
"""Which of the two participants is made of coroutine functions."""
GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\n", b"hello ", b"world"
CHUNKED = (
    b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
    b"6\r\nhello \r\n",
    b"5\r\nworld\r\n0\r\n\r\n",
)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
ANSWERS = {
    "whole": [OK + b"content-length: 2\r\n\r\nok"],
    "length": [OK + b"content-length: 9\r\n\r\none", b"two", b"six"],
    "chunked": [OK + b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"],
    "until close": [OK + b"\r\none", b"two", b""],
    "cut short": [OK + b"content-length: 9\r\n\r\none", b""],
    "no answer": [b""],
    "an error": [b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"],
    "garbage": [b"garbage\r\n\r\n"],
}
"""What the upstream writes, piece by piece; it closes at an empty one."""


@dataclass
class Conduct:
    """What one participant does in its phases: marks what it may edit, and in one phase something else."""

    name: str
    phase: str = ""
    what: str = ""
    records: list[Any] = field(default_factory=list)
    trail: list[str] = field(default_factory=list)

    def __call__(self, phase: str, exchange: Exchange) -> Reply | None:
        self.trail.append(phase)
        if phase == "log":
            self.records.append((tuple(self.trail), told(exchange)))
            self.trail.clear()
        else:
            exchange.reply_headers.append((f"x-{self.name}-{phase}", "seen"))
            self.mark(phase, exchange)
        return self.act(exchange) if phase == self.phase else None

    def mark(self, phase: str, exchange: Exchange) -> None:
        if phase == "pre_request":
            exchange.request.headers.set(f"x-{self.name}-edited", "yes")
        if phase == "upstream":
            assert exchange.outgoing is not None
            exchange.outgoing.headers.set(f"x-{self.name}-signed", "yes")
        if phase == "post_response":
            assert exchange.reply is not None
            exchange.reply.headers.set(f"x-{self.name}-status", str(exchange.reply.status))

    def act(self, exchange: Exchange) -> Reply | None:
        if self.what == "refuses":
            raise Forbidden("not here")
        if self.what == "raises":
            raise LookupError("planted")
        if self.what == "returns":
            return Reply.text(418, "mine")
        assert self.what == "wraps" and exchange.reply is not None
        if exchange.reply.streaming:
            exchange.reply.headers.remove("content-length")
            exchange.reply.body = Wrapped(exchange.reply.body)
        return None


class Wrapped:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            yield chunk.upper()

    async def aclose(self) -> None:
        await self._inner.aclose()


def told(exchange: Exchange) -> tuple[Any, ...]:
    """All that a log could say of it but for times and addresses."""
    error, reply, target = exchange.error, exchange.reply, exchange.target
    return (
        exchange.status,
        (type(error).__name__, error.message, error.by) if error is not None else None,
        exchange.sent_bytes,
        tuple(field for field in reply.headers if field[0] != "date") if reply is not None else None,
        exchange.place,
        target.name if target is not None else None,
        exchange.attempt.number,
        exchange.request.target,
        exchange.sent_at is not None,
        exchange.answered_at is not None,
        exchange.ended is not None,
    )


def participant(conduct: Conduct, awaits: bool) -> object:
    """One with all eight hooks, of either kind."""

    def plain(phase: str) -> Callable[..., Any]:
        return lambda self, exchange: conduct(phase, exchange)

    def awaited(phase: str) -> Callable[..., Any]:
        async def hook(self: object, exchange: Exchange) -> Any:
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            return conduct(phase, exchange)

        return hook

    make = awaited if awaits else plain
    return type(conduct.name, (), {phase: hookimpl(make(phase)) for phase in PHASES})()


@dataclass(frozen=True)
class Outcome:
    replies: bytes
    records: tuple[Any, ...]
    forwarded: tuple[bytes, ...]
    closed: tuple[bool, ...]


async def outcome(setting: Setting, awaits: tuple[bool, bool], script: list[Any], conduct: Conduct) -> Outcome:
    """What becomes of a script: bytes that the client sends, `Say` for the upstream, and "leave"."""
    first, second = Conduct("first"), conduct
    before = len(setting.upstream.peers)
    running = await setting.serving(None, binds={0: setting.bind_to(*map(participant, (first, second), awaits))})
    client = setting.dial(running)
    received = b""
    for step in script:
        if isinstance(step, bytes):
            client.send(step)
        elif isinstance(step, Say):
            say(setting.upstream.peers[before:], step.piece)
        else:
            client.socket.close()
        await setting.settled()
        if step != "leave" and client.socket.fileno() >= 0:
            received += client.received()
    peers = setting.upstream.peers[before:]
    for peer in peers:
        assert b"x-first-signed: yes\r\nx-second-signed: yes" in peer.received
    records = (*first.records, *second.records)
    return Outcome(
        re.sub(rb"date: [^\r]+", b"date: -", received),
        records,
        tuple(re.sub(rb"x-forwarded-host: [^\r]+", b"", peer.received) for peer in peers),
        tuple(peer.lost for peer in peers),
    )


@dataclass(frozen=True)
class Say:
    piece: bytes


def say(peers: list[Any], piece: bytes) -> None:
    if peers and not peers[-1].transport.is_closing():
        if piece:
            peers[-1].transport.write(piece)
        else:
            peers[-1].transport.close()


@dataclass
class Setting:
    serving: Any
    bind_to: Any
    dial: Any
    upstream: Any
    settled: Any


@pytest.fixture
def setting(serving, bind_to, dial, upstream, settled) -> Setting:
    return Setting(serving, bind_to, dial, upstream, settled)


async def same(setting: Setting, script: list[Any], phase: str = "", what: str = "") -> Outcome:
    """The outcome, which is the same for every kind of participants."""
    outcomes = [await outcome(setting, kind, script, Conduct("second", phase, what)) for kind in KINDS]
    for kind, one in zip(KINDS[1:], outcomes[1:], strict=True):
        assert one == outcomes[0], kind
    assert outcomes[0].records
    return outcomes[0]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("what", ["", "wraps"])
async def test_answers_of_every_kind(setting, answer, what):
    script = [GET, *map(Say, ANSWERS[answer])]
    found = await same(setting, script, "post_response" if what else "", what)
    status = {"no answer": 502, "garbage": 502, "an error": 503}.get(answer, 200)
    assert found.replies.startswith(b"HTTP/1.1 %d " % status) and found.records[0][1][0] == status
    assert len(found.forwarded) == 1
    if status == 200 and answer != "whole":
        assert (b"ONE" if what else b"one") in found.replies


@pytest.mark.parametrize("request_", [POST, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("answer", ["whole", "chunked", "no answer"])
async def test_uploads(setting, request_, answer):
    found = await same(setting, [*request_, *map(Say, ANSWERS[answer])])
    assert len(found.forwarded) == 1 and b"hello" in found.forwarded[0] and b"world" in found.forwarded[0]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("what", ["refuses", "raises", "returns"])
async def test_what_a_participant_ends_in_any_phase(setting, phase, what):
    found = await same(setting, [GET, *map(Say, ANSWERS["chunked"])], phase, what)
    status = {"refuses": 403, "raises": 500, "returns": 418}[what]
    if phase == "log":
        status = 200
    elif phase == "post_response" and what == "returns":
        status = 500  # it may edit, and returns nothing
    assert found.replies.startswith(b"HTTP/1.1 %d " % status)
    assert len(found.forwarded) == (phase in ("post_response", "log"))
    assert [record[0][-1] for record in found.records] == ["log", "log"]


@pytest.mark.parametrize("request_", [POST, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("what", ["refuses", "returns"])
async def test_a_request_that_is_refused_with_its_body_under_way_and_the_next_one(setting, request_, what):
    found = await same(setting, [*request_, GET, *map(Say, ANSWERS["whole"])], "authz", what)
    assert found.replies.startswith(b"HTTP/1.1 4") and not found.forwarded


async def test_requests_one_behind_the_other(setting):
    found = await same(setting, [GET * 3, *map(Say, ANSWERS["chunked"] * 3)])
    assert found.replies.count(b"HTTP/1.1 200") == 3 and len(found.forwarded) == 1


@pytest.mark.parametrize(
    "script",
    [
        [POST[0], POST[1], "leave"],
        [CHUNKED[0], CHUNKED[1], "leave"],
        [GET, "leave"],
        [GET, Say(ANSWERS["chunked"][0][:20]), "leave"],
        [GET, Say(ANSWERS["chunked"][0]), "leave"],
        [GET, Say(ANSWERS["until close"][0]), "leave"],
        [GET, Say(ANSWERS["length"][0]), Say(ANSWERS["length"][1]), "leave"],
    ],
    ids=["in a body", "in chunks", "before the answer", "in its head", "in chunks of it", "in the rest", "in its body"],
)
@pytest.mark.parametrize("what", ["", "wraps"])
async def test_a_client_that_leaves(setting, script, what):
    found = await same(setting, script, "post_response" if what else "", what)
    assert [record[1][1][0] for record in found.records] == ["Disconnected", "Disconnected"]
    assert all(found.closed)
