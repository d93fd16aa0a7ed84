"""What is read and written without h11 is what h11 would have read and written."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgateway._host.config import HttpFrontend
from agentgateway._host.ordinary_head import ordinary_head
from agentgateway._host.ordinary_reply import OrdinaryReply
from agentgateway._host.port import Port
from agentgateway._host.traffic import Traffic
from agentgateway.exchange import Exchange, Reply

POST = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX-Key:  k \r\n\r\n%b"

NAMES = st.sampled_from(
    [
        b"host",
        b"Host",
        b"content-length",
        b"Connection",
        b"Expect",
        b"Upgrade",
        b"transfer-encoding",
        b"x",
        b"x-y",
        b"%",
    ]
) | st.binary(max_size=3)
VALUES = st.sampled_from(
    [
        b"a",
        b"3",
        b"03",
        b"+3",
        b"3, 3",
        b"",
        b"close",
        b"Keep-Alive",
        b"chunked",
        b" a ",
        b"\ta\tb",
        b"\xff",
        b"a:b",
        b"\x7f",
    ]
) | st.binary(max_size=4)
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b":", b": ", b" : "]), VALUES), max_size=4)
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"post / HTTP/1.1",
        b"PUT * HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET /\x80 HTTP/1.1",
    ]
    + [b"CONNECT x HTTP/1.1", b"HEAD / HTTP/1.1", b"\r\nGET / HTTP/1.1", b"PRI * HTTP/2.0", b"GET /a\tb HTTP/1.1"]
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])


@settings(max_examples=300, deadline=None)
@given(start=STARTS, fields=FIELDS, end=ENDS, body=st.binary(max_size=5), host=st.booleans())
def test_a_head_is_left_to_h11_or_read_as_h11_reads_it(start, fields, end, body, host):
    lines = [start, *([b"Host: x"] if host else []), *(name + colon + value for name, colon, value in fields)]
    data = end.join(lines) + end + b"\r\n" + body
    ours = ordinary_head(data)
    if ours is None:
        return
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(data)
    event = theirs.next_event()
    assert (ours.method.encode(), ours.target, ours.headers) == (event.method, event.target, list(event.headers))
    assert event.http_version == b"1.1"
    assert not theirs.they_are_waiting_for_100_continue
    left = data[ours.size :]
    if not ours.length:
        assert isinstance(theirs.next_event(), h11.EndOfMessage)
        assert theirs.trailing_data[0] == left
    elif left:
        assert theirs.next_event().data == left[: ours.length]
    assert not ours.length or theirs.their_state is h11.SEND_BODY
    assert theirs.our_state is h11.SEND_RESPONSE


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_what_clients_send_is_ordinary(method):
    data = (POST % (3, b"abc")).replace(b"POST", method.encode())
    head = ordinary_head(data)
    assert head is not None
    assert (head.method, head.target, head.length, data[head.size :]) == (method, b"/a?b", 3, b"abc")
    assert head.headers == [(b"host", b"a"), (b"content-length", b"3"), (b"x-key", b"k")]


LENGTH = [(b"content-length", b"3"), (b"x", b"y")]


@pytest.mark.parametrize(
    ("status", "headers", "parts"),
    [
        (200, LENGTH, [b"abc"]),
        (200, LENGTH, [b"a", b"", b"bc"]),
        (200, [], [b"one", b"", b"two" * 100]),
        (200, [(b"connection", b"close")], [b"one"]),
        (404, [(b"content-length", b"0"), (b"connection", b"close")], []),
        (204, [(b"x", b"")], []),
        (304, LENGTH, []),
        (200, LENGTH, [b"abcd"]),
        (200, LENGTH, [b"ab"]),
        (200, [(b"content-length", b"x")], []),
        (200, [(b"content-length", b"1"), (b"content-length", b"2")], []),
        (200, [(b"transfer-encoding", b"gzip")], []),
        (200, [(b"X-Y", b"z"), (b"Content-Length", b"1")], [b"a"]),
        (200, [(b"x y", b"z")], []),
        (200, [(b"", b"z")], []),
        (200, [(b"x", b"y\r\nz: a")], []),
        (200, [(b"x", b"y\0")], []),
    ],
)
def test_a_reply_is_written_as_h11_writes_it(status, headers, parts):
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(POST % (0, b""))
    theirs.next_event()
    theirs.next_event()
    ours, wanted, failed = OrdinaryReply(), b"", ""
    try:
        wanted = theirs.send(h11.Response(status_code=status, headers=headers))
        wanted += b"".join([theirs.send(h11.Data(data=part)) for part in parts]) + theirs.send(h11.EndOfMessage())
    except h11.LocalProtocolError as error:
        failed = type(error).__name__

    def written() -> bytes:
        return ours.head(status, headers) + b"".join(map(ours.part, parts)) + ours.end()

    if failed:
        with pytest.raises(h11.LocalProtocolError):
            written()
        assert not ours.keep
    else:
        assert written() == wanted
        assert ours.keep is (theirs.our_state is h11.DONE)


async def echo(exchange: Exchange) -> Reply:
    return Reply.text(200, (await exchange.request.body.read(10_000)).decode())


@pytest.mark.parametrize("sizes", [(1, 200), (70, 200), (82, 300), (300, 300), (30, 82)])
async def test_requests_may_be_cut_anywhere(serving, connect, sizes):
    client = await connect(await serving(echo))
    bodies = [b"x" * 5, b"", b"z" * 300]
    sent = b"".join(POST % (len(body), body) for body in bodies)
    last = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    first, second = sizes
    for piece in (sent[:first], sent[first:second], sent[second:], last):
        await client.send(piece)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        replies = (await client.reader.read()).split(b"HTTP/1.1 200")[1:]
    assert [reply.partition(b"\r\n\r\n")[2] for reply in replies] == [*bodies, b""]


async def test_a_body_that_breaks_off_is_answered_once_at_most(serving, connect):
    started = asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        started.set()
        return await echo(exchange)

    client = await connect(await serving(answer))
    await client.send(POST % (5, b"abc"))
    async with asyncio.timeout(5):
        await started.wait()
    client.writer.write_eof()
    async with asyncio.timeout(5):
        assert (await client.reader.read()).count(b"HTTP/1.1 ") <= 1


async def test_a_client_that_sends_and_sends_and_does_not_read_leaves_no_connection_behind(serving, connect):
    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def answer(exchange: Exchange) -> Reply:
        await anext(aiter(exchange.request.body))
        return Reply(200, body=chunks())

    running = await serving(answer, http={"bodyTimeout": "300ms"})
    client = await connect(running, limit=1024)
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(1):
            await client.send(POST % (10**9, b""))
            while True:
                await client.send(b"x" * 65536)
    client.writer.transport.abort()
    async with asyncio.timeout(5):
        for port in running.server._ports.values():
            await port.gone()


PIECES = 800


async def test_a_body_that_looks_like_heads_waits_for_its_client_too(connect):
    sent = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        piece = b"HTTP/1.1 ".ljust(60_000, b"x")
        length = b"%d" % (PIECES * len(piece))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for _ in range(PIECES):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += 1
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    port = Port(socket.create_server(("127.0.0.1", 0)), application, HttpFrontend, Traffic())
    port.listen()
    client = await connect(SimpleNamespace(port=port.socket.getsockname()[1]), limit=1024)
    await client.send(POST % (0, b""))
    await client.reader.readexactly(1)
    for _ in range(10 * PIECES):
        await asyncio.sleep(0)
    assert 0 < sent < PIECES
    client.writer.transport.abort()
    async with asyncio.timeout(5):
        await port.gone()
    port.stop()
    port.socket.close()


async def test_nothing_is_made_of_a_reply_to_a_connection_that_was_given_up(serving, connect, caplog):
    closed, replied = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        await closed.wait()
        replied.set()
        return Reply.text(200, "late")

    client = await connect(await serving(answer))
    await client.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + b"no preface " * 9)
    async with asyncio.timeout(5):
        while not await client.reader.read(1000):
            pass
        while await client.reader.read(1000):
            pass
    closed.set()
    async with asyncio.timeout(5):
        await replied.wait()
    await client.close()
    assert "RuntimeError" not in caplog.text


async def test_any_application_is_served_as_hypercorn_would(connect):
    """Such as the admin's: it need not name its headers, and is answered for when it fails."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/fails":
            raise ValueError("on purpose")
        await send({"type": "http.response.body", "body": message["body"]})

    async def silent(scope: Any, receive: Any, send: Any) -> None: ...

    for app, path, expected in (
        (application, b"/a", b"chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        (application, b"/fails", b"chunked\r\n\r\n"),
        (silent, b"/a", b"HTTP/1.1 500 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    ):
        port = Port(socket.create_server(("127.0.0.1", 0)), app, HttpFrontend, Traffic())
        port.listen()
        client = await connect(SimpleNamespace(port=port.socket.getsockname()[1]))
        await client.send((POST % (3, b"abc")).replace(b"/a?b", path))
        received = b""
        async with asyncio.timeout(5):
            while not received.endswith(expected):
                received += await client.reader.read(1000) or b"at its end"
        await client.close()
        async with asyncio.timeout(5):
            await port.gone()
        port.stop()
        port.socket.close()
