"""Which connection a request travels on: kept, shared, limited, and never a dead one."""

import asyncio
import itertools
import math

import pytest

from agentgateway._host.transport import Origin, PoolExhausted, TlsSettings
from agentgateway.errors import ConnectFailed, UpstreamError


async def serve(peer):
    while True:
        await peer.request()
        await peer.answer()


async def test_sequential_requests_share_one_connection(upstream, transport, ask):
    server, client = await upstream(serve), transport()
    for number in range(50):
        response = await ask(client, server.origin, b"x" * number)
        assert (response.status, await response.read()) == (200, b"ok")
    assert server.accepted == 1
    assert client.stats()[server.origin] == {"opened": 1, "reused": 49, "active": 0, "idle": 1, "waiting": 0}


async def test_a_connection_is_reused_after_every_kind_of_body(upstream, transport, ask):
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 20\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nhi",
    ]

    async def script(peer):
        for answer in answers:
            await peer.request()
            await peer.send(answer)
        await serve(peer)

    server, client = await upstream(script), transport()
    for _ in range(len(answers) + 1):
        await (await ask(client, server.origin, b"x")).read()
    assert server.accepted == 1


@pytest.mark.parametrize("in_parts", [False, True])
async def test_head_requests_reuse_their_connection(upstream, transport, ask, in_parts):
    async def script(peer):
        while True:
            await peer.request()
            head = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n"
            await peer.send(*((head[:9], head[9:]) if in_parts else (head,)))

    server, client = await upstream(script), transport()
    for _ in range(2):
        response = await ask(client, server.origin, method="HEAD")
        assert (response.complete, await response.read()) == (True, b"")
    assert server.accepted == 1


async def test_concurrent_requests_have_a_connection_each_and_the_youngest_idle_one_is_taken(upstream, transport, ask):
    ports = []

    async def script(peer):
        while True:
            await peer.request()
            ports.append(peer.writer.get_extra_info("peername")[1])
            await asyncio.sleep(0.02)
            await peer.answer()

    server, client = await upstream(script), transport()
    for response in await asyncio.gather(*(ask(client, server.origin) for _ in range(4))):
        await response.read()
    assert server.accepted == 4
    assert client.stats()[server.origin]["idle"] == 4
    await ask(client, server.origin)
    await ask(client, server.origin)
    assert ports[-1] == ports[-2]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiH",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\njunk",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhijunk",
    ],
)
async def test_a_connection_that_ends_or_says_too_much_is_closed_after_its_answer(
    upstream, transport, ask, until, answer
):
    async def script(peer):
        await peer.request()
        await peer.send(answer)
        await peer.closed()

    server, client = await upstream(script), transport()
    for _ in range(2):
        assert await (await ask(client, server.origin)).read() == b"hi"
    assert server.accepted == 2
    await until(lambda: client.stats()[server.origin]["active"] == 0)
    assert client.stats()[server.origin]["idle"] == 0


@pytest.mark.parametrize(
    "head", ["204 No Content\r\n", "304 Not Modified\r\n", "204 No Content\r\ncontent-length: 2\r\n"]
)
@pytest.mark.parametrize("parts", [1, 2])
async def test_a_body_behind_an_answer_that_has_none_ends_the_connection(upstream, transport, ask, until, head, parts):
    async def script(peer):
        await peer.request()
        whole = (f"HTTP/1.1 {head}\r\n".encode(), b"2\r\nhi\r\n0\r\n\r\n")
        await peer.send(*(whole if parts == 2 else (b"".join(whole),)))
        await peer.closed()

    server, client = await upstream(script), transport()
    for _ in range(2):
        assert await (await ask(client, server.origin)).read() == b""
        await until(lambda: client.stats()[server.origin]["idle"] == 0)
    assert server.accepted == 2


async def test_a_body_sent_after_a_head_request_ends_the_connection(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await peer.closed()

    server, client = await upstream(script), transport()
    for _ in range(2):
        assert await (await ask(client, server.origin, method="HEAD")).read() == b""
    assert server.accepted == 2


async def test_unsolicited_bytes_close_an_idle_connection(upstream, transport, ask, until):
    async def script(peer):
        await peer.request()
        await peer.answer()
        await peer.send(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await peer.closed()

    server, client = await upstream(script, serve), transport()
    await ask(client, server.origin)
    await until(lambda: client.stats()[server.origin]["idle"] == 0)
    assert await (await ask(client, server.origin)).read() == b"ok"
    assert server.accepted == 2


async def test_a_connection_the_server_closed_while_idle_is_not_used(upstream, transport, ask, until):
    async def script(peer):
        await peer.request()
        await peer.answer()

    server, client = await upstream(script), transport()
    for _ in range(5):
        assert await (await ask(client, server.origin, b"x")).read() == b"ok"
        await until(lambda: client.stats()[server.origin]["idle"] == 0)
    assert server.accepted == 5


async def once_then_close_on_the_second_request(peer):
    await peer.request()
    await peer.answer()
    await peer.request()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_request_on_a_stale_connection_is_sent_again_on_a_new_one(upstream, transport, ask, method):
    server, client = await upstream(once_then_close_on_the_second_request, serve), transport()
    await ask(client, server.origin)
    response = await ask(client, server.origin, b"x" if method == "PUT" else None, method=method)
    assert response.status == 200
    assert server.accepted == 2
    await response.aclose()


async def test_it_is_sent_again_only_once(upstream, transport, ask):
    async def close_at_once(peer):
        await peer.request()

    server, client = await upstream(once_then_close_on_the_second_request, close_at_once), transport()
    await ask(client, server.origin)
    with pytest.raises(UpstreamError) as caught:
        await ask(client, server.origin, method="GET")
    assert (caught.value.status, caught.value.sent, server.accepted) == (502, True, 2)


async def test_a_new_connection_for_the_repetition_takes_the_place_of_an_idle_one(upstream, transport, ask, until):
    async def slow_once(peer):
        await peer.request()
        await asyncio.sleep(0.05)
        await peer.answer()
        await peer.request()

    server, client = await upstream(slow_once, slow_once, serve), transport(max_connections=2)
    await asyncio.gather(ask(client, server.origin), ask(client, server.origin))
    assert (await ask(client, server.origin, method="GET")).status == 200
    assert server.accepted == 3


@pytest.mark.parametrize("reset", [False, True])
async def test_a_post_on_a_stale_connection_is_the_callers_to_decide(upstream, transport, ask, reset):
    async def script(peer):
        await peer.request()
        await peer.answer()
        await peer.request()
        if reset:
            peer.reset()

    server, client = await upstream(script), transport()
    await ask(client, server.origin)
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, server.origin, b"x")
    assert (caught.value.status, caught.value.sent, caught.value.retryable, server.accepted) == (503, True, True, 1)
    assert "127.0.0.1" in caught.value.detail
    assert "127.0.0.1" not in str(caught.value)


async def test_a_streamed_body_is_not_sent_again(upstream, transport, ask):
    async def body():
        yield b"x"

    server, client = await upstream(once_then_close_on_the_second_request), transport()
    await ask(client, server.origin)
    with pytest.raises(ConnectFailed):
        await ask(client, server.origin, body(), method="PUT")
    assert server.accepted == 1


async def test_part_of_an_answer_forbids_the_repetition(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.answer()
        await peer.request()
        await peer.send(b"HTT")

    server, client = await upstream(script), transport()
    await ask(client, server.origin)
    with pytest.raises(UpstreamError, match="within its answer's head"):
        await ask(client, server.origin, method="GET")
    assert server.accepted == 1


async def test_idle_connections_are_closed_when_their_time_is_over(upstream, transport, ask, until):
    server, client = await upstream(serve), transport(idle_timeout=0.05)
    await asyncio.gather(*(ask(client, server.origin) for _ in range(3)))
    await until(lambda: client.stats()[server.origin]["idle"] == 0)
    await asyncio.gather(*(peer.gone.wait() for peer in server.peers))
    await ask(client, server.origin)
    await until(lambda: client.stats()[server.origin]["idle"] == 0)


def grow_old(client, origin):
    for connection in client._pools[origin]._open:
        connection.retire_at = 0.0


async def test_a_connection_that_is_old_enough_serves_no_further_request(upstream, transport, ask):
    server, client = await upstream(serve), transport()
    for _ in range(2):
        await ask(client, server.origin)
    assert server.accepted == 1
    grow_old(client, server.origin)
    await ask(client, server.origin)  # its last
    await server.peers[0].gone.wait()
    await ask(client, server.origin)
    assert server.accepted == 2


async def test_whoever_waits_gets_a_new_connection_in_place_of_an_old_one(upstream, transport, ask, until):
    go = asyncio.Event()

    async def held(peer):
        while True:
            await peer.request()
            await go.wait()
            await peer.answer()

    server, client = await upstream(held), transport(max_connections=1)
    asking = [asyncio.create_task(ask(client, server.origin)) for _ in range(2)]
    await until(lambda: server.accepted == 1 and client.stats()[server.origin]["waiting"] == 1)
    grow_old(client, server.origin)
    go.set()
    assert [(await each).status for each in asking] == [200] * 2
    assert server.accepted == 2


async def test_an_idle_connection_that_is_old_is_closed_by_the_reaper(upstream, transport, ask, until):
    server, client = await upstream(serve), transport(idle_timeout=0.02)
    await ask(client, server.origin)
    grow_old(client, server.origin)
    (connection,) = client._pools[server.origin]._open
    connection.idle_since += 1000
    await until(lambda: client.stats()[server.origin]["idle"] == 0)


async def test_connections_opened_together_end_apart(upstream, transport, ask):
    server, client = await upstream(serve), transport(max_age=100)
    await asyncio.gather(*(ask(client, server.origin) for _ in range(8)))
    now = asyncio.get_running_loop().time()
    ages = sorted(connection.retire_at - now for connection in client._pools[server.origin]._open)
    assert all(85 < age <= 100 for age in ages)
    assert min(later - earlier for earlier, later in itertools.pairwise(ages)) > 0.5


async def test_connections_may_last(upstream, transport, ask):
    server, client = await upstream(serve), transport(max_age=0)
    await ask(client, server.origin)
    (connection,) = client._pools[server.origin]._open
    assert connection.retire_at == math.inf


async def test_no_more_than_max_idle_connections_are_kept(upstream, transport, ask, until):
    async def script(peer):
        await peer.request()
        await asyncio.sleep(0.05)
        await peer.answer()
        await peer.closed()

    server, client = await upstream(script), transport(max_idle=2)
    await asyncio.gather(*(ask(client, server.origin) for _ in range(5)))
    await until(lambda: client.stats()[server.origin]["active"] == 0)
    assert client.stats()[server.origin]["idle"] == 2


async def test_above_the_limit_requests_wait_in_order(upstream, transport, ask):
    served = []

    async def script(peer):
        while True:
            request = await peer.request()
            served.append(request.split()[1])
            await peer.answer()

    server, client = await upstream(script), transport(max_connections=1)

    async def one(number):
        await (await ask(client, server.origin, target=f"/{number}")).read()

    await asyncio.gather(*(one(number) for number in range(20)))
    assert served == [f"/{number}".encode() for number in range(20)]
    assert server.accepted == 1
    assert client.stats()[server.origin]["reused"] == 19


async def test_the_limit_holds_when_connections_cannot_be_kept(upstream, transport, ask):
    open_now, most = 0, 0

    async def script(peer):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await peer.request()
        await asyncio.sleep(0.002)
        open_now -= 1
        await peer.answer(headers="connection: close\r\n")

    server, client = await upstream(script), transport(max_connections=3)
    responses = await asyncio.gather(*(ask(client, server.origin) for _ in range(20)))
    assert [response.status for response in responses] == [200] * 20
    assert most <= 3


async def test_waiting_for_a_connection_ends_with_503(upstream, transport, ask):
    async def never(peer):
        await peer.closed()

    server, client = await upstream(never), transport(max_connections=1, connect_timeout=0.05)
    first = asyncio.create_task(ask(client, server.origin))
    await asyncio.sleep(0.02)
    with pytest.raises(PoolExhausted) as caught:
        await ask(client, server.origin)
    assert (caught.value.status, caught.value.sent) == (503, False)
    assert "127.0.0.1" in caught.value.detail
    assert str(caught.value) == "too many requests to the upstream at once"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_waiter_that_leaves_makes_room_for_the_next(upstream, transport, ask):
    go = asyncio.Event()

    async def script(peer):
        while True:
            await peer.request()
            await go.wait()
            await peer.answer()

    server, client = await upstream(script), transport(max_connections=1)
    tasks = [asyncio.create_task(ask(client, server.origin)) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert client.stats()[server.origin]["waiting"] == 3
    tasks[1].cancel()
    go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result).__name__ for result in results] == [
        *("UpstreamResponse", "CancelledError", "UpstreamResponse", "UpstreamResponse")
    ]


async def test_a_waiter_cancelled_just_as_it_is_served_passes_the_connection_on(upstream, transport, ask):
    server, client = await upstream(serve), transport(max_connections=1)
    response = await ask(client, server.origin)
    pool = client._pools[server.origin]
    held = pool.take()
    waiting = [asyncio.create_task(ask(client, server.origin)) for _ in range(2)]
    await asyncio.sleep(0.01)
    pool.release(held)
    waiting[0].cancel()
    assert (await waiting[1]).status == response.status
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert server.accepted == 1


async def test_a_waiter_cancelled_just_as_it_is_given_a_place_passes_the_place_on(upstream, transport, ask):
    server, client = await upstream(serve), transport(max_connections=1)
    await ask(client, server.origin)
    pool = client._pools[server.origin]
    held = pool.take()
    waiting = [asyncio.create_task(ask(client, server.origin)) for _ in range(2)]
    await asyncio.sleep(0.01)
    held.close()
    for _ in range(100):
        if held not in pool._open:
            break
        await asyncio.sleep(0)
    waiting[0].cancel()
    assert (await waiting[1]).status == 200
    assert client.stats()[server.origin]["active"] + client.stats()[server.origin]["idle"] == 1
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_equal_origins_share_a_pool_and_others_do_not(upstream, transport, ask):
    server, client = await upstream(serve), transport()
    port = server.origin.port
    for _ in range(2):
        await ask(client, Origin("127.0.0.1", port))
    await ask(client, Origin("localhost", port))
    assert server.accepted == 2
    assert Origin("a", 1) != Origin("a", 1, TlsSettings())
    assert Origin("a", 1, TlsSettings(insecure=True)) == Origin("a", 1, TlsSettings(insecure=True))


async def test_empty_pools_of_many_origins_are_dropped(upstream, transport, ask):
    server, client = await upstream(serve), transport(max_origins=4)
    await ask(client, server.origin)
    for number in range(20):
        with pytest.raises(ConnectFailed):
            await ask(client, Origin("127.0.0.1", 1, unix=f"/nonexistent/{number}"))
    assert len(client.stats()) <= 4
    assert server.origin in client.stats()


async def test_closing_ends_running_exchanges_and_waiting_requests(upstream, transport, ask):
    async def head_only(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n")
        await peer.closed()

    server, client = await upstream(head_only), transport(max_connections=1)
    response = await ask(client, server.origin)
    waiting = asyncio.create_task(ask(client, server.origin))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(UpstreamError):
        await response.read()
    with pytest.raises(ConnectFailed):
        await waiting
    with pytest.raises(ConnectFailed):
        await ask(client, server.origin)
    with pytest.raises(ConnectFailed):
        await ask(client, Origin("127.0.0.1", 9))


def test_an_authority_leaves_out_the_default_port_and_brackets_ipv6():
    tls = TlsSettings()
    authorities = [Origin("a", 80), Origin("a", 443), Origin("a", 443, tls), Origin("::1", 8080), Origin("a", 80, tls)]
    assert [origin.authority for origin in authorities] == ["a", "a:443", "a", "[::1]:8080", "a:80"]
