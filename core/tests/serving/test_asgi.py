"""HTTP/1.1 in, Exchange through, HTTP/1.1 out: as traffic on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Exchange, Headers, Reply


async def hello(exchange: Exchange) -> Reply:
    return Reply.text(200, "hello")


async def test_a_request_arrives_as_it_was_sent_and_its_reply_as_it_was_made(serving, connect):
    seen = []

    async def answer(exchange: Exchange) -> Reply:
        seen.append(exchange)
        return Reply(201, Headers.of({"X-Kind": "test"}), await exchange.request.body.read(100))

    running = await serving(answer)
    client = await connect(running)
    await client.send(
        b"POST /a//b%2Fc?x=%20&y HTTP/1.1\r\nHost: Gateway.test:81\r\n"
        b"X-One: 1\r\nx-one: 2\r\nContent-Length: 4\r\n\r\nping"
    )
    status, headers, body = await client.reply()

    assert (status, headers["x-kind"], headers["content-length"], body) == (201, "test", "4", b"ping")
    assert "server" not in headers and headers["date"].endswith("GMT")
    request = seen[0].request
    assert (request.method, request.target, request.authority) == ("POST", "/a//b%2Fc?x=%20&y", "Gateway.test:81")
    assert (request.host, request.scheme, request.version) == ("gateway.test", "http", "HTTP/1.1")
    assert request.headers.all("x-one") == ["1", "2"]
    assert request.body.length == 4
    assert seen[0].source.address == "127.0.0.1" and seen[0].source.port > 0
    logged = await running.hooks.next_logged()
    assert (logged.sent_bytes, logged.place.gateway, running.runtime.gateway.active) == (4, "default", 0)


async def test_a_connection_serves_one_request_after_the_other_even_if_sent_at_once(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, exchange.request.path)

    client = await connect(await serving(answer))
    await client.send(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
    received = b""
    async with asyncio.timeout(5):
        while not received.endswith(b"/2"):
            received += await client.reader.read(1000)
    assert received.count(b"HTTP/1.1 200") == 2 and b"\r\n\r\n/1HTTP/1.1 200" in received


@pytest.mark.parametrize(
    ("method", "reply", "length"),
    [
        ("HEAD", Reply.text(200, "hello"), "5"),
        ("HEAD", Reply(200, Headers.of({"content-length": "999"})), "999"),
        ("GET", Reply(204, Headers.of({"content-length": "0"})), None),
        ("GET", Reply(304, Headers.of({"content-length": "7", "etag": "x"})), "7"),
    ],
)
async def test_replies_without_a_body_send_none(serving, connect, method, reply, length):
    async def answer(exchange: Exchange) -> Reply:
        return reply

    client = await connect(await serving(answer))
    for _ in range(2):  # the second proves that the connection is in step
        await client.send(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        status, headers, body = await client.reply(method)
        assert (status, headers.get("content-length"), body) == (reply.status, length, b"")


async def test_a_stream_that_nobody_will_see_is_closed(serving, connect):
    closed = asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, Headers.of({"content-type": "text/event-stream"}), endless(closed))

    client = await connect(await serving(answer))
    await client.send(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.reply("HEAD"))[0] == 200
    # Not yet begun, so its `finally` never runs: closing it must not hang.
    await client.send(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.reply("HEAD"))[0] == 200


async def endless(closed: asyncio.Event, chunk: bytes = b"data: x\n\n", pause: float = 0.001) -> AsyncIterator[bytes]:
    try:
        while True:
            yield chunk
            await asyncio.sleep(pause)
    finally:
        closed.set()


async def test_what_belongs_to_one_connection_is_not_passed_on(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        names = {
            "Connection": "X-Private, keep-alive", "keep-alive": "timeout=5", "x-private": "1", "x-public": "1",
            "proxy-authenticate": "Basic", "upgrade": "h2c", "te": "trailers", "trailer": "x", "date": "yesterday",
            "transfer-encoding": "chunked", "content-length": "12345",
        }  # fmt: skip
        return Reply(200, Headers.of(names), b"body")

    client = await connect(await serving(answer))
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    status, headers, body = await client.reply()
    assert (status, body) == (200, b"body")
    assert headers == {"x-public": "1", "date": "yesterday", "content-length": "4"}


async def test_a_stream_is_passed_on_chunk_by_chunk(serving, connect):
    gate = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        await gate.wait()
        yield b"two"

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, Headers.of({"content-type": "text/event-stream"}), chunks())

    running = await serving(answer)
    client = await connect(running)
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await client.head()
    assert dict(head.headers)[b"transfer-encoding"] == b"chunked"
    assert (await client.event()).data == b"one"  # before the second was made
    gate.set()
    assert (await client.event()).data == b"two"
    assert type(await client.event()).__name__ == "EndOfMessage"
    assert (await running.hooks.next_logged()).sent_bytes == 6


async def test_a_stream_that_breaks_cuts_the_connection_so_that_nobody_takes_it_for_whole(serving, connect):
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("upstream died")

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer)
    client = await connect(running)
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(5):
        received = await client.reader.read()
    assert received.endswith(b"3\r\none\r\n")  # and no last chunk
    assert (await running.hooks.next_logged()).error is not None


async def test_bodies_come_whole_in_pieces_or_chunked(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=await exchange.request.body.read(1_000_000))

    client = await connect(await serving(answer))
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await asyncio.sleep(0)
    await client.send(b"2\r\nde\r\n0\r\n\r\n")
    assert (await client.reply())[2] == b"abcde"
    await client.send(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\nexpect: 100-continue\r\n\r\n")
    await client.send(b"x" * 300_000)
    assert (await client.reply())[2] == b"x" * 300_000
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n")
    assert (await client.reply())[2] == b"!"


async def test_a_refused_small_body_does_not_cost_the_connection(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(401, "no")

    client = await connect(await serving(answer))
    for _ in range(3):
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20000\r\n\r\n" + b"x" * 20_000)
        status, headers, _ = await client.reply()
        assert (status, headers.get("connection")) == (401, None)


@pytest.mark.parametrize("framing", ["content-length: 104857600", "transfer-encoding: chunked"])
async def test_whoever_sends_too_much_can_read_that_it_was_too_much(serving, connect, framing):
    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=await exchange.request.body.read(1000))

    client = await connect(await serving(answer))
    await client.send(f"POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n".encode())
    piece = b"2000\r\n" + b"x" * 0x2000 + b"\r\n" if "chunked" in framing else b"x" * 0x2000
    upload = asyncio.create_task(flood(client, piece))
    status, headers, _ = await client.reply()
    assert (status, headers["connection"]) == (413, "close")
    await upload


async def flood(client, piece: bytes) -> None:
    try:
        for _ in range(104_857_600 // len(piece)):
            await client.send(piece)
    except ConnectionError:
        pass  # it was told, and did not listen


async def test_a_body_that_nobody_reads_stays_with_its_client(serving, connect):
    reading = asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        await reading.wait()
        size = 0
        async for chunk in exchange.request.body:
            size += len(chunk)
        return Reply.text(200, str(size))

    client = await connect(await serving(answer))
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n")
    upload = asyncio.create_task(client.send(b"x" * 50_000_000))
    await asyncio.sleep(0.3)
    transport = client.writer.transport
    assert transport.get_write_buffer_size() > 30_000_000  # kernel buffers and the server's queue took the rest
    reading.set()
    await upload
    assert (await client.reply())[2] == b"50000000"


async def test_a_client_that_leaves_while_nothing_was_answered_ends_the_work_at_once(serving, connect):
    working, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        await exchange.request.body.read(100)
        working.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError

    running = await serving(answer)
    for request in (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"):
        client = await connect(running)
        await client.send(request)
        await working.wait()
        await client.close()
        await asyncio.wait_for(cancelled.wait(), 5)
        logged = await running.hooks.next_logged()
        assert logged.error is not None and logged.error.status == 499
        working.clear()
        cancelled.clear()
    assert running.runtime.gateway.active == 0


@pytest.mark.parametrize("size", [0, 5, 300_000])
async def test_a_client_that_leaves_is_noticed_also_when_nobody_reads_its_body(serving, connect, size):
    working = asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        working.set()
        await asyncio.sleep(60)
        raise AssertionError

    running = await serving(answer)
    client = await connect(running)
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" + b"x" * size)
    await working.wait()
    await client.close()
    logged = await running.hooks.next_logged()
    assert logged.error is not None and logged.error.status == 499


async def test_a_stream_may_answer_a_body_that_nobody_reads(serving, connect):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x"
            await asyncio.sleep(0.001)

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    client = await connect(await serving(answer))
    for _ in range(2):  # the upload ends before the stream does, and the connection is in step
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2_000_000)
        status, headers, body = await client.reply()
        assert (status, body) == (200, b"x" * 50)
        if headers.get("connection") == "close":
            return


async def test_a_client_that_leaves_in_the_middle_of_its_body_ends_the_request(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        await exchange.request.body.read(100)
        raise AssertionError

    running = await serving(answer)
    client = await connect(running)
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\nhalf")
    await asyncio.sleep(0.02)
    await client.close()
    logged = await running.hooks.next_logged()
    assert logged.error is not None and logged.error.status == 499


@pytest.mark.parametrize("pause", [0.0, 0.001, 60])
async def test_a_client_that_leaves_in_the_middle_of_a_stream_closes_it_at_once(serving, connect, pause):
    closed = asyncio.Event()

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=endless(closed, pause=pause))

    running = await serving(answer)
    client = await connect(running)
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await client.head()
    await client.event()
    client.writer.transport.abort()
    await asyncio.wait_for(closed.wait(), 5)
    logged = await running.hooks.next_logged()
    assert logged.error is not None and logged.error.status == 499


async def test_a_body_that_pauses_too_long_is_answered_408(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=await exchange.request.body.read(100))

    client = await connect(await serving(answer, http={"bodyTimeout": "50ms"}))
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
    status, _, body = await client.reply()
    assert (status, body) == (408, b"the request body came too slowly")
    assert await client.at_end()


async def test_a_client_that_stops_reading_is_cut_off_and_costs_no_memory_meanwhile(serving, connect):
    closed = asyncio.Event()
    made = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal made
        try:
            while True:
                made += 1
                yield b"x" * 65536
        finally:
            closed.set()

    async def answer(exchange: Exchange) -> Reply:
        return Reply(200, body=chunks())

    running = await serving(answer, http={"bodyTimeout": "300ms"})
    client = await connect(running, limit=1024)
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.wait_for(closed.wait(), 5)
    assert made < 200  # what the kernel's buffers hold
    logged = await running.hooks.next_logged()
    assert logged.error is not None and logged.error.status == 499


async def test_what_the_pipeline_cannot_answer_is_a_500_without_a_word_about_it(serving, connect, caplog):
    async def answer(exchange: Exchange) -> Reply:
        if exchange.request.path == "/header":
            return Reply(200, Headers([(b"x-split", b"a\r\nset-cookie: b")]))
        if exchange.request.path == "/name":
            return Reply(200, Headers([(b"x split", b"a")]))
        return Reply(99, Headers())

    running = await serving(answer)
    for path in ("/header", "/name", "/status"):
        client = await connect(running)
        await client.send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        status, headers, body = await client.reply()
        assert (status, body) == (500, b"internal error")
        assert "set-cookie" not in headers
        assert (await running.hooks.next_logged()).error is not None


BAD = [
    ("GET /a/../b HTTP/1.1\r\nhost: x", 400),
    ("GET /a/%2e%2E/b HTTP/1.1\r\nhost: x", 400),
    ("GET /a%2f..%2fb HTTP/1.1\r\nhost: x", 400),
    ("GET /a/..;x=1/b HTTP/1.1\r\nhost: x", 400),
    ("GET /a\\..\\b HTTP/1.1\r\nhost: x", 400),
    ("GET /a/.%5cb HTTP/1.1\r\nhost: x", 400),
    ("GET /. HTTP/1.1\r\nhost: x", 400),
    ("GET /%zz HTTP/1.1\r\nhost: x", 400),
    ("GET /% HTTP/1.1\r\nhost: x", 400),
    ("GET /a%00b HTTP/1.1\r\nhost: x", 400),
    ("GET /a#b HTTP/1.1\r\nhost: x", 400),
    ("GET /?a#b HTTP/1.1\r\nhost: x", 400),
    ("GET a HTTP/1.1\r\nhost: x", 400),
    ("GET ftp://x/ HTTP/1.1\r\nhost: x", 400),
    ("GET http://u:p@x/ HTTP/1.1\r\nhost: x", 400),
    ("GET / HTTP/1.1\r\nhost: a b", 400),
    ("GET / HTTP/1.1\r\nhost: x/y", 400),
    ("GET / HTTP/1.1\r\nhost:", 400),
    ("GET / HTTP/1.1", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nhost: y", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nhost: x", 400),
    ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked", 400),
    ("POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked", 400),
    ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6", 400),
    ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5", 400),
    ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +5", 400),
    ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0x5", 400),
    ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked", 501),
    ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked", 501),
    ("GET / HTTP/1.1\r\nhost: x\r\nx-a: b\rc: d", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nx-a: b\0c", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nx a: b", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nx-a : b", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\n: b", 400),
    ("GET / HTTP/1.1\r\n x: y\r\nhost: x", 400),
    ("GET /a b HTTP/1.1\r\nhost: x", 400),
    ("GET /ü HTTP/1.1\r\nhost: x", 400),
    ("GET / HTTP/9.9\r\nhost: x", 505),
    ("\x16\x03\x01\x02", 400),
    ("CONNECT x:443 HTTP/1.1\r\nhost: x:443", 405),
    ("TRACE / HTTP/1.1\r\nhost: x", 405),
    ("OPTIONS * HTTP/1.1\r\nhost: x", 405),
    ("GET / HTTP/1.1\r\nhost: x\r\n" + "\r\n".join(f"x-{i}: y" for i in range(100)), 431),
]


@pytest.mark.parametrize(("head", "expected"), BAD)
async def test_a_head_that_could_mean_two_things_is_refused_and_the_connection_closed(serving, connect, head, expected):
    reached = []

    async def answer(exchange: Exchange) -> Reply:
        reached.append(exchange)
        return Reply.text(200, "smuggled")

    client = await connect(await serving(answer))
    await client.send(head.encode("latin-1") + b"\r\n\r\n" + b"0\r\n\r\n" * ("chunked" in head))
    status, _, _ = await client.reply()
    assert status == expected
    assert await client.at_end()
    assert not reached


@pytest.mark.parametrize(
    "path", ["/", "//", "/a//b", "/v1.0/x", "/a/.../b", "/a%2fb", "/a/.hidden", "/a..b/", "/%252e%252e/"]
)
async def test_odd_paths_that_mean_one_thing_are_passed_on_as_they_are(serving, connect, path):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, exchange.request.path)

    client = await connect(await serving(answer))
    await client.send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert (await client.reply())[2] == path.encode()


async def test_refused_heads_are_logged_like_other_requests(serving, connect):
    running = await serving(hello)
    client = await connect(running)
    await client.send(b"GET /a/../b HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.reply())[2] == b"dot segments in the path"
    logged = await running.hooks.next_logged()
    assert isinstance(logged.error, InvalidRequest)
    assert (logged.request.path, logged.place.gateway, logged.place.route) == ("/a/../b", "default", "unknown")


async def test_a_target_in_absolute_form_says_which_host_is_meant(serving, connect):
    async def answer(exchange: Exchange) -> Reply:
        request = exchange.request
        return Reply.text(200, f"{request.authority} {request.target} {request.headers.all('host')}")

    client = await connect(await serving(answer))
    await client.send(b"GET http://Real:8080/a?b HTTP/1.1\r\nhost: other\r\n\r\n")
    assert (await client.reply())[2] == b"Real:8080 /a?b ['Real:8080']"
    await client.send(b"GET http://real HTTP/1.1\r\nhost: other\r\n\r\n")
    assert (await client.reply())[2] == b"real / ['real']"


async def test_a_head_above_the_limit_is_refused_431(serving, connect):
    client = await connect(await serving(hello, http={"http1MaxHeadSize": 2048}))
    upload = asyncio.create_task(flood_head(client))
    assert (await client.reply())[0] == 431
    await upload


async def flood_head(client) -> None:
    try:
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-bomb: ")
        for _ in range(200):
            await client.send(b"x" * 10_000)
    except ConnectionError:
        pass


async def test_obsolete_line_folding_cannot_hide_a_field(serving, connect, face):
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, repr(exchange.request.headers.all("x-a") + exchange.request.headers.all("x-b")))

    client = await connect(await serving(answer))
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n x-b: 2\r\n\r\n")
    status, _, body = await client.reply()
    # RFC 9112 section 5.2 allows both: to refuse it, or to replace it by blanks.
    assert status == 400 if face == "edge" else body == b"['1 x-b: 2']"


async def test_http_1_0_is_served(serving, connect):
    client = await connect(await serving(hello))
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await client.reply())[2] == b"hello"
    assert await client.at_end()


async def test_an_upgrade_that_nobody_takes_up_gets_an_ordinary_answer(serving, connect):
    client = await connect(await serving(hello))
    await client.send(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
    status, _, body = await client.reply()
    assert (status, body) == (200, b"hello")
    assert await client.at_end()


async def test_a_host_that_nobody_serves_is_not_found(serving, connect):
    running = await serving(hello)
    client = await connect(running)
    object.__setattr__(running.runtime.gateway.binds[0].listeners[0].listener, "hostname", "only.example")
    await client.send(b"GET / HTTP/1.1\r\nhost: other.example\r\n\r\n")
    status, _, body = await client.reply()
    assert (status, body) == (404, b"route not found")
    assert (await running.hooks.next_logged()).place.listener == "unknown"
