"""HTTP/2 by prior knowledge: the same application, other framing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived

from agentgateway.exchange import Exchange, Headers, Reply


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(http1=False, http2=True) as made:
        yield made


async def test_requests_share_a_connection(serving, client):
    async def answer(exchange: Exchange) -> Reply:
        request = exchange.request
        body = await request.body.read(10_000_000)
        return Reply.text(200, f"{request.method} {request.target} {request.authority} {request.version} {len(body)}")

    running = await serving(answer)
    url = f"http://127.0.0.1:{running.port}"
    replies = await asyncio.gather(
        client.get(f"{url}/a?b=%20"), client.post(f"{url}/c", content=b"x" * 2_000_000), client.get(f"{url}/..%2f")
    )
    host = f"127.0.0.1:{running.port}"
    assert replies[0].text == f"GET /a?b=%20 {host} HTTP/2 0"
    assert replies[1].text == f"POST /c {host} HTTP/2 2000000"
    assert (replies[2].status_code, replies[2].text) == (400, "dot segments in the path")
    assert "connection" not in replies[0].headers and "date" in replies[0].headers


async def test_a_stream_arrives_chunk_by_chunk(serving, client):
    gate = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        await gate.wait()
        yield b"two"

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, Headers.of({"content-type": "text/event-stream"}), chunks())

    running = await serving(answer)
    async with client.stream("GET", f"http://127.0.0.1:{running.port}/") as reply:
        pieces = reply.aiter_raw()
        assert await anext(pieces) == b"one"
        gate.set()
        assert await anext(pieces) == b"two"


async def test_a_stream_that_breaks_is_reset_and_its_connection_lives_on(serving, client):
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("upstream died")

    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "fine") if exchange.request.path == "/fine" else Reply(200, body=chunks())

    running = await serving(answer)
    url = f"http://127.0.0.1:{running.port}"
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"{url}/", timeout=5)
    assert (await client.get(f"{url}/fine")).text == "fine"
    traffic = running.runtime.metrics.snapshot()
    connections = next(f for f in traffic if f["name"] == "agentgateway_downstream_connections_total")
    assert connections["cells"][0][1] == [1]


@pytest.mark.parametrize("pause", [0.001, 60])
async def test_a_client_that_leaves_a_stream_closes_it_at_once(serving, connect_h2, pause):
    closed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(pause)
        finally:
            closed.set()

    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "fine") if exchange.request.path == "/fine" else Reply(200, body=chunks())

    running = await serving(answer)
    client = await connect_h2(running)
    stream = client.request()
    await client.until(DataReceived, stream)
    client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()
    await asyncio.wait_for(closed.wait(), 5)
    logged = await running.hooks.next_logged()
    assert logged.error is not None and logged.error.status == 499
    assert (await client.reply(client.request(path="/fine")))[1] == b"fine"


async def test_a_client_that_leaves_before_the_reply_ends_the_work(serving, client):
    cancelled = asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError

    running = await serving(answer)
    with pytest.raises(httpx.ReadTimeout):
        await client.post(f"http://127.0.0.1:{running.port}/", content=b"hi", timeout=0.1)
    with pytest.raises(httpx.ReadTimeout):
        await client.get(f"http://127.0.0.1:{running.port}/", timeout=0.1)
    await client.aclose()
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_client_that_stops_reading_is_cut_off(serving):
    closed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer, http={"bodyTimeout": "200ms"})
    async with httpx.AsyncClient(http1=False, http2=True) as client:
        async with client.stream("GET", f"http://127.0.0.1:{running.port}/") as reply:
            await anext(reply.aiter_raw())
            await asyncio.wait_for(closed.wait(), 5)  # its window was full, and nobody opened it
        assert (await running.hooks.next_logged()).error is not None


@pytest.mark.parametrize("size", [500_000, 6_000_000])
async def test_too_large_a_body_is_refused_and_others_on_the_connection_go_on(serving, connect_h2, size):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, str(len(await exchange.request.body.read(1000))))

    client = await connect_h2(await serving(answer))
    large = client.request("POST", end=False)
    small = client.request("POST", end=False)
    await client.upload(small, b"x" * 10)
    await client.upload(large, b"x" * size)
    assert await client.reply(small) == (200, b"10")
    assert (await client.reply(large))[0] == 413
    last = client.request("POST", end=False)
    await client.upload(last, b"y")
    assert await client.reply(last) == (200, b"1")


@pytest.mark.parametrize("more", [[("x-long", "a" * 70_000)], [("x-a", "1")] * 101, [("x-long", "a" * 200_000)]])
async def test_too_large_a_head_is_refused_and_others_on_the_connection_go_on(serving, connect_h2, more):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "fine")

    client = await connect_h2(await serving(answer))
    assert (await client.reply(client.request(more=more)))[0] == 431
    assert await client.reply(client.request(more=[("x-long", "a" * 60_000)])) == (200, b"fine")


async def test_a_head_of_more_than_can_be_refused_ends_its_connection_with_a_word(serving, connect_h2):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "fine")

    client = await connect_h2(await serving(answer))
    client.request(more=[("x-long", "a" * 270_000)])
    assert (await client.until(ConnectionTerminated)).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_the_limit_of_heads_that_is_configured_holds(serving, connect_h2):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, str(len(exchange.request.headers.get("x-long") or "")))

    client = await connect_h2(await serving(answer, http={"http1MaxHeadSize": 100_000}))
    assert await client.reply(client.request(more=[("x-long", "a" * 90_000)])) == (200, b"90000")
    assert (await client.reply(client.request(more=[("x-long", "a" * 110_000)])))[0] == 431


@pytest.mark.parametrize(
    "more",
    [[("content-length", "5"), ("content-length", "6")], [("x-a", "b\r\nc: d")], [("transfer-encoding", "chunked")]],
)
async def test_malformed_requests_end_their_connection_and_nothing_else(serving, connect_h2, more):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "fine")

    running = await serving(answer)
    client = await connect_h2(running)
    client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
    with contextlib.suppress(ConnectionError):
        status, _ = await client.reply(client.request(more=more))
        assert status == 400
    other = await connect_h2(running)
    assert await other.reply(other.request()) == (200, b"fine")


async def test_draining_ends_streams_well_and_leaves_no_error(serving, client):
    gate, begun = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        begun.set()
        await gate.wait()
        yield b"two"

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer, settings={"connectionTerminationDeadline": "10s"})
    request = asyncio.create_task(client.get(f"http://127.0.0.1:{running.port}/"))
    await begun.wait()
    running.shutdown.set()
    await asyncio.sleep(0.1)
    gate.set()
    assert (await request).content == b"onetwo"
    await asyncio.wait_for(running.task, 5)


async def test_a_stream_that_outlives_the_drain_is_cut(serving, client):
    begun = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        begun.set()
        await asyncio.sleep(60)

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer, settings={"connectionTerminationDeadline": "200ms"})
    request = asyncio.create_task(client.get(f"http://127.0.0.1:{running.port}/"))
    await begun.wait()
    running.shutdown.set()
    await asyncio.wait_for(running.task, 5)
    with pytest.raises(httpx.TransportError):
        await request
    error = (await running.hooks.next_logged()).error
    assert error is not None and error.reason == "Drained"
    assert running.runtime.gateway.active == 0
