"""The transport under an ordinary `httpx.AsyncClient`."""

import asyncio
import subprocess
import sys

import httpx
import pytest
import trustme

from agentgateway._host.httpx_face import httpx_transport
from agentgateway._host.transport import TlsSettings


async def echo(peer):
    while True:
        head, _, body = (await peer.request()).partition(b"\r\n\r\n")
        await peer.answer(head + b"|" + body)


@pytest.fixture
def client(transport):
    def make(tls=None, timeout=5.0, **limits):
        return httpx.AsyncClient(transport=httpx_transport(transport(**limits), tls), timeout=timeout)

    return make


def url(server, path="/"):
    return f"http://{server.origin.authority}{path}"


async def test_a_buffered_exchange(upstream, client):
    server = await upstream(echo)
    async with client() as http:
        for _ in range(3):
            response = await http.post(url(server, "/a%20b?q=1"), json={"a": 1}, headers={"x-mine": "yes"})
            assert (response.status_code, response.reason_phrase, response.http_version) == (200, "OK", "HTTP/1.1")
            head, _, body = response.text.partition("|")
            assert head.startswith(f"POST /a%20b?q=1 HTTP/1.1\r\nhost: {server.origin.authority}\r\n")
            assert "x-mine: yes" in head
            assert head.endswith("content-length: 7")
            assert body == '{"a":1}'
    assert server.accepted == 1


async def test_a_request_without_body_has_no_length(upstream, client):
    server = await upstream(echo)
    async with client() as http:
        response = await http.get(url(server), headers={"host": "other.example"})
    assert "content-length" not in response.text
    assert "host: other.example" in response.text
    assert "connection" not in response.text


async def test_an_empty_post_has_a_length_of_zero(upstream, client):
    server = await upstream(echo)
    async with client() as http:
        assert "content-length: 0" in (await http.post(url(server))).text


async def test_streams_both_ways(upstream, client):
    async def parts():
        yield b"hello"
        yield b"world"

    server = await upstream(echo)
    async with client() as http:
        async with http.stream("POST", url(server), content=parts()) as response:
            chunks = [chunk async for chunk in response.aiter_raw()]
        assert b"".join(chunks).endswith(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")
        response = await http.post(url(server), content=parts(), headers={"content-length": "10"})
        assert response.text.endswith("|helloworld")
    assert server.accepted == 1


async def test_events_come_one_by_one(upstream, client):
    step = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            await step.wait()
            step.clear()
            await peer.send(b"8\r\ndata: %d\n\r\n" % number)
        await peer.send(b"0\r\n\r\n")

    server = await upstream(script)
    seen = []
    async with client() as http, http.stream("GET", url(server)) as response:
        step.set()
        async for line in response.aiter_lines():
            seen.append(line)
            step.set()
    assert seen == ["data: 0", "data: 1", "data: 2"]


async def test_httpx_decodes_what_the_transport_leaves_encoded(upstream, client):
    import gzip

    async def script(peer):
        await peer.request()
        await peer.answer(gzip.compress(b"hello"), headers="content-encoding: gzip\r\n")

    server = await upstream(script)
    async with client() as http:
        assert (await http.get(url(server))).text == "hello"


async def test_leaving_a_stream_closes_the_upstream(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await peer.closed()

    server = await upstream(script)
    async with client() as http:
        async with http.stream("GET", url(server)) as response:
            assert response.status_code == 200
        await server.peers[0].gone.wait()


def answering(*parts):
    async def script(peer):
        await peer.request()
        await peer.send(*parts)
        if parts[-1:] == (b"",):
            await peer.closed()

    return script


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ((), httpx.RemoteProtocolError),
        ((b"garbage\r\n",), httpx.RemoteProtocolError),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",), httpx.RemoteProtocolError),
        ((b"",), httpx.ReadTimeout),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b""), httpx.ReadTimeout),
    ],
)
async def test_failures_are_httpx_errors(upstream, client, parts, error):
    server = await upstream(answering(*parts))
    async with client(timeout=httpx.Timeout(5, read=0.1)) as http:
        with pytest.raises(error) as caught:
            await http.get(url(server))
    assert caught.value.request.url == url(server)
    assert type(caught.value) is error


async def test_failures_to_connect_are_httpx_errors(upstream, client):
    async def silent(peer):
        await peer.closed()

    server = await upstream(silent)
    async with client(max_connections=1) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("http://127.0.0.1:1/")
        with pytest.raises(httpx.ConnectTimeout):
            await http.get(url(server).replace("http", "https"), timeout=httpx.Timeout(0.1))
        first = asyncio.create_task(http.get(url(server)))
        await asyncio.sleep(0.05)
        with pytest.raises(httpx.PoolTimeout):
            await http.get(url(server), timeout=httpx.Timeout(0.1))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_what_cannot_be_sent_is_an_httpx_error(upstream, client):
    async def short():
        yield b"x"

    server = await upstream(echo)
    async with client() as http:
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("ftp://127.0.0.1/")
        with pytest.raises(httpx.LocalProtocolError):
            await http.get(url(server), headers=[(b"x", b"a\r\nb: c")])
        with pytest.raises(httpx.LocalProtocolError):
            await http.post(url(server), content=short(), headers={"content-length": "10"})
        with pytest.raises(RuntimeError):
            await http.post(url(server), content=iter([b"x"]))


async def test_https_uses_the_given_tls_settings(upstream, client, server_tls, tmp_path):
    authority = trustme.CA()
    root = tmp_path / "root.pem"
    authority.cert_pem.write_to_path(str(root))
    server = await upstream(echo, ssl=server_tls(authority, "localhost"))
    async with client(TlsSettings(root=str(root))) as http:
        response = await http.get(f"https://localhost:{server.origin.port}/")
    assert response.status_code == 200


async def test_closing_the_client_leaves_the_pools_alone(upstream, transport):
    server, shared = await upstream(echo), transport()
    for _ in range(2):
        async with httpx.AsyncClient(transport=httpx_transport(shared)) as http:
            assert (await http.get(url(server))).status_code == 200
    assert server.accepted == 1


def test_importing_the_transport_does_not_import_httpx():
    code = "import sys, agentgateway._host.httpx_face; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
