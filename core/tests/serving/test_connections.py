"""What happens on one connection besides single requests: pipelines, upgrades, slow readers, ends."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator

import pytest

from agentgateway.exchange import Exchange, Reply

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
WEBSOCKET = (
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


async def path(exchange: Exchange) -> Reply:
    return Reply.text(200, exchange.request.path)


async def everything(client) -> bytes:
    async with asyncio.timeout(30):
        return await client.reader.read()


async def test_fifteen_hundred_requests_in_one_write_are_answered_in_order(serving, connect):
    client = await connect(await serving(path))
    last = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    await client.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(1500)) + last)
    replies = (await everything(client)).split(b"HTTP/1.1 200")[1:]
    bodies = [reply.partition(b"\r\n\r\n")[2].strip() for reply in replies]
    assert bodies == [b"/%d" % number for number in range(1500)] + [b"/last"]


async def test_a_client_that_asks_and_asks_and_does_not_read_is_cut_off(serving, connect):
    async def large(exchange: Exchange) -> Reply:
        return Reply.text(200, "x" * 100_000)

    running = await serving(large, http={"bodyTimeout": "300ms"})
    client = await connect(running, limit=1024)
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(20):
            while True:
                await client.send(GET * 1000)
    assert client.writer.is_closing() or client.reader.exception() is not None
    assert len(running.hooks.logged) < 2000  # what the buffers of the kernel hold, and no more


async def test_a_stream_in_http_1_0_ends_with_its_connection_whatever_the_client_asked_for(serving, connect):
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    client = await connect(await serving(answer))
    await client.send(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    received = await everything(client)
    assert received.endswith(b"\r\n\r\nonetwo") and b"connection: close" in received.lower()


async def test_draining_waits_for_a_client_that_has_yet_to_read_its_reply(serving, connect):
    async def large(exchange: Exchange) -> Reply:
        return Reply.text(200, "x" * 20_000_000)

    running = await serving(large, settings={"connectionTerminationDeadline": "30s"})
    client = await connect(running, limit=1024)
    await client.send(GET)
    assert await client.reader.readexactly(1) == b"H"  # the reply has begun
    running.shutdown.set()
    await asyncio.sleep(1)
    assert len((await everything(client)).partition(b"\r\n\r\n")[2]) == 20_000_000


@pytest.mark.parametrize("at", [1, 2, 3, 10, len(PREFACE) - 1])
async def test_the_preface_of_http_2_may_come_in_pieces(serving, connect, at):
    client = await connect(await serving(path))
    await client.send(PREFACE[:at])
    await asyncio.sleep(0.02)
    await client.send(PREFACE[at:] + SETTINGS)
    async with asyncio.timeout(5):
        assert (await client.reader.readexactly(9))[3] == 4  # settings


async def test_an_upgrade_waits_for_the_requests_before_it(serving, connect):
    client = await connect(await serving(path))
    await client.send(b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n" + WEBSOCKET)
    received = await everything(client)
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.startswith(b"HTTP/1.1 200 ") and b"/firstHTTP/1.1 200 " in received and received.endswith(b"/")


async def test_what_a_request_sets_in_a_context_variable_is_its_own(serving, connect):
    variable = contextvars.ContextVar("variable", default="unset")

    async def answer(exchange: Exchange) -> Reply:
        before = variable.get()
        variable.set(exchange.request.path)
        return Reply.text(200, before)

    client = await connect(await serving(answer))
    for name in (b"/a", b"/b"):
        await client.send(b"GET " + name + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.reply())[2] == b"unset"


async def left(running) -> None:
    """Until no connection is open."""
    async with asyncio.timeout(5):
        for port in running.server._ports.values():
            await port.gone()


@pytest.mark.parametrize(
    "more", [b"", b"connection: upgrade\r\n", b"connection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk\r\n"]
)
async def test_a_connect_is_refused_whatever_it_would_be_upgraded_to(serving, connect, more):
    running = await serving(path)
    client = await connect(running)
    await client.send(b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\nupgrade: h2c\r\n" + more + b"\r\n")
    assert (await client.reply())[0] == 405
    assert await client.at_end()
    await client.close()
    await left(running)


@pytest.mark.parametrize("target", [b"/x?", b"/x??", b"/x?a", b"/x", b"/?", b"http://x/x?"])
async def test_the_target_stays_as_it_came(serving, connect, target):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, exchange.request.target)

    client = await connect(await serving(answer))
    await client.send(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.reply())[2] == target.removeprefix(b"http://x")


class TestEdge:
    """What only the edge does."""

    @pytest.fixture
    def face(self) -> str:
        return "edge"

    async def test_all_extensions_of_a_body_together_are_bounded(self, serving, connect):
        async def read(exchange: Exchange) -> Reply:
            return Reply(200, body=await exchange.request.body.read(1_000_000))

        client = await connect(await serving(read, http={"http1MaxHeadSize": 2048}))
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                await client.send(b"1;a=" + b"b" * 1000 + b"\r\nx\r\n")
                await asyncio.sleep(0.01)
        assert (await client.reply())[0] == 431

    async def test_many_small_chunks_are_none_of_that(self, serving, connect):
        async def read(exchange: Exchange) -> Reply:
            return Reply(200, body=await exchange.request.body.read(1_000_000))

        client = await connect(await serving(read, http={"http1MaxHeadSize": 2048}))
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await client.send(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        assert (await client.reply())[2] == b"x" * 20_000

    @pytest.mark.parametrize("pieces", [[b"BREW /tea HTTP/1.1\r\nhost: x\r\n\r\n"], [b"G", b"LUG /tea HTTP/1.1\r\n"]])
    async def test_an_unknown_method_is_a_501(self, serving, connect, pieces):
        client = await connect(await serving(path))
        for piece in pieces:
            await client.send(piece)
            await asyncio.sleep(0.02)
        assert (await client.reply())[0] == 501

    async def test_refusals_of_the_parser_are_logged_with_what_is_known(self, serving, connect):
        running = await serving(path)
        for request in (b"BREW /tea HTTP/1.1\r\n\r\n", b"POST /tea HTTP/1.1\r\nhost: x\r\nx\0: y\r\n\r\n"):
            client = await connect(running)
            await client.send(request)
            assert (await client.reply())[0] in (400, 501)
            logged = await running.hooks.next_logged()
            assert (logged.request.method, logged.request.path) == (request.split()[0].decode(), "/tea")

    async def test_upgrade_means_nothing_in_http_1_0(self, serving, connect):
        client = await connect(await serving(path))
        await client.send(WEBSOCKET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await client.reply())[0] == 200
