"""What a request leaves behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from agentgateway._host.connection import Connection
from agentgateway._host.h11_protocol import H11
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.errors import ConnectFailed, UpstreamError
from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.peers import PipeEnd, pipe

POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"


class Pieces:
    """A stream that knows its exchange, as those of model calls do."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.left = [b"two", b"one "]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_request_is_no_cycle_that_keeps_its_bodies_until_the_collector_comes(serving, connect, streamed):
    async def answer(exchange: Exchange) -> Reply:
        body = await exchange.request.body.read(1000)
        return Reply(200, Headers(), Pieces(exchange)) if streamed else Reply.text(200, body.decode())

    running = await serving(answer)
    client = await connect(running)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await client.send(POST)
            assert (await client.reply())[0] == 200
        await few_left(running, Exchange)
    finally:
        gc.enable()


async def test_a_connection_that_has_ended_is_gone_with_its_buffers(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "")

    running = await serving(answer)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            client = await connect(running)
            await client.send(POST)
            assert (await client.reply())[0] == 200
            client.writer.close()
            await client.writer.wait_closed()
        await few_left(running, Connection, H11)
    finally:
        gc.enable()


async def few_left(running, *kinds: type) -> None:
    """Until there are at most two of each, which the collector has no part in."""
    async with asyncio.timeout(20):
        while True:
            running.hooks.logged.clear()
            counts = Counter(map(type, gc.get_objects()))
            if all(counts[kind] <= 2 for kind in kinds):
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def collector():
    """It does not come during the test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def no_server() -> None:
    try:
        raise ConnectionRefusedError
    except OSError as error:
        raise ConnectFailed(detail="x") from error


async def test_an_error_is_no_cycle_with_its_request(serving, connect, collector):
    async def answer(exchange: Exchange) -> Reply:
        await no_server()
        return Reply.text(200, "")

    running = await serving(answer)
    client = await connect(running)
    for _ in range(20):
        await client.send(POST)
        assert (await client.reply())[0] == 503
    await few_left(running, Exchange)


@pytest.mark.parametrize("ends", ["client", "server"])
async def test_a_stream_that_ends_early_is_no_cycle_with_its_request(serving, connect, collector, ends):
    loop = asyncio.get_running_loop()
    waiting: list[UpstreamResponse] = []

    class Source:
        def pause(self) -> None: ...
        def resume(self) -> None: ...
        def fail(self, error: Exception) -> None:
            waiting.pop().failed(error)

    async def answer(exchange: Exchange) -> Reply:
        response = UpstreamResponse(loop, Source(), 0)
        response.arrived(b"one")
        waiting.append(response)
        return Reply(200, Headers(), response)

    running = await serving(answer)
    for _ in range(20):
        client = await connect(running)
        await client.send(POST)
        await client.head("POST")
        assert bytes((await client.event()).data) == b"one"
        if ends == "server":
            waiting.pop().failed(UpstreamError("gone"))
        else:
            await client.close()
        await running.hooks.next_logged()
    await few_left(running, Exchange, UpstreamResponse)


async def test_a_link_that_both_ends_have_left_is_no_cycle(collector):
    for leaves in (PipeEnd.close, PipeEnd.abort):
        ends = pipe()
        await ends[0].send(b"x")
        for end in ends:
            leaves(end)
        leaves(end)
    del ends, end
    assert not [one for one in gc.get_objects() if type(one) is PipeEnd]
