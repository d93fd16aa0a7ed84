"""What drives a turn: nobody, a callback or a task, and what its streams do on either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from agentgateway._host.chains import Chain, Placed, compile_chain
from agentgateway._host.gateway import Bind, BoundListener
from agentgateway._host.routes import Listener, Match, Route, RouteTable
from agentgateway.exchange import Exchange, Place, Reply
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Protocol
from agentgateway.settings import PathMatch

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Inline(Protocol):
    inline = True


class Plain:
    task: Any = "unseen"

    @hookimpl
    def pre_request(self, exchange: Exchange) -> Reply:
        self.task = asyncio.current_task()
        return Reply.text(200, "hello")


def bind_of(hooks: object) -> Bind:
    chain = compile_chain([Placed(hooks, "test", "route", "test")])
    place = Place("127.0.0.1:0", "default", "http")
    route = Route("everything", "", chain, Inline(), replace(place, route="everything"))
    table = RouteTable([("*", Match(PathMatch(path_prefix="/")), route)])
    return Bind("default", 0, "127.0.0.1", (BoundListener(Listener("*", "*", place, Chain(), table), None),))


async def unused(exchange: Exchange) -> Reply:
    return Reply.text(500, "not asked")


async def test_plain_hooks_run_without_a_task_on_the_edge(serving, connect, face):
    hooks = Plain()
    client = await connect(await serving(unused, binds={0: bind_of(hooks)}))
    await client.send(GET)
    assert (await client.reply())[2] == b"hello"
    assert (hooks.task is None) == (face == "edge")


@pytest.mark.parametrize("driving", ["task"])
async def test_a_coroutine_hook_runs_in_a_task_and_may_use_timeouts(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return Reply.text(200, str(asyncio.current_task() is not None))

    client = await connect(await serving(answer))
    await client.send(GET)
    assert (await client.reply())[2] == b"True"


async def test_a_client_that_leaves_cancels_a_coroutine_hook_and_is_logged_once(serving, connect):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Reply.text(200, "")

    running = await serving(answer)
    client = await connect(running)
    await client.send(GET)
    async with asyncio.timeout(5):
        await begun.wait()
        await client.close()
        await ended.wait()
    assert (await running.hooks.next_logged()).status == 499
    assert not running.hooks.logged


async def test_a_wrapped_stream_may_await_anything(serving, connect):
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(20):
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            yield b"%d," % number

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    client = await connect(await serving(answer))
    await client.send(GET)
    assert (await client.reply())[2] == b"".join(b"%d," % number for number in range(20))


async def test_a_stream_that_fails_is_cut_without_a_last_chunk_and_logged_once(serving, connect):
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer)
    client = await connect(running)
    await client.send(GET)
    async with asyncio.timeout(5):
        received = await client.reader.read()
    assert b"one" in received and b"0\r\n\r\n" not in received
    assert (await running.hooks.next_logged()).error is not None
    assert not running.hooks.logged
