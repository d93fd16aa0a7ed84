"""Timeouts, and callers that leave."""

import asyncio

import pytest

from agentgateway._host.suspension import Watchdog
from agentgateway._host.transport import Origin, TlsSettings
from agentgateway.errors import UpstreamTimeout

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"


async def silent(peer):
    await peer.request()
    await peer.closed()


async def test_an_upstream_that_does_not_answer_times_out_and_is_closed(upstream, transport, ask, until):
    server, client = await upstream(silent), transport()
    with pytest.raises(UpstreamTimeout) as caught:
        await ask(client, server.origin, b"x", head_timeout=0.05)
    assert (caught.value.status, caught.value.sent) == (504, True)
    assert str(caught.value) == "the upstream did not answer in time"
    await server.peers[0].gone.wait()
    await until(lambda: client._pools[server.origin].empty)


async def test_the_clock_of_a_reused_connection_starts_anew(upstream, transport, ask):
    async def script(peer):
        for _ in range(6):
            await peer.request()
            await asyncio.sleep(0.05)
            await peer.answer()
        await silent(peer)

    server, client = await upstream(script), transport()
    for _ in range(6):
        await (await ask(client, server.origin, head_timeout=0.15)).read()
    with pytest.raises(UpstreamTimeout):
        await ask(client, server.origin, head_timeout=0.05)
    assert server.accepted == 1


async def test_interim_answers_do_not_stop_the_clock(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        for _ in range(100):
            await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await asyncio.sleep(0.01)

    server, client = await upstream(script), transport()
    with pytest.raises(UpstreamTimeout):
        await ask(client, server.origin, head_timeout=0.1)


async def test_the_head_in_time_is_enough(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD)
        await asyncio.sleep(0.15)
        await peer.send(b"answer")

    server, client = await upstream(script), transport()
    assert await (await ask(client, server.origin, head_timeout=0.1)).read() == b"answer"


async def test_silence_within_a_body_times_out(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD, b"ans")
        await peer.closed()

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin, body_timeout=0.05)
    with pytest.raises(UpstreamTimeout, match="in the middle of its answer") as caught:
        await response.read()
    assert caught.value.sent
    await server.peers[0].gone.wait()


async def test_a_slow_body_that_keeps_coming_does_not(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD)
        for byte in b"answer":
            await asyncio.sleep(0.05)
            await peer.send(bytes([byte]))

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin, body_timeout=0.15)
    assert await response.read() == b"answer"


async def test_the_silence_of_a_paused_body_is_the_readers(upstream, transport, ask):
    total = 8 * 1024 * 1024

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        await peer.send(b"x" * total)

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin, body_timeout=0.1)
    await asyncio.sleep(0.3)
    assert len(await response.read()) == total


async def test_a_handshake_without_answer_is_a_connect_timeout(upstream, transport, ask, until):
    async def script(peer):
        await peer.closed()

    server, client = await upstream(script), transport(connect_timeout=0.5)
    origin = Origin("127.0.0.1", server.origin.port, TlsSettings())
    with pytest.raises(UpstreamTimeout) as caught:
        await ask(client, origin)
    assert (caught.value.status, caught.value.sent) == (504, False)
    assert "127.0.0.1" not in str(caught.value)
    await until(lambda: server.accepted == 1)
    await server.peers[0].gone.wait()
    assert client._pools[origin].empty


async def test_a_request_may_have_its_own_connect_timeout(upstream, transport, ask):
    async def script(peer):
        await peer.closed()

    server, client = await upstream(script), transport()
    with pytest.raises(UpstreamTimeout):
        await ask(client, Origin("127.0.0.1", server.origin.port, TlsSettings()), connect_timeout=0.05)


@pytest.mark.parametrize("after_head", [False, True])
async def test_a_caller_that_leaves_closes_the_upstream_at_once(upstream, transport, ask, until, after_head):
    async def script(peer):
        await peer.request()
        if after_head:
            await peer.send(HEAD, b"ans")
        await peer.closed()

    server, client = await upstream(script), transport()
    task = asyncio.create_task(ask(client, server.origin, expect_stream=False))
    await until(lambda: server.accepted == 1)
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.peers[0].gone.wait()
    await until(lambda: client._pools[server.origin].empty)


async def test_a_caller_that_leaves_while_connecting_leaves_nothing_behind(upstream, transport, ask, until):
    async def script(peer):
        await peer.closed()

    server, client = await upstream(script), transport()
    origin = Origin("127.0.0.1", server.origin.port, TlsSettings())
    task = asyncio.create_task(ask(client, origin))
    await until(lambda: server.accepted == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.peers[0].gone.wait()
    await until(lambda: client._pools[origin].empty)


async def test_many_callers_leaving_at_random_moments_leave_exact_books(upstream, transport, ask, until):
    async def script(peer):
        while True:
            await peer.request()
            await asyncio.sleep(0.003)
            await peer.send(HEAD)
            await asyncio.sleep(0.003)
            await peer.send(b"answer")

    server, client = await upstream(script), transport(max_connections=4)

    async def one(number):
        response = None
        try:
            async with asyncio.timeout(0.0007 * (number % 40)):
                response = await ask(client, server.origin)
                await response.read()
        except TimeoutError:
            pass
        finally:
            if response is not None:
                await response.aclose()

    await asyncio.gather(*(one(number) for number in range(200)))
    await until(lambda: client.stats()[server.origin]["active"] == 0)
    stats = client.stats()[server.origin]
    assert stats["waiting"] == 0
    assert client._pools[server.origin]._slots == stats["idle"] <= 4
    assert await (await ask(client, server.origin)).read() == b"answer"


async def test_a_watchdog_keeps_one_timer_however_often_it_is_set():
    fired = []
    loop = asyncio.get_running_loop()
    watchdog = Watchdog(loop, lambda: fired.append(1))
    watchdog.start(0.05)
    handle = watchdog._handle
    for _ in range(100):
        watchdog.stop()
        watchdog.start(0.05)
    assert watchdog._handle is handle
    watchdog.start(0.01)
    assert watchdog._handle is not handle
    await asyncio.sleep(0.1)
    assert fired == [1]
    watchdog.start(0.01)
    watchdog.stop()
    await asyncio.sleep(0.05)
    assert (fired, watchdog._handle) == ([1], None)
    watchdog.start(5)
    watchdog.close()
    assert watchdog._handle is None
