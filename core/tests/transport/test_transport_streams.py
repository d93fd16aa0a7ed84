"""Bodies as they arrive: iteration, push, back-pressure, and consumers that leave."""

import asyncio

import pytest

from agentgateway._host.upstream_response import HIGH_WATER
from agentgateway.errors import UpstreamError

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Sink:
    """Collects what is pushed."""

    def __init__(self):
        self.chunks = []
        self.ends = []
        self.ended = asyncio.Event()

    def on_end(self, error):
        self.ends.append(error)
        self.ended.set()


def chunk(text):
    return b"%x\r\n%b\r\n" % (len(text), text)


def stepping():
    """Five chunks, each sent only when told: nothing may wait for the end."""
    step = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED)
        for number in range(5):
            await step.wait()
            step.clear()
            await peer.send(chunk(b"chunk %d" % number))
        await peer.send(b"0\r\n\r\n")
        await peer.closed()

    return step, script


def flood(total=64 * 1024 * 1024, after=b""):
    """As much as the other side takes; counts what was written."""

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        peer.written = 0
        while peer.written < total:
            await peer.send(b"x" * 65536)
            peer.written += 65536
        await peer.closed()

    return script


async def test_chunks_are_there_as_soon_as_they_arrive(upstream, transport, ask):
    step, script = stepping()
    server, client = await upstream(script), transport()
    response = await ask(client, server.origin)
    assert not response.complete
    step.set()
    seen = []
    async for piece in response:
        seen.append(piece)
        step.set()
    assert seen == [b"chunk %d" % number for number in range(5)]
    assert client.stats()[server.origin]["idle"] == 1


async def test_pushed_chunks_come_at_once_and_then_the_end(upstream, transport, ask):
    step, script = stepping()
    server, client, sink = await upstream(script), transport(), Sink()

    def on_chunk(piece):
        sink.chunks.append(piece)
        step.set()

    response = await ask(client, server.origin)
    response.push(on_chunk, sink.on_end)
    step.set()
    await sink.ended.wait()
    assert sink.chunks == [b"chunk %d" % number for number in range(5)]
    assert (sink.ends, response.complete) == ([None], True)
    assert client.stats()[server.origin]["idle"] == 1


async def test_what_is_pushed_may_be_read_from_some_chunk_on(upstream, transport, ask):
    step, script = stepping()
    server, client, sink = await upstream(script), transport(), Sink()
    pulled = asyncio.Event()

    def on_chunk(piece):
        sink.chunks.append(piece)
        if len(sink.chunks) == 2:
            response.pause()
            response.pull()
            pulled.set()
        step.set()

    response = await ask(client, server.origin)
    response.push(on_chunk, sink.on_end)
    step.set()
    await pulled.wait()
    async for piece in response:
        sink.chunks.append(piece)
        step.set()
    assert sink.chunks == [b"chunk %d" % number for number in range(5)]
    assert (sink.ends, response.complete) == ([], True)


async def test_pushing_an_answer_that_is_already_here_ends_at_once(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.answer(b"hello")

    server, client, sink = await upstream(script), transport(), Sink()
    response = await ask(client, server.origin, expect_stream=False)
    response.push(sink.chunks.append, sink.on_end)
    assert (sink.chunks, sink.ends) == ([b"hello"], [None])


async def test_the_connection_is_free_before_the_pushed_end_is_told(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED, b"1\r\na\r\n0\r\n\r\n")
        await peer.closed()

    server, client, sink = await upstream(script), transport(), Sink()
    idle = []
    response = await ask(client, server.origin)
    response.push(lambda piece: idle.append(client.stats()[server.origin]["idle"]), sink.on_end)
    await sink.ended.wait()
    assert idle == [1]


async def test_a_broken_pushed_body_ends_with_its_error(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED, chunk(b"a"))

    server, client, sink = await upstream(script), transport(), Sink()
    response = await ask(client, server.origin)
    response.push(sink.chunks.append, sink.on_end)
    await sink.ended.wait()
    assert sink.chunks == [b"a"]
    assert [str(error) for error in sink.ends] == ["the upstream's answer was cut short"]


async def test_an_aborted_push_hears_nothing_more_and_the_upstream_is_closed(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED, *(chunk(b"a") for _ in range(3)))
        await peer.closed()

    server, client, sink = await upstream(script), transport(), Sink()
    response = await ask(client, server.origin)

    def leave(piece):
        sink.chunks.append(piece)
        response.abort()

    response.push(leave, sink.on_end)
    await server.peers[0].gone.wait()
    await asyncio.sleep(0.02)
    assert (len(sink.chunks), sink.ends) == (1, [])


async def test_an_unread_body_stops_its_upstream(upstream, transport, ask, settled):
    server, client = await upstream(flood()), transport()
    response = await ask(client, server.origin)
    await settled(lambda: server.peers[0].written)
    assert not response.complete
    assert HIGH_WATER < response._unread < 4 * HIGH_WATER
    received = 0
    async for piece in response:
        received += len(piece)
    assert received == 64 * 1024 * 1024
    assert client.stats()[server.origin]["idle"] == 1


async def test_a_paused_push_stops_its_upstream_until_resumed(upstream, transport, ask, settled):
    server, client, sink = await upstream(flood()), transport(), Sink()
    response = await ask(client, server.origin)
    received = 0

    def on_chunk(piece):
        nonlocal received
        received += len(piece)

    response.push(on_chunk, sink.on_end)
    response.pause()
    response.pause()
    at_pause = await settled(lambda: received)
    assert at_pause < 4 * HIGH_WATER
    response.resume()
    await sink.ended.wait()
    assert received == 64 * 1024 * 1024


async def test_a_push_may_pause_from_within_its_first_chunk(upstream, transport, ask, settled):
    server, client, sink = await upstream(flood()), transport(), Sink()
    response = await ask(client, server.origin)
    await settled(lambda: server.peers[0].written)

    def on_chunk(piece):
        sink.chunks.append(len(piece))
        response.pause()

    response.push(on_chunk, sink.on_end)
    assert len(sink.chunks) == 1
    await asyncio.sleep(0.05)
    assert sum(sink.chunks) < 4 * HIGH_WATER


@pytest.mark.parametrize("expect_stream", [None, False, True])
async def test_reading_whole_needs_no_pauses(upstream, transport, ask, expect_stream):
    server, client = await upstream(flood(8 * 1024 * 1024)), transport()
    response = await ask(client, server.origin, expect_stream=expect_stream)
    assert len(await response.read()) == 8 * 1024 * 1024
    assert client.stats()[server.origin]["idle"] == 1


@pytest.mark.parametrize("leave", ["aclose", "abort"])
async def test_leaving_an_unfinished_body_closes_the_upstream_at_once(upstream, transport, ask, until, leave):
    server, client = await upstream(flood()), transport()
    response = await ask(client, server.origin)
    async for _ in response:
        break
    if leave == "aclose":
        await response.aclose()
    else:
        response.abort()
        response.abort()
    await server.peers[0].gone.wait()
    await until(lambda: client.stats()[server.origin]["active"] == 0)
    assert client._pools[server.origin].empty
    with pytest.raises(UpstreamError, match="abandoned"):
        await response.read()


async def test_leaving_a_finished_body_keeps_the_connection(upstream, transport, ask):
    async def script(peer):
        while True:
            await peer.request()
            await peer.answer(b"x" * 1000)

    server, client = await upstream(script), transport()
    for _ in range(3):
        response = await ask(client, server.origin, expect_stream=False)
        await response.aclose()
    assert server.accepted == 1


async def test_a_cancelled_reader_can_still_be_closed(upstream, transport, ask, until):
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED, chunk(b"a"))
        await peer.closed()

    server, client = await upstream(script), transport()

    async def relay():
        response = await ask(client, server.origin)
        try:
            async for _ in response:
                pass
        finally:
            await response.aclose()

    task = asyncio.create_task(relay())
    await until(lambda: server.accepted == 1)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.peers[0].gone.wait()


async def test_a_cancelled_read_closes_the_upstream_by_itself(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED, chunk(b"a"))
        await peer.closed()

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin)
    reader = asyncio.create_task(response.read())
    await asyncio.sleep(0.01)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await server.peers[0].gone.wait()


async def test_abort_wakes_a_reader(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED)
        await peer.closed()

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin)
    reader = asyncio.create_task(response.read())
    await asyncio.sleep(0.01)
    response.abort()
    with pytest.raises(UpstreamError, match="abandoned"):
        await reader


async def test_body_is_there_only_when_all_of_it_is(upstream, transport, ask, until):
    step, script = stepping()
    server, client = await upstream(script), transport()
    response = await ask(client, server.origin)
    for _ in range(5):
        assert response.body is None
        step.set()
        await until(lambda: not step.is_set())
    await until(lambda: response.complete)
    whole = b"".join(b"chunk %d" % number for number in range(5))
    assert (response.body, response.body, await response.read()) == (whole, whole, whole)
