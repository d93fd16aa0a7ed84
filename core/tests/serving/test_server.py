"""Ports, clocks and endings."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from agentgateway._host.gateway import Bind
from agentgateway._host.sockets import CannotListen, listen_at
from agentgateway.exchange import Exchange, Reply
from agentgateway.settings import ListenAddress

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def hello(exchange: Exchange) -> Reply:
    return Reply.text(200, "hello")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_where_it_listens_is_said_and_readiness_follows(serving, caplog):
    caplog.set_level("INFO")
    running = await serving(hello)
    assert f"listening on http://127.0.0.1:{running.port} (gateway default)" in caplog.text
    assert running.runtime.ready


async def test_an_address_in_use_is_a_clear_error(serving, make_bind):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            await serving(hello, binds={port: make_bind(hello, port)})


async def test_a_head_that_does_not_arrive_in_time_is_answered_408(serving, connect):
    running = await serving(hello, http={"http1HeaderTimeout": "100ms"})
    slow, silent = await connect(running), await connect(running)
    await slow.send(b"GET / HTTP/1.1\r\nhost:")
    assert (await slow.reply())[0] == 408
    assert await slow.at_end()
    assert await silent.at_end()


async def test_a_slow_second_head_has_no_more_time_than_a_first(serving, connect):
    client = await connect(await serving(hello, http={"http1HeaderTimeout": "200ms"}))
    await client.send(GET)
    assert (await client.reply())[0] == 200
    await client.send(b"GET /")
    for _ in range(5):
        await asyncio.sleep(0.05)
        client.writer.write(b"x")
    assert (await client.reply())[0] == 408


async def test_a_silent_connection_is_closed_after_the_idle_timeout_and_not_before(serving, connect):
    client = await connect(await serving(hello, http={"http1HeaderTimeout": "100ms", "http1IdleTimeout": "400ms"}))
    await client.send(GET)
    assert (await client.reply())[0] == 200
    await asyncio.sleep(0.2)
    await client.send(GET)
    assert (await client.reply())[0] == 200
    assert await client.at_end()


async def test_draining_closes_idle_connections_at_once(serving, connect):
    running = await serving(hello, settings={"connectionTerminationDeadline": "30s"})
    client, fresh = await connect(running), await connect(running)
    await client.send(GET)
    await client.reply()
    await running.stop()
    assert await client.at_end()
    assert await fresh.at_end()


async def test_draining_lets_end_what_is_in_flight_and_says_that_the_connection_closes(serving, connect):
    gate, begun = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        begun.set()
        await gate.wait()
        yield b"two"

    async def answer(exchange: Exchange) -> Reply:
        if exchange.request.path == "/stream":
            return Reply(200, body=chunks())
        begun.set()
        await gate.wait()
        return Reply.text(200, "late")

    running = await serving(answer, settings={"connectionTerminationDeadline": "30s"})
    stream, late = await connect(running), await connect(running)
    await stream.send(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
    await begun.wait()
    begun.clear()
    await late.send(GET)
    await begun.wait()
    port = running.port
    running.shutdown.set()
    await asyncio.sleep(0.2)
    assert running.runtime.draining
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    gate.set()
    assert (await stream.reply())[2] == b"onetwo"
    status, headers, _ = await late.reply()
    assert (status, headers["connection"]) == (200, "close")
    await asyncio.wait_for(running.task, 5)


@pytest.mark.parametrize("pause", [0, 0.01])
async def test_what_outlives_the_deadline_is_cut_and_still_logged(serving, connect, pause):
    closed = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(pause)
        finally:
            closed.set()

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer, settings={"connectionTerminationDeadline": "200ms"})
    client = await connect(running)
    await client.send(GET)
    await client.head()
    await running.stop()
    assert closed.is_set()
    error = (await running.hooks.next_logged()).error
    assert error is not None and error.reason == "Drained"
    assert running.runtime.gateway.active == 0


async def test_work_that_ignores_its_cancellation_does_not_hold_up_the_end(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        while True:
            try:
                await asyncio.sleep(1.5)
                return Reply.text(200, "")
            except asyncio.CancelledError:
                pass

    running = await serving(answer, settings={"connectionTerminationDeadline": "50ms"})
    client = await connect(running)
    await client.send(GET)
    await asyncio.sleep(0.05)
    await running.stop()
    logged = await running.hooks.next_logged()
    assert logged.error is not None and logged.error.reason == "Drained"


async def test_for_the_shortest_drain_everything_is_served_as_before(serving, connect):
    running = await serving(
        hello, settings={"connectionTerminationDeadline": "5s", "connectionMinTerminationDeadline": "300ms"}
    )
    running.shutdown.set()
    await asyncio.sleep(0.05)
    client = await connect(running)
    await client.send(GET)
    status, headers, _ = await client.reply()
    assert (status, headers["connection"]) == (200, "close")


async def test_what_was_accepted_or_asked_before_the_drain_is_answered(serving, connect):
    running = await serving(hello)
    old = await connect(running)
    await old.send(GET)
    await old.reply()
    queued = await connect(running)
    running.shutdown.set()
    await old.send(GET)
    await queued.send(GET)
    assert (await old.reply())[0] == 200
    assert (await queued.reply())[0] == 200


async def test_a_reload_opens_and_closes_ports_while_others_serve(serving, connect, make_bind):
    running = await serving(hello)
    kept = await connect(running)
    port = free_port()
    gateway = running.runtime.gateway

    running.runtime.gateway = gateway.with_binds({**gateway.binds, port: make_bind(running.hooks, port)})
    await running.server.open(running.runtime.gateway)
    await running.server.settle()
    added = await connect(running, port=port)
    for client in (kept, added):
        await client.send(GET)
        assert (await client.reply())[0] == 200

    running.runtime.gateway = gateway
    await running.server.settle()
    assert await added.at_end()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await kept.send(GET)
    assert (await kept.reply())[0] == 200


async def test_a_gateway_that_was_swapped_in_is_followed(serving, connect, make_bind, caplog):
    running = await serving(hello)
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        binds = {port: make_bind(running.hooks, port), other: make_bind(running.hooks, other)}
        running.runtime.gateway = running.runtime.gateway.with_binds(binds)
        for changed in running.runtime.on_swap:
            changed(running.runtime.gateway)
        async with asyncio.timeout(5):
            while 0 in running.server.sockets():
                await asyncio.sleep(0.01)
    client = await connect(running, port=port)
    await client.send(GET)
    assert (await client.reply())[0] == 200
    assert f"cannot listen on 127.0.0.1:{other}: address already in use" in caplog.text


async def test_a_port_that_cannot_be_opened_refuses_the_reload_and_changes_nothing(serving, connect, make_bind):
    running = await serving(hello)
    gateway = running.runtime.gateway
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        binds: dict[int, Bind] = {free: make_bind(hello, free), port: make_bind(hello, port)}
        with pytest.raises(CannotListen):
            await running.server.open(gateway.with_binds({**gateway.binds, **binds}))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", free)
    client = await connect(running)
    await client.send(GET)
    assert (await client.reply())[0] == 200


async def test_a_port_may_move_to_another_address(serving, connect, make_bind):
    port = free_port()
    running = await serving(hello, binds={port: make_bind(hello, port, address="127.0.0.1")})
    gateway = running.runtime.gateway
    for address in (None, "127.0.0.1"):
        running.runtime.gateway = gateway.with_binds({port: make_bind(hello, port, address=address)})
        await running.server.open(running.runtime.gateway)
        await running.server.settle()
        client = await connect(running, port=port)
        await client.send(GET)
        assert (await client.reply())[0] == 200


async def test_a_request_keeps_the_configuration_it_began_with(serving, connect, make_bind):
    gate, begun = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        begun.set()
        await gate.wait()
        return Reply.text(200, "old")

    running = await serving(answer)
    old = running.runtime.gateway
    client = await connect(running)
    await client.send(GET)
    await begun.wait()
    running.runtime.gateway = old.with_binds({0: make_bind(hello, 0)})
    other = await connect(running)
    await other.send(GET)
    assert (await other.reply())[2] == b"hello"
    assert (old.active, running.runtime.gateway.active) == (1, 0)
    gate.set()
    assert (await client.reply())[2] == b"old"
    assert old.active == 0


async def test_connections_and_bytes_are_counted(serving, connect):
    running = await serving(hello)
    client = await connect(running)
    await client.send(GET)
    await client.reply()
    shown = running.runtime.metrics.render()
    labels = '{bind="127.0.0.1:0",gateway="default",listener="unknown",protocol="HTTP"}'
    assert f"agentgateway_downstream_connections_total{labels} 1\n" in shown
    assert f"agentgateway_downstream_received_bytes_total{labels} {len(GET)}\n" in shown
    assert f"agentgateway_downstream_sent_bytes_total{labels} " in shown


async def test_both_families_are_listened_on_when_no_address_is_given(serving, connect, make_bind):
    port = free_port()
    await serving(hello, binds={port: make_bind(hello, port, address=None)})
    for host in ("127.0.0.1", "::1"):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(GET)
        assert (await reader.read(12)) == b"HTTP/1.1 200"
        writer.close()
        await writer.wait_closed()


def test_a_stale_unix_socket_is_replaced_and_one_in_use_is_not(tmp_path):
    address = ListenAddress.parse(f"unix:{tmp_path}/admin.sock")
    first = listen_at(address)
    with pytest.raises(CannotListen, match="address already in use"):
        listen_at(address)
    first.close()
    second = listen_at(address)
    assert (tmp_path / "admin.sock").stat().st_mode & 0o777 == 0o600
    second.close()
