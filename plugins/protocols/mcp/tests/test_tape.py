"""Streams that a client may lose and take up again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from agentgateway_mcp import shelf as shelves
from agentgateway_mcp import tape as tapes
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.inbox import ROOM, Letter
from agentgateway_mcp.modern_stream import ModernStream
from agentgateway_mcp.servers import Answer, Ask, Said
from agentgateway_mcp.shelf import Shelf
from agentgateway_mcp.tape import KEPT, Reader, Tape

from agentgateway.errors import UpstreamError
from agentgateway.peers import LocalPeers


def named(*, primed: bool = False, room: int = 1 << 20) -> Tape:
    tape = Tape(room, primed=primed)
    tape.name = "a0.x"
    return tape


def put(tape: Tape, *messages: bytes) -> None:
    for message in messages:
        tape.put(Letter(message))


async def rest(reader: Reader) -> list[tuple[bytes, str | None]]:
    return [(said.data, said.event) async for said in reader]


async def test_who_comes_back_gets_what_was_missed_and_nothing_else() -> None:
    tape = named(primed=True)
    put(tape, b"one", b"two")
    first = tape.opened()
    assert [(await anext(first)).event for _ in range(3)] == ["a0.x:0", "a0.x:1", "a0.x:2"]
    await first.aclose()
    put(tape, b"three")
    tape.end()
    assert await rest(tape.resumed(1)) == [(b"two", "a0.x:2"), (b"three", "a0.x:3")]
    assert await rest(tape.resumed(3)) == []
    assert [data for data, _ in await rest(tape.resumed(0))] == [b"one", b"two", b"three"]


async def test_of_two_readers_the_later_one_reads_on() -> None:
    tape = named()
    first = tape.opened()
    waiting = asyncio.ensure_future(rest(first))
    await asyncio.sleep(0)
    second = tape.resumed(0)
    put(tape, b"one")
    assert (await anext(second)).data == b"one"
    assert await waiting == []
    await first.aclose()  # no longer its concern
    put(tape, b"two")
    assert (await anext(second)).data == b"two"


async def test_a_reader_that_does_not_come_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "AWAY", 0.02)
    left: list[str] = []
    tape = named()
    tape.on_close = lambda: left.append("named")
    put(tape, b"one")
    reader = tape.opened()
    await anext(reader)
    await reader.aclose()
    again = tape.resumed(1)
    await asyncio.sleep(0.05)
    assert left == []
    await again.aclose()
    async with asyncio.timeout(5):
        while not left:
            await asyncio.sleep(0.01)


async def test_who_has_no_id_yet_cannot_come_back() -> None:
    left: list[str] = []
    for tape in (Tape(1024), named()):
        tape.on_close = lambda: left.append("at once")
        await tape.opened().aclose()
    assert left == ["at once", "at once"]


async def test_a_stream_takes_no_more_memory_than_it_may() -> None:
    tape = named(room=1000)
    put(tape, *([b"x" * 300] * 10))
    assert (tape.bytes, tape.last) == (900, 10)
    assert [event for _, event in await rest_of(tape, 7)] == ["a0.x:8", "a0.x:9", "a0.x:10"]
    many = named()
    put(many, *([b"x"] * 1000))
    assert len(await rest_of(many, 1000 - ROOM)) == ROOM
    read = named(room=1 << 24)
    reader = read.opened()
    for _ in range(100):
        put(read, b"x" * 10_000)
        await anext(reader)
    assert read.bytes <= KEPT + 10_000


async def rest_of(tape: Tape, number: int) -> list[tuple[bytes, str | None]]:
    tape.end()
    return await rest(tape.resumed(number))


async def test_who_has_missed_what_is_not_kept_any_more_is_told_so() -> None:
    peers = LocalPeers()
    shelf, colleague = Shelf(peers), Shelf(peers)
    names = []
    kinds: tuple[shelves.Kind, ...] = ("a", "g")
    for kind in kinds:
        tape = Tape(1 << 20)
        answer = shelf.keep("s", tape, kind)
        assert answer.messages is not None
        for number in range(40):
            put(tape, b"x" * 8192)
            if number < 30:
                await anext(answer.messages)
        assert tape.first == 30 + 1 - KEPT // 8192
        names.append((tape.name, tape.first))
    for where in (shelf, colleague):
        (name, first), (general, first_of_general) = names
        for number in (5, first - 2):
            with pytest.raises(McpError, match="too old"):
                await where.resumed("s", f"{name}:{number}")
        rest = await where.resumed("s", f"{name}:{first - 1}")
        assert rest is not None and rest.messages is not None
        assert (await anext(rest.messages)).event == f"{name}:{first}"
        await rest.close()
        assert await where.resumed("s", f"{general}:{first_of_general - 2}") is None  # begins anew
    shelf.stop()
    await peers.stop()


async def test_who_reads_too_slowly_is_told_so() -> None:
    left: list[str] = []
    tape = named()
    tape.on_close = lambda: left.append("at once")
    reader = tape.opened()
    put(tape, b"one")
    await anext(reader)
    put(tape, *([b"x"] * (ROOM + 1)))
    with pytest.raises(UpstreamError, match="messages were lost"):
        await anext(reader)
    await reader.aclose()
    assert left == ["at once"]  # there is nothing to come back for


async def test_a_burst_does_not_make_a_reader_slow() -> None:
    count = 4 * ROOM

    class Bursting:
        def later(self) -> Bursting:
            return self

        async def send(self, ask: Ask) -> Answer:
            return Answer(200, messages=self._said())

        async def _said(self) -> AsyncIterator[Said]:
            for _ in range(count):
                yield Said(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')

    stream = ModernStream({}, Tape(1 << 20), lambda tape: Answer(200, messages=tape.opened()))
    answer = await stream.begin(cast("Any", Bursting()), (), ())
    assert answer.messages is not None
    assert len([said async for said in answer.messages]) == count


async def test_few_streams_go_on_without_their_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "ALONE", 2)
    monkeypatch.setattr(shelves, "BYTES", 100)
    peers = LocalPeers()
    shelf = Shelf(peers)
    given_up: list[int] = []

    async def leaving(number: int) -> tuple[Tape, Answer]:
        tape = Tape(1024)

        def close() -> None:
            given_up.append(number)
            tape.end()

        tape.on_close = close
        answer = shelf.keep("s", tape, "a")
        assert answer.messages is not None
        put(tape, b"one")
        await anext(answer.messages)
        await answer.close()
        return tape, answer

    first, _ = await leaving(1)
    await leaving(2)
    back = await shelf.resumed("s", f"{first.name}:1")
    assert back is not None
    await leaving(3)
    assert given_up == []
    await back.close()  # two others have been left before
    assert given_up == [2]
    await leaving(4)
    assert given_up == [2, 3]
    put(first, b"x" * 100)
    assert given_up == [2, 3, 1]
    assert await shelf.resumed("s", f"{first.name}:1")  # it has ended, and is kept like every other
    shelf.stop()
    await peers.stop()


async def test_what_has_ended_is_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "BYTES", 25)
    peers = LocalPeers()
    shelf, colleague = Shelf(peers), Shelf(peers)
    places = []
    for number in range(4):
        tape = Tape(1024)
        put(tape, b"%d........." % number)
        answer = shelf.keep("s", tape, "a")
        assert answer.messages is not None
        place = (await anext(answer.messages)).event or ""
        places.append(f"{place.rpartition(':')[0]}:0")
        tape.end()
    for where in (shelf, colleague):
        kept = [await where.resumed("s", place) for place in places[2:]]
        assert [(await anext(one.messages)).data[:1] for one in kept if one and one.messages] == [b"2", b"3"]
        for session, place in (("s", places[0]), ("t", places[3]), ("s", f"{places[3]}9"), ("s", "a0.x:1"), ("s", "")):
            with pytest.raises(McpError, match="last-event-id"):
                await where.resumed(session, place)
    monkeypatch.setattr(shelves, "SECONDS", 0.01)
    last = Tape(1024)
    answer = shelf.keep("s", last, "g")
    put(last, b"one")
    last.end()
    assert answer.messages is not None
    place = (await anext(answer.messages)).event or ""
    assert await shelf.resumed("s", place) is None  # a general stream begins anew where it has ended
    assert await colleague.resumed("s", place) is None
    async with asyncio.timeout(5):
        while await shelf.resumed("s", f"{place[:-1]}0") is not None:
            await asyncio.sleep(0.02)
    shelf.stop()
    await peers.stop()
