"""What a request leaves behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from agentgateway.exchange import Exchange, Headers, Reply

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
        await asyncio.sleep(0.05)
        running.hooks.logged.clear()
        left = sum(type(one) is Exchange for one in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 2
