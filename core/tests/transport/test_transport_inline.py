"""Exchanges driven from callbacks, without a task: who is entered, when, and what is left when the driver gives up."""

import asyncio
import gc
import warnings

import pytest

from agentgateway._host import suspension
from agentgateway._host.suspension import PARK, Suspension, sleep, until_done
from agentgateway._host.transport import PoolExhausted, encode_head
from agentgateway.errors import ConnectFailed, UpstreamError

HEAD = encode_head("POST", "/", "upstream", (), content_length=0, chunked=False)


def send(client, origin, body=None, head=HEAD, **rest):
    return client.send(origin, head, body, method=b"POST", head_timeout=5, **rest)


async def serve(peer):
    while True:
        await peer.request()
        await peer.answer()


async def serve_slowly(peer):
    while True:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n", b"a", b"bc", b"def")


async def never(peer):
    await peer.request()
    await peer.closed()


def idle(client, origin):
    stats = client.stats()[origin]
    return stats["active"], stats["idle"], stats["waiting"]


async def test_nobody_drives_outside_of_a_step(upstream, transport, drive):
    seen = []

    async def look():
        seen.append(suspension.present)
        await sleep(0)
        seen.append(suspension.present)

    driven = drive(look())
    assert suspension.present is None
    await driven.outcome
    assert seen == [driven, driven]
    assert suspension.present is None
    assert repr(PARK) == "PARK"


async def test_a_sleep_ends_in_time_and_leaves_no_timer_when_cancelled(run, drive):
    await run(sleep(0.001))
    driven = drive(sleep(1000))
    driven.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driven.outcome


async def test_waiting_for_a_task_tells_nothing_of_its_outcome_and_leaves_it_alone(run, drive):
    async def fail():
        await asyncio.sleep(0)
        raise ValueError

    for _ in range(2):
        failing = asyncio.ensure_future(fail())
        await run(until_done(failing))
        await run(until_done(failing))
        assert isinstance(failing.exception(), ValueError)
    lasting = asyncio.get_running_loop().create_future()
    driven = drive(until_done(lasting))
    driven.cancel()
    assert not lasting.done()
    lasting.set_result(None)
    await asyncio.sleep(0)


async def test_what_happens_while_a_coroutine_runs_does_not_enter_it_again(drive):
    loop = asyncio.get_running_loop()
    waiting = Suspension(loop)

    async def wakes_itself():
        waiting.wake()
        await waiting.suspend()
        waiting.wake()

    driven = drive(wakes_itself())
    assert not driven.outcome.done()
    waiting.wake()
    waiting.wake()
    assert driven.outcome.done()


async def test_one_drivers_step_may_wake_another(drive):
    loop = asyncio.get_running_loop()
    first, second = Suspension(loop), Suspension(loop)
    seen = []

    async def outer():
        await first.suspend()
        second.wake()
        seen.append(suspension.present)

    async def inner():
        await second.suspend()
        seen.append(suspension.present)

    one, other = drive(outer()), drive(inner())
    first.wake()
    assert seen == [other, one]
    assert suspension.present is None


@pytest.mark.parametrize("script", [serve, serve_slowly])
async def test_a_reply_is_read_whole(upstream, transport, drive, script):
    async def exchange():
        response = await send(client, server.origin, expect_stream=False)
        return await response.read()

    server, client = await upstream(script), transport()
    for _ in range(3):
        assert await drive(exchange()).outcome in (b"ok", b"abcdef")
    assert server.accepted == 1
    assert idle(client, server.origin) == (0, 1, 0)


async def test_a_reply_is_read_chunk_by_chunk(upstream, transport, drive):
    async def exchange():
        response = await send(client, server.origin, expect_stream=True)
        return [chunk async for chunk in response]

    server, client = await upstream(serve_slowly), transport()
    assert b"".join(await drive(exchange()).outcome) == b"abcdef"
    assert idle(client, server.origin) == (0, 1, 0)


async def test_a_reply_is_pushed_and_its_end_wakes_the_coroutine(upstream, transport, drive):
    chunks = []

    async def exchange():
        response = await send(client, server.origin, expect_stream=True)
        ended = Suspension(asyncio.get_running_loop())
        ends = []

        def on_end(error):
            ends.append(error)
            ended.wake()

        response.push(chunks.append, on_end)
        while not ends:
            await ended.suspend()
        return ends

    server, client = await upstream(serve_slowly), transport()
    assert await drive(exchange()).outcome == [None]
    assert b"".join(chunks) == b"abcdef"


async def test_the_next_request_goes_out_on_the_same_connection_from_the_same_callback(upstream, transport, drive):
    async def many():
        for _ in range(20):
            await (await send(client, server.origin, expect_stream=False)).read()
            assert client.stats()[server.origin]["idle"] == 1

    server, client = await upstream(serve), transport()
    await drive(many()).outcome
    assert server.accepted == 1


async def test_a_streamed_body_is_sent_while_the_answer_may_come(upstream, transport, drive):
    async def pieces():
        for _ in range(3):
            await asyncio.sleep(0)  # the body is read in a task
            yield b"piece"

    async def echo(peer):
        while True:
            await peer.answer(await peer.request())

    server, client = await upstream(echo), transport()
    head = encode_head("POST", "/", "upstream", (), content_length=15, chunked=False)

    async def exchange():
        return await (await send(client, server.origin, pieces(), head, expect_stream=False)).read()

    for _ in range(2):
        assert (await drive(exchange()).outcome).endswith(b"piecepiecepiece")
    assert server.accepted == 1


async def test_what_a_streamed_body_raises_reaches_the_coroutine(upstream, transport, drive):
    async def broken():
        yield b"piece"
        raise KeyError("mine")

    server, client = await upstream(never), transport()
    head = encode_head("POST", "/", "upstream", (), content_length=None, chunked=True)
    with pytest.raises(KeyError):
        await drive(send(client, server.origin, broken(), head)).outcome


async def test_a_client_that_leaves_within_its_upload_is_waited_for_until_nobody_reads_it(
    upstream, transport, drive, until
):
    reading = []

    async def endless():
        reading.append(True)
        try:
            await asyncio.sleep(1000)
            yield b""
        finally:
            reading.clear()

    server, client = await upstream(never), transport()
    head = encode_head("POST", "/", "upstream", (), content_length=None, chunked=True)
    driven = drive(send(client, server.origin, endless(), head))
    await until(lambda: bool(reading))
    driven.cancel()
    with pytest.raises(asyncio.CancelledError):
        await driven.outcome
    assert not reading
    await until(lambda: client._pools[server.origin].empty)


async def test_a_request_beyond_the_limit_gets_the_connection_that_becomes_free(upstream, transport, drive):
    async def exchange():
        return await (await send(client, server.origin, expect_stream=False)).read()

    server, client = await upstream(serve_slowly), transport(max_connections=1)
    driven = [drive(exchange()) for _ in range(5)]
    assert [await each.outcome for each in driven] == [b"abcdef"] * 5
    assert server.accepted == 1


async def test_a_full_pool_refuses_in_time(upstream, transport, drive):
    server, client = await upstream(never), transport(max_connections=1)
    holding = drive(send(client, server.origin))
    with pytest.raises(PoolExhausted):
        await drive(send(client, server.origin, connect_timeout=0.05)).outcome
    holding.cancel()


async def test_a_refused_connection_is_told(transport, drive):
    from agentgateway._host.transport import Origin

    client, nowhere = transport(), Origin("127.0.0.1", 1, unix="/nonexistent/socket")
    with pytest.raises(ConnectFailed):
        await drive(send(client, nowhere)).outcome


@pytest.mark.parametrize("turns", range(8))
async def test_leaving_while_it_dials_leaves_nothing_open(upstream, transport, drive, until, turns):
    server, client = await upstream(never), transport()
    driven = drive(send(client, server.origin))
    for _ in range(turns):
        await asyncio.sleep(0)
    driven.cancel()
    assert driven.outcome.cancelled()
    pool = client._pools[server.origin]
    await until(lambda: not pool._acquiring and pool._slots == len(pool._idle))  # one made a moment ago is kept


@pytest.mark.parametrize("turns", range(4))
async def test_leaving_the_queue_gives_the_place_to_the_next(upstream, transport, drive, turns):
    server, client = await upstream(serve), transport(max_connections=1)
    await drive(send(client, server.origin, expect_stream=False)).outcome
    pool = client._pools[server.origin]
    held = pool.take()
    first, second = (drive(send(client, server.origin, expect_stream=False)) for _ in range(2))
    await asyncio.sleep(0)
    pool.release(held)
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    assert (await asyncio.wait_for(second.outcome, 5)).status == 200
    assert server.accepted <= 2


async def test_leaving_before_the_answer_closes_the_connection(upstream, transport, drive, until):
    server, client = await upstream(never), transport()
    driven = drive(send(client, server.origin))
    await until(lambda: server.accepted == 1 and client.stats()[server.origin]["active"] == 1)
    driven.cancel()
    assert driven.outcome.cancelled()
    await asyncio.wait_for(server.peers[0].gone.wait(), 5)
    assert client._pools[server.origin].empty


async def test_leaving_in_the_middle_of_an_answer_closes_the_connection(upstream, transport, drive, until):
    async def stuck(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
        await peer.closed()

    chunks = []

    async def exchange():
        response = await send(client, server.origin, expect_stream=True)
        try:
            async for chunk in response:
                chunks.append(chunk)
        finally:
            await response.aclose()

    server, client = await upstream(stuck), transport()
    driven = drive(exchange())
    await until(lambda: bool(chunks))
    driven.cancel()
    assert driven.outcome.cancelled()
    await asyncio.wait_for(server.peers[0].gone.wait(), 5)
    await until(lambda: client._pools[server.origin].empty)


async def test_a_closing_transport_tells_those_who_wait(upstream, transport, drive):
    server, client = await upstream(never), transport(max_connections=1)
    answer, queued = (drive(send(client, server.origin)) for _ in range(2))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(UpstreamError):
        await answer.outcome
    with pytest.raises(ConnectFailed):
        await queued.outcome
    assert not client._pools[server.origin]._acquiring


async def test_an_error_nobody_waits_for_any_more_is_not_reported(transport, drive):
    from agentgateway._host.transport import Origin

    client, nowhere = transport(), Origin("127.0.0.1", 1, unix="/nonexistent/socket")
    reports = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
    for turns in range(6):
        driven = drive(send(client, nowhere))
        for _ in range(turns):
            await asyncio.sleep(0)
        driven.cancel()
        await asyncio.gather(driven.outcome, return_exceptions=True)
    await asyncio.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    assert not reports
