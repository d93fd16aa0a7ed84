"""Streams that a client may lose and take up again."""

from __future__ import annotations

import asyncio

import pytest
from agentgateway_mcp import shelf as shelves
from agentgateway_mcp import tape as tapes
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.inbox import ROOM, Letter
from agentgateway_mcp.shelf import Shelf
from agentgateway_mcp.tape import KEPT, Reader, Tape

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
    assert [event for _, event in await rest_of(tape, 0)] == ["a0.x:8", "a0.x:9", "a0.x:10"]
    many = named()
    put(many, *([b"x"] * 1000))
    assert len(await rest_of(many, 0)) == ROOM
    read = named(room=1 << 24)
    reader = read.opened()
    for _ in range(100):
        put(read, b"x" * 10_000)
        await anext(reader)
    assert read.bytes <= KEPT + 10_000


async def rest_of(tape: Tape, number: int) -> list[tuple[bytes, str | None]]:
    tape.end()
    return await rest(tape.resumed(number))


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
