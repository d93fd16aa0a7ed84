"""The stream of a client of the transport of 2024-11-05, and what reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from agentgateway_mcp import event_stream
from agentgateway_mcp.door import Door
from agentgateway_mcp.event_stream import ANSWERED, ASKED, SAID, UNDER_WAY, EventStream
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.plugin import McpBackend
from agentgateway_mcp.posts import accepted
from pydantic_core import from_json

from agentgateway.interfaces import Link, PeerGone
from agentgateway.testing.exchanges import http
from agentgateway.testing.hosts import LoopbackHost, make


class World:
    def __init__(self) -> None:
        self.host = LoopbackHost("routes[0].backends[0].mcp", "backend")
        self.backend: McpBackend = make(
            "agentgateway.backends", "mcp", {"targets": [{"name": "d", "demo": {}}]}, self.host
        )
        self.stream = EventStream(self.backend, http("GET", "/sse?a=1"), McpCall("listen"))
        self.address = ""

    async def opened(self) -> World:
        first = (await anext(self.stream)).decode()
        assert first.startswith("event: endpoint\ndata: ?a=1&sessionId=") and first.endswith("\n\n")
        session = self.backend.seal.open(first.strip().partition("sessionId=")[2])
        assert session is not None
        self.address = session.stream
        return self

    async def call(self) -> tuple[Link, list[object]]:
        link = await self.host.peers.call(self.address)
        return link, from_json(await link.receive() or b"null")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = await World().opened()
    yield world
    await world.stream.aclose()
    await world.host.peers.stop()


async def test_silence_is_interrupted_by_comments(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE", 0.01)
    assert [await anext(world.stream) for _ in range(2)] == [b": keep-alive\n\n"] * 2
    link, _ = await world.call()
    await link.send(SAID + b'{"a":\n1}')
    assert await anext(world.stream) == b'event: message\ndata: {"a":\ndata: 1}\n\n'
    link.close()


@pytest.mark.parametrize("answered", [False, True])
async def test_who_dies_before_the_answer_is_answered_for(world: World, answered: bool) -> None:
    link, state = await world.call()
    assert state == ["", True]
    await link.send(ASKED + b'"q"')
    await link.send((ANSWERED if answered else SAID) + b"{}")
    assert b"data: {}" in await anext(world.stream)
    link.abort()
    if not answered:
        assert b'"id":"q","error"' in await anext(world.stream)
    other, _ = await world.call()
    await other.send(SAID + b"[]")
    assert b"data: []" in await anext(world.stream)
    other.close()


async def test_room_for_messages_is_limited_and_comes_back(world: World) -> None:
    links = [await world.call() for _ in range(UNDER_WAY + 1)]
    assert [state for _, state in links] == [["", True]] * UNDER_WAY + [["", False]]
    for link, _ in links:
        link.close()
    async with asyncio.timeout(10):
        while (await world.call())[1] != ["", True]:
            await asyncio.sleep(0.01)


async def test_a_request_is_begun_when_everybody_on_the_way_back_knows_of_it(world: World) -> None:
    door = Door(world.backend)
    for due in (False, True):
        exchange = http("POST", "/sse")
        exchange.call = call = McpCall("send", b"", {"jsonrpc": "2.0", "id": due, "method": "initialize"})
        call.stream = world.address
        reply = await accepted(world.backend, exchange, call)
        assert reply.status == 202 and not isinstance(reply.body, bytes)
        if due:
            assert [chunk async for chunk in reply.body] == []
        door.log(exchange)
    assert b'"id":true,"error"' in await anext(world.stream)  # nobody is asked: there are no members


async def test_the_end_of_a_stream_is_that_of_everything_under_way(world: World) -> None:
    link, _ = await world.call()
    await world.stream.aclose()
    with pytest.raises(PeerGone):
        await link.receive()
    with pytest.raises(PeerGone):
        await world.call()
    with pytest.raises(StopAsyncIteration):
        await anext(world.stream)
