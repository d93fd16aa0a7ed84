"""What counts as an answer: framing, refusals, and the ways an upstream can break off."""

import pytest

from agentgateway.errors import UpstreamError

HEAD = b"HTTP/1.1 200 OK\r\n"


def sending(*parts, then="close"):
    async def script(peer):
        await peer.request()
        await peer.send(*parts)
        if then == "wait":
            await peer.closed()
        elif then == "reset":
            peer.reset()

    return script


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HEAD + b"content-length: 5\r\n\r\nhello", b"hello"),
        (HEAD + b"Content-Length:5\r\n\r\nhello", b"hello"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nx-trailer: 1\r\n\r\n", b"hello"),
        (HEAD + b"Transfer-Encoding: Chunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (HEAD + b"\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (HEAD + b"content-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b""),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: a\r\n\r\n"
            + HEAD
            + b"content-length: 2\r\n\r\nhi",
            b"hi",
        ),
    ],
)
@pytest.mark.parametrize("split", ["whole", "bytes"])
@pytest.mark.parametrize("expect_stream", [None, False, True])
async def test_every_framing_is_understood_however_it_arrives(
    upstream, transport, ask, answer, body, split, expect_stream
):
    parts = (answer,) if split == "whole" else tuple(answer[i : i + 1] for i in range(len(answer)))

    async def script(peer):
        await peer.request()
        for part in parts:
            await peer.send(part)

    server, client = await upstream(script), transport()
    response = await ask(client, server.origin, expect_stream=expect_stream)
    assert response.status in (200, 204, 304)
    assert await response.read() == body
    assert (response.complete, response.body) == (True, b"")


async def test_names_are_lower_case_and_everything_else_is_as_it_came(upstream, transport, ask):
    answer = (
        b"HTTP/1.1 418 I'm A Teapot\r\nX-Thing: One\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Encoding: gzip\r\n"
        b"content-length: 4\r\n\r\n\x1f\x8b\x08\x00"
    )
    server, client = await upstream(sending(answer)), transport()
    response = await ask(client, server.origin)
    assert (response.status, response.reason) == (418, b"I'm A Teapot")
    assert response.headers == [
        (b"x-thing", b"One"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"4"),
    ]
    assert response.body == b"\x1f\x8b\x08\x00"
    assert repr(response) == "<UpstreamResponse 418 complete>"


async def test_trailers_and_interim_headers_do_not_join_the_headers(upstream, transport, ask):
    answer = (
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + HEAD + b"transfer-encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nx-trailer: evil\r\n\r\n"
    )
    server, client = await upstream(sending(answer)), transport()
    response = await ask(client, server.origin)
    await response.read()
    assert response.headers == [(b"transfer-encoding", b"chunked")]
    assert response.reason == b"OK"


async def test_trailers_do_not_join_the_headers_of_the_next_answer(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        chunks = b"1\r\na\r\n0\r\nset-cookie: somebody=else\r\ntransfer-encoding: chunked\r\n\r\n"
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks)
        await peer.request()
        await peer.answer(b"b")

    server, client = await upstream(script), transport()
    assert await (await ask(client, server.origin)).read() == b"a"
    response = await ask(client, server.origin)
    assert response.headers == [(b"content-length", b"1")]
    assert response.body == b"b"
    assert server.accepted == 1


async def test_an_answer_ended_by_close_may_last_as_long_as_it_likes(upstream, transport, ask):
    server, client = await upstream(sending(HEAD + b"\r\nhel", b"lo", b"!")), transport()
    response = await ask(client, server.origin)
    assert [chunk async for chunk in response] == [b"hel", b"lo", b"!"]


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"content-length: 2, 3\r\n\r\nhi",
        HEAD + b"content-length: +2\r\n\r\nhi",
        HEAD + b"content-length: -2\r\n\r\nhi",
        HEAD + b"content-length: 0x2\r\n\r\nhi",
        HEAD + b"content-length: \r\n\r\nhi",
        HEAD + b"content-length: 99999999999999999999999\r\n\r\nhi",
        HEAD + b"content-length : 2\r\n\r\nhi",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: identity\r\n\r\nhi",
        HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: xchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"a: b\r\n folded\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"a: b\rc\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"a: b\0c\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"a b: c\r\ncontent-length: 2\r\n\r\nhi",
        HEAD[:-2] + b"\ncontent-length: 2\n\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\nhi",
        b"HTTP/1.1 600 Beyond\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 999 Request denied\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 099 Low\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 000 Low\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"HTTP/0.9 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"ICE/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        b"\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\nhi",
        b" " + HEAD + b"content-length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nconnection: close\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\nhi",
        HEAD + b"content-length: 2 2\r\n\r\nhi",
        HEAD + b"content-length: \x0c2\r\n\r\nhi",
        HEAD + b"content-length: 1e1\r\n\r\nhi",
        HEAD + b"transfer-encoding: chunked, identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding:\r\n\r\nhi",
        HEAD + b"transfer-encoding: \r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"a: b\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"content-length: 2\r\r\n\r\nhi",
        HEAD + b"content-length: 2\r\n\nhi",
        HEAD + b"a: \x01\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b": a\r\ncontent-length: 2\r\n\r\nhi",
        HEAD + b"no colon\r\ncontent-length: 2\r\n\r\nhi",
        b"hello\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
async def test_an_ambiguous_or_malformed_answer_is_refused(upstream, transport, ask, until, answer):
    server, client = await upstream(sending(answer, then="wait")), transport()
    with pytest.raises(UpstreamError, match="the upstream sent an invalid answer") as caught:
        await (await ask(client, server.origin)).read()
    assert (caught.value.status, caught.value.sent) == (502, True)
    assert caught.value.detail.startswith(f"127.0.0.1:{server.origin.port}: ")
    await until(lambda: client.stats()[server.origin]["active"] == 0)
    assert client.stats()[server.origin]["idle"] == 0


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nhi\r\n0\r\n\r\n",
        b"2\nhi\r\n0\r\n\r\n",
        b"0x2\r\nhi\r\n0\r\n\r\n",
        b"-2\r\nhi\r\n0\r\n\r\n",
        b" 2\r\nhi\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhiX\r\n0\r\n\r\n",
        b"2\r\nhi0\r\n\r\n",
        b"2 \r\nhi\r\n0\r\n\r\n",
        b"\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi\n0\r\n\r\n",
        b"2;a\nhi\r\n0\r\n\r\n",
        b"2;a\rb\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi\r\n0\n\n",
        b"2\r\nhi\r\n0\r\n\n",
        b"2\r\nhi\r\n0\r\ncontent-length: 5\r\n\r\n",
        b"2\r\nhi\r\n0\r\na: b\r\n folded\r\n\r\n",
    ],
)
async def test_malformed_chunks_fail_the_body(upstream, transport, ask, chunks):
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    server, client = await upstream(sending(head, chunks, then="wait")), transport()
    response = await ask(client, server.origin)
    with pytest.raises(UpstreamError, match="invalid answer"):
        await response.read()
    assert not response.complete


@pytest.mark.parametrize("name_only", [False, True])
async def test_an_oversized_head_is_refused(upstream, transport, ask, name_only):
    big = b"x" * 3000 + (b"" if name_only else b": y\r\n\r\n")
    server, client = await upstream(sending(HEAD + big, then="wait")), transport(max_head_bytes=2048)
    with pytest.raises(UpstreamError) as caught:
        await ask(client, server.origin)
    assert "the head is too large" in caught.value.detail


async def test_a_large_body_behind_a_small_head_is_no_large_head(upstream, transport, ask):
    body = b"x" * 100_000
    server, client = (
        await upstream(sending(HEAD + b"content-length: 100000\r\n\r\n" + body)),
        transport(max_head_bytes=2048),
    )
    assert await (await ask(client, server.origin)).read() == body


async def test_interim_answers_without_end_are_refused(upstream, transport, ask):
    async def script(peer):
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 10)

    server, client = await upstream(script), transport()
    with pytest.raises(UpstreamError) as caught:
        await ask(client, server.origin)
    assert "the head is too large" in caught.value.detail


@pytest.mark.parametrize("start", [b"0\r\nx-trailer: ", b"5;"])
async def test_trailers_and_chunk_extensions_without_end_are_refused(upstream, transport, ask, start):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n", start)
        while True:
            await peer.send(b"x" * 5000)

    server, client = await upstream(script), transport()
    with pytest.raises(UpstreamError) as caught:
        await (await ask(client, server.origin)).read()
    assert "trailers or chunk extensions are too large" in caught.value.detail


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "without an answer"),
        ((b"HTTP/1.1 200",), "within its answer's head"),
        ((HEAD + b"content-length: 5\r\n\r\nhel",), "cut short"),
        ((HEAD + b"content-length: 5\r\n\r\n", b"hel"), "cut short"),
        ((HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",), "cut short"),
        ((HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",), "cut short"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error_saying_where(upstream, transport, ask, parts, message, then):
    server, client = await upstream(sending(*parts, b"", then=then)), transport()
    with pytest.raises(UpstreamError, match=message) as caught:
        await (await ask(client, server.origin)).read()
    assert (caught.value.status, caught.value.sent) == (502, True)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_reset_is_no_proper_end_of_a_body_without_length(upstream, transport, ask):
    server, client = await upstream(sending(HEAD + b"\r\nhel", b"lo", then="reset")), transport()
    response = await ask(client, server.origin)
    with pytest.raises(UpstreamError, match="cut short"):
        await response.read()


async def test_what_arrived_before_the_break_can_be_read_first(upstream, transport, ask):
    server, client = await upstream(sending(HEAD + b"content-length: 9\r\n\r\n", b"one", b"two")), transport()
    response = await ask(client, server.origin)
    seen = b""
    with pytest.raises(UpstreamError):
        async for chunk in response:
            seen += chunk
    assert seen == b"onetwo"


@pytest.mark.parametrize("framing", ["content-length: 3000\r\n\r\n", "\r\n"])
async def test_a_body_over_the_readers_limit_is_refused_and_its_connection_closed(upstream, transport, ask, framing):
    server, client = await upstream(sending((HEAD.decode() + framing).encode() + b"x" * 3000, then="wait")), transport()
    response = await ask(client, server.origin)
    with pytest.raises(UpstreamError, match="too large"):
        await response.read(2999)
    if framing == "\r\n":
        await server.peers[0].gone.wait()


async def test_an_announced_length_over_the_limit_is_refused_before_it_comes(upstream, transport, ask):
    server, client = await upstream(sending(HEAD + b"content-length: 3000\r\n\r\n", then="wait")), transport()
    response = await ask(client, server.origin)
    assert response.content_length == 3000
    with pytest.raises(UpstreamError, match="too large"):
        await response.read(2999)
    await server.peers[0].gone.wait()


async def test_a_body_of_exactly_the_limit_is_read(upstream, transport, ask):
    server, client = (
        await upstream(sending(HEAD + b"content-length: 3000\r\n\r\n" + b"x" * 2000, b"x" * 1000)),
        transport(),
    )
    assert len(await (await ask(client, server.origin)).read(3000)) == 3000
