"""What a participant sets in a context variable belongs to its request, whoever's callback drives that."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentgateway.exchange import Exchange
from agentgateway.hookspecs import PHASES, hookimpl

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")
CONNECTIONS = 5
ROUNDS = 3
UNSET_AT_FIRST = ["unset", *["own"] * (len(PHASES) - 1)]


class Setting:
    """Sets the variable in each phase, after looking at what it was."""

    def __init__(self, wraps: bool) -> None:
        self.wraps = wraps
        self.seen: dict[str, list[str]] = {}
        self.streams: list[str] = []

    def look(self, phase: str, exchange: Exchange) -> None:
        target, was = exchange.request.target, VARIABLE.get()
        own = was.startswith(f"{target} ")
        self.seen.setdefault(target, []).append(was if not own else "own")
        VARIABLE.set(f"{target} {phase}")
        if phase == "post_response" and self.wraps:
            assert exchange.reply is not None
            exchange.reply.body = self.wrapped(exchange.reply.body, target)

    async def wrapped(self, inner: Any, target: str) -> AsyncIterator[bytes]:
        async for chunk in inner:
            self.streams.append(VARIABLE.get())
            assert VARIABLE.get().startswith(f"{target} ")
            VARIABLE.set(f"{target} stream")
            yield chunk


def hooks(setting: Setting, awaits: bool) -> object:
    def plain(phase: str) -> Any:
        return lambda self, exchange: setting.look(phase, exchange)

    def awaited(phase: str) -> Any:
        async def hook(self: object, exchange: Exchange) -> None:
            setting.look(phase, exchange)

        return hook

    make = awaited if awaits else plain
    return type("Hooks", (), {phase: hookimpl(make(phase)) for phase in PHASES})()


@pytest.mark.parametrize("awaits", [False, True], ids=["plain", "awaited"])
@pytest.mark.parametrize("wraps", [False, True], ids=["passed on", "wrapped"])
async def test_requests_on_several_connections_never_see_each_others(
    serving, bind_to, dial, upstream, settled, awaits, wraps
):
    setting = Setting(wraps)
    running = await serving(None, binds={0: bind_to(hooks(setting, awaits))})
    clients = [dial(running) for _ in range(CONNECTIONS)]
    for round_ in range(ROUNDS):
        for number, client in enumerate(clients):
            client.send(b"GET /%d/%d HTTP/1.1\r\nhost: x\r\n\r\n" % (round_, number))
        await settled()
        peers = [peer for peer in upstream.peers if not peer.lost]
        assert len(peers) == CONNECTIONS
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        for pieces in (head[:20], head[20:] + b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            peers.reverse()  # the first to ask is the last to be answered, then the other way round
            for peer in peers:
                peer.transport.write(pieces)
            await settled()
        for client in clients:
            reply = client.received()
            assert reply.startswith(b"HTTP/1.1 200") and reply.endswith(b"0\r\n\r\n") and b"two" in reply
    assert setting.seen == {f"/{r}/{n}": UNSET_AT_FIRST for r in range(ROUNDS) for n in range(CONNECTIONS)}
    assert len(setting.streams) == (2 * CONNECTIONS * ROUNDS if wraps else 0)
    assert VARIABLE.get() == "unset"


async def test_requests_in_one_write_never_see_each_others(serving, bind_to, dial, upstream, settled):
    setting = Setting(False)
    upstream.answer = lambda peer: peer.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    running = await serving(None, binds={0: bind_to(hooks(setting, False))})
    client = dial(running)
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(20)))
    await settled()
    assert client.received().count(b"HTTP/1.1 200") == 20
    assert setting.seen == {f"/{number}": UNSET_AT_FIRST for number in range(20)}
