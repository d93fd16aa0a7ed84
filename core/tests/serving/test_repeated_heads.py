"""A head that comes again is read as it was the first time, and nothing else is taken for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgateway._host.config import HttpFrontend
from agentgateway._host.edge.reading import Reading
from agentgateway._host.edge.turn import Turn
from agentgateway.exchange import Exchange, Reply

POST = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX-Key:  k \r\n\r\n%b"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def reading(*, remembers: bool) -> Reading:
    runtime: Any = SimpleNamespace(gateway=SimpleNamespace(http=HttpFrontend()))
    connection: Any = SimpleNamespace(loop=None)
    made = Reading(runtime, partial(Turn, connection), lambda: None)
    if not remembers:
        made._chances = 0
    return made


def read(one: Reading, pieces: list[bytes]) -> list[tuple[Any, ...]]:
    """What comes of each piece, the turns being begun at once."""
    found: list[tuple[Any, ...]] = []
    for piece in pieces:
        upgrade = one.feed(piece, True) if one.open else None
        turns = [one.ready.popleft() for _ in range(len(one.ready))]
        found.append((upgrade, one.open, one.last, one.in_head, one.incoming is None, list(map(facts, turns))))
    return found


def facts(turn: Turn) -> tuple[Any, ...]:
    return (
        *(turn.method, turn.url, turn.version, turn.headers, turn.length, b"".join(turn.parts)),
        *(turn.complete, turn.expects, turn.keep, turn.error and str(turn.error), turn.trailers),
    )


def posted(body: bytes) -> bytes:
    return POST % (len(body), body)


BODY = st.binary(max_size=12)
WHOLE = BODY.map(posted) | st.just(GET) | st.just(b"GET /x HTTP/1.1\r\nhost: a\r\nContent-Length: 0\r\n\r\n")
ODD = st.sampled_from(
    [
        POST % (5, b"abc"),
        POST % (2, b"abc"),
        posted(b"abc").replace(b"3", b"+3"),
        posted(b"abc").replace(b"3", b"03"),
        posted(b"abc").replace(b"3", b"3 "),
        posted(b"abc").replace(b"3", b"3, 3"),
        posted(b"abc").replace(b"3", b""),
        posted(b"abc").replace(b"X-Key:", b"Content-Length: 3\r\nX-Key:"),
        posted(b"abc").replace(b"X-Key:", b"Transfer-Encoding: chunked\r\nX-Key:"),
        posted(b"abc").replace(b"X-Key:  k ", b"Connection: close"),
        posted(b"abc").replace(b"X-Key:  k ", b"Expect: 100-continue"),
        GET.replace(b"host: a", b"host: a\r\nconnection: close"),
        GET.replace(b"host: a", b"host: a\r\nconnection: upgrade\r\nupgrade: x"),
        GET.replace(b"1.1", b"1.0"),
        b"\r\n" + GET,
        b"\r\n\r\n" + posted(b"abc"),
        b"\r\n",
        b"rubbish",
        b"0\r\n\r\n",
        GET + GET,
        posted(b"abc") + GET[:9],
    ]
)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(WHOLE | WHOLE | ODD | st.tuples(WHOLE, st.integers(1, 40)).map(lambda cut: cut[0][: cut[1]]), max_size=7)
)
def test_with_memory_as_without(pieces):
    assert read(reading(remembers=True), pieces) == read(reading(remembers=False), pieces)


def test_bodies_of_any_length_go_behind_one_head():
    one = reading(remembers=True)
    bodies = [b"", b"a", b"b" * 9, b"c" * 12345, b"d"]
    found = read(one, [posted(body) for body in bodies])
    assert [turns[0][5] for *_, turns in found] == bodies
    assert [turns[0][3][1] for *_, turns in found] == [(b"content-length", b"%d" % len(body)) for body in bodies]


def test_a_connection_without_repetition_gives_up_remembering():
    one = reading(remembers=True)
    read(one, [GET.replace(b"/", b"/%d" % number, 1) for number in range(9)])
    assert one._chances == 0
    read(one, [GET, GET])


async def test_what_happens_to_one_requests_head_is_not_seen_by_the_next(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        body, seen = (
            await exchange.request.body.read(100),
            ",".join(sorted(name for name, _ in exchange.request.headers)),
        )
        exchange.request.headers.remove("x-key")
        exchange.request.headers.add("x-added", "1")
        return Reply.text(200, f"{seen} {exchange.request.target} {body!r}")

    client = await connect(await serving(answer))
    for body in (b"abc", b"d", b"longer than before"):
        await client.send(posted(body))
        assert (await client.reply())[2] == f"content-length,host,x-key /a?b {body!r}".encode()


async def test_limits_that_a_reload_lowers_hold_for_a_head_that_came_before(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "")

    running = await serving(answer)
    client = await connect(running)
    request = GET.replace(b"\r\n\r\n", b"\r\nx: y\r\n\r\n")
    for _ in range(3):
        await client.send(request)
        assert (await client.reply())[0] == 200
    gateway = running.runtime.gateway
    running.runtime.gateway = replace(gateway, http=HttpFrontend.model_validate({"http1MaxHeaders": 1}))
    await client.send(request)
    assert (await client.reply())[0] == 431


@pytest.mark.parametrize("size", [1, 8])
async def test_a_repeated_request_may_come_in_pieces(serving, connect, size):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, (await exchange.request.body.read(100)).decode())

    client = await connect(await serving(answer))
    for pieces in (1, 1, size, 1):
        data = posted(b"hello")
        step = -(-len(data) // pieces)
        for at in range(0, len(data), step):
            await client.send(data[at : at + step])
        assert (await client.reply())[2] == b"hello"
