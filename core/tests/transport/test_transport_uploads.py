"""Request bodies: whole, streamed, too fast, too slow, wrong, and unwanted."""

import asyncio

import pytest

from agentgateway.errors import InvalidRequest, UpstreamError, UpstreamTimeout


async def pieces(*parts):
    for part in parts:
        await asyncio.sleep(0)
        yield part


def echo(peers=None):
    async def script(peer):
        while True:
            request = await peer.request()
            await peer.answer(request.partition(b"\r\n\r\n")[2])

    return script


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 5_000_000])
async def test_whole_bodies_of_any_size_arrive(upstream, transport, ask, size):
    server, client = await upstream(echo()), transport()
    for _ in range(2):
        response = await ask(client, server.origin, b"x" * size)
        assert await response.read() == b"x" * size
    assert server.accepted == 1


async def test_a_stream_without_length_is_sent_in_chunks(upstream, transport, ask):
    server, client = await upstream(echo()), transport()
    for _ in range(2):
        response = await ask(client, server.origin, pieces(b"hello", b"", b"x" * 20))
        assert await response.read() == b"5\r\nhello\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"
    assert server.accepted == 1


async def test_a_stream_of_known_length_is_sent_bare(upstream, transport, ask):
    server, client = await upstream(echo()), transport()
    for _ in range(2):
        response = await ask(client, server.origin, pieces(b"hello", b"", b" world"), length=11)
        assert await response.read() == b"hello world"
    assert await (await ask(client, server.origin, pieces(), length=0)).read() == b""
    assert server.accepted == 1


async def test_a_whole_body_under_a_chunked_head_is_sent_in_chunks(upstream, transport):
    from agentgateway._host.transport import encode_head

    server, client = await upstream(echo()), transport()
    head = encode_head("POST", "/", "h", (), content_length=None, chunked=True)
    for body, sent in ((b"hello", b"5\r\nhello\r\n0\r\n\r\n"), (None, b"0\r\n\r\n")):
        response = await client.send(server.origin, head, body, method=b"POST", head_timeout=5)
        assert await response.read() == sent


async def test_a_stream_under_a_head_without_framing_is_refused(upstream, transport):
    from agentgateway._host.transport import encode_head

    server, client = await upstream(echo()), transport()
    head = encode_head("POST", "/", "h", ((b"a", b"b"),), content_length=None, chunked=False)
    with pytest.raises(ValueError, match="without content-length"):
        await client.send(server.origin, head, pieces(b"x"), method=b"POST", head_timeout=5)
    assert server.accepted == 0


async def test_a_slow_upstream_slows_the_stream_down(upstream, transport, ask, settled):
    go = asyncio.Event()

    async def script(peer):
        await peer.head()
        await go.wait()
        received = len(await peer.reader.readexactly(64 * 1024 * 1024))
        await peer.answer(b"%d" % received)
        await peer.closed()

    given = 0

    async def body():
        nonlocal given
        for _ in range(1024):
            given += 65536
            yield b"x" * 65536

    server, client = await upstream(script, limit=65536), transport()
    task = asyncio.create_task(ask(client, server.origin, body(), length=64 * 1024 * 1024, head_timeout=None))
    assert await settled(lambda: given) < 16 * 1024 * 1024
    go.set()
    assert await (await task).read() == b"67108864"
    assert client.stats()[server.origin]["idle"] == 1


async def test_an_answer_before_the_end_of_the_upload_ends_it(upstream, transport, ask):
    async def script(peer):
        await peer.head()
        await peer.answer(b"no", status="413 Content Too Large")
        await peer.closed()

    given = 0

    async def body():
        nonlocal given
        while True:
            given += 1
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin, body())
    assert (response.status, await response.read()) == (413, b"no")
    assert client.stats()[server.origin]["idle"] == 0
    at_answer = given
    await asyncio.sleep(0.05)
    assert given == at_answer
    await server.peers[0].gone.wait()


async def test_an_answer_comes_through_while_the_body_has_nothing_to_give(upstream, transport, ask):
    async def script(peer):
        await peer.head()
        await peer.answer(b"no", status="401 Unauthorized")
        await peer.closed()

    left = asyncio.Event()

    async def body():
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            left.set()

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin, body(), head_timeout=0.05)
    assert response.status == 401
    assert left.is_set()


async def test_a_connection_is_kept_when_only_the_iterator_was_late(upstream, transport, ask):
    async def body():
        yield b"hello"
        await asyncio.sleep(5)

    server, client = await upstream(echo()), transport()
    for _ in range(2):
        assert await (await ask(client, server.origin, body(), length=5)).read() == b"hello"
    assert server.accepted == 1


async def test_an_early_answer_to_a_large_body_ends_the_connection(upstream, transport, ask):
    async def script(peer):
        await peer.head()
        await peer.answer(b"no", status="413 Content Too Large")
        await asyncio.sleep(1)

    server, client = await upstream(script, limit=1024), transport()
    response = await ask(client, server.origin, b"x" * 32_000_000)
    assert response.status == 413
    assert await response.read() == b"no"
    assert client.stats()[server.origin]["idle"] == 0


async def test_what_the_body_raises_reaches_the_caller_and_the_upstream_sees_no_end(upstream, transport, ask):
    class ClientLeft(Exception):
        pass

    async def body():
        yield b"hello"
        raise ClientLeft

    seen = []

    async def script(peer):
        await peer.head()
        seen.append(await peer.reader.read(-1))

    server, client = await upstream(script), transport()
    with pytest.raises(ClientLeft):
        await ask(client, server.origin, body())
    await server.peers[0].gone.wait()
    assert seen == [b"5\r\nhello\r\n"]


@pytest.mark.parametrize(
    ("parts", "message"), [((b"hello", b" world!"), "longer than"), ((b"hello",), "shorter than"), ((), "shorter than")]
)
async def test_a_body_of_another_length_than_announced_never_passes(upstream, transport, ask, parts, message):
    seen = []

    async def script(peer):
        await peer.head()
        seen.append(await peer.reader.read(-1))

    server, client = await upstream(script), transport()
    with pytest.raises(InvalidRequest, match=message):
        await ask(client, server.origin, pieces(*parts), length=11)
    await server.peers[0].gone.wait()
    assert len(seen[0]) < 11


async def test_an_upstream_that_dies_during_the_upload_is_an_error(upstream, transport, ask):
    async def script(peer):
        await peer.head()
        peer.reset()

    async def body():
        while True:
            yield b"x" * 10000
            await asyncio.sleep(0)

    server, client = await upstream(script), transport()
    with pytest.raises(UpstreamError) as caught:
        await ask(client, server.origin, body())
    assert caught.value.sent


async def test_an_upstream_that_takes_nothing_more_times_out(upstream, transport, ask):
    async def script(peer):
        await peer.head()
        await asyncio.sleep(5)

    async def body():
        while True:
            yield b"x" * 65536

    server, client = await upstream(script, limit=1024), transport()
    with pytest.raises(UpstreamTimeout):
        await ask(client, server.origin, body(), head_timeout=0.1)


async def test_the_time_the_body_takes_is_not_the_upstreams(upstream, transport, ask):
    async def body():
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield b"x"

    server, client = await upstream(echo()), transport()
    assert await (await ask(client, server.origin, body(), length=4, head_timeout=0.2)).read() == b"xxxx"


async def test_a_cancelled_upload_closes_the_upstream_and_lets_the_body_go(upstream, transport, ask, until):
    async def script(peer):
        await peer.head()
        await peer.closed()

    left = asyncio.Event()

    async def body():
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            left.set()

    server, client = await upstream(script), transport()
    task = asyncio.create_task(ask(client, server.origin, body()))
    await until(lambda: server.accepted == 1)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()
    await server.peers[0].gone.wait()
    await until(lambda: client._pools[server.origin].empty)


async def test_an_answer_that_stalls_during_the_upload_times_out(upstream, transport, ask):
    async def script(peer):
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel")
        await asyncio.sleep(5)

    async def body():
        while True:
            yield b"x" * 65536

    server, client = await upstream(script, limit=1024), transport()
    response = await ask(client, server.origin, body(), expect_stream=False, body_timeout=0.1)
    with pytest.raises(UpstreamTimeout, match="in the middle"):
        await response.read()
