"""Upstreams behind an HTTP proxy: the tunnel, what travels in it, and proxies that misbehave."""

import asyncio
import socket
from contextlib import suppress

import pytest

from agentgateway.endpoints import Origin, Proxy, TlsSettings
from agentgateway.errors import ConnectFailed, UpstreamTimeout
from agentgateway.files import Secret

OPENED = b"HTTP/1.1 200 Connection established\r\nvia: 1.1 proxy\r\n\r\n"


async def serve(peer):
    while True:
        await peer.answer(await peer.request())


class ForwardProxy:
    """Opens tunnels and keeps the heads of those who asked."""

    def __init__(self):
        self.asked = []

    async def __call__(self, peer):
        head = await peer.head()
        self.asked.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            await peer.send(OPENED)
            await asyncio.gather(passing(peer.reader, writer), passing(reader, peer.writer))
        finally:
            writer.close()


async def passing(reader, writer):
    with suppress(OSError, RuntimeError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def answering(*parts):
    async def script(peer):
        await peer.head()
        await peer.send(*parts)
        await peer.closed()

    return script


def through(proxy, server, *, tls=None, proxy_tls=None, authorization=None):
    return Origin(
        "127.0.0.1", server.origin.port, tls, proxy=Proxy("127.0.0.1", proxy.origin.port, proxy_tls, authorization)
    )


@pytest.mark.parametrize("secure_proxy", [False, True])
@pytest.mark.parametrize("secure", [False, True])
async def test_requests_travel_through_the_tunnel(
    upstream, transport, ask, authority, root, server_tls, secure, secure_proxy
):
    def options(wanted):
        return {"ssl": server_tls(authority, "127.0.0.1")} if wanted else {}

    connects = ForwardProxy()
    proxy, server = await upstream(connects, **options(secure_proxy)), await upstream(serve, **options(secure))
    tls, client = TlsSettings(root=root), transport()
    origin = through(proxy, server, tls=tls if secure else None, proxy_tls=tls if secure_proxy else None)
    for _ in range(3):
        body = await (await ask(client, origin, b"x" * 300_000)).read()
        assert body.endswith(b"x" * 300_000)
        assert b"proxy" not in body.lower()
    target = b"127.0.0.1:%d" % server.origin.port
    assert connects.asked == [b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n\r\n" % (target, target)]
    assert (proxy.accepted, server.accepted) == (1, 1)


async def test_the_origin_behind_the_tunnel_is_verified_by_its_own_name(
    upstream, transport, ask, authority, root, server_tls
):
    connects = ForwardProxy()
    proxy, server = await upstream(connects), await upstream(serve, ssl=server_tls(authority, "other.test"))
    client = transport()
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, through(proxy, server, tls=TlsSettings(root=root)))
    assert "certificate verify failed" in caught.value.detail
    assert (await ask(client, through(proxy, server, tls=TlsSettings(root=root, hostname="other.test")))).status == 200


async def test_a_proxy_that_is_not_who_it_should_be_learns_nothing(
    upstream, transport, ask, authority, root, server_tls
):
    connects = ForwardProxy()
    proxy, server = await upstream(connects, ssl=server_tls(authority, "other.test")), await upstream(serve)
    tls = TlsSettings(root=root)
    with pytest.raises(ConnectFailed):
        await ask(transport(), through(proxy, server, proxy_tls=tls, authorization=Secret("Basic canary")))
    wanted = TlsSettings(root=root, subject_alt_names=("third.test",))
    with pytest.raises(ConnectFailed, match="cannot be reached") as caught:
        await ask(transport(), through(proxy, server, proxy_tls=wanted, authorization=Secret("Basic canary")))
    assert "alternative names" in caught.value.detail
    assert connects.asked == []


async def test_names_are_for_the_proxy_to_resolve(upstream, transport, ask):
    proxy = await upstream(answering(b"HTTP/1.1 502 no such host\r\n\r\n"))
    origin = Origin("no-such-host.invalid", 443, proxy=Proxy("127.0.0.1", proxy.origin.port))
    with pytest.raises(ConnectFailed) as caught:
        await ask(transport(), origin)
    assert "CONNECT was answered 502" in caught.value.detail
    assert "invalid" not in str(caught.value)


async def test_the_proxys_credential_is_shown_to_the_proxy_alone(upstream, transport, ask):
    connects = ForwardProxy()
    proxy, server = await upstream(connects), await upstream(serve)
    origin = through(proxy, server, authorization=Secret("Basic canary"))
    body = await (await ask(transport(), origin)).read()
    assert b"\r\nproxy-authorization: Basic canary\r\n" in connects.asked[0]
    assert b"canary" not in body
    assert "canary" not in repr(origin)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\n",), "answered 407"),
        ((b"HTTP/1.1 101 Switching\r\n\r\n",), "answered 101"),
        ((b"HTTP/1.1 3\r\n\r\n",), "does not speak HTTP/1"),
        ((b"HTTP/2 200\r\n\r\n",), "does not speak HTTP/1"),
        ((b"SSH-2.0-x\r\n\r\n",), "does not speak HTTP/1"),
        ((b"HTTP/1.1 2000 OK\r\n\r\n",), "does not speak HTTP/1"),
        ((OPENED + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",), "more than its answer"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40000,), "too large"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40000 + b"\r\n\r\n",), "too large"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_503(upstream, transport, ask, until, answer, reason):
    proxy, server, client = await upstream(answering(*answer)), await upstream(serve), transport()
    origin = through(proxy, server, authorization=Secret("Basic canary"))
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, origin)
    assert reason in caught.value.detail
    assert f"proxy 127.0.0.1:{proxy.origin.port}" in caught.value.detail
    assert "canary" not in f"{caught.value}{caught.value.detail}"
    assert not caught.value.sent
    await until(lambda: client._pools[origin].empty)
    await proxy.peers[0].gone.wait()
    assert server.accepted == 0


async def test_an_answer_in_pieces_is_read_to_its_end(upstream, transport, ask):
    async def slow(peer):
        await peer.head()
        await peer.send(*(OPENED[index : index + 1] for index in range(len(OPENED))))
        await serve(peer)

    proxy, server = await upstream(slow), await upstream(serve)
    assert (await ask(transport(), through(proxy, server))).status == 200


@pytest.mark.parametrize("reset", [False, True])
async def test_a_proxy_that_leaves_is_503(upstream, transport, ask, reset):
    async def leaves(peer):
        await peer.head()
        if reset:
            peer.reset()

    proxy, server = await upstream(leaves), await upstream(serve)
    with pytest.raises(ConnectFailed) as caught:
        await ask(transport(), through(proxy, server))
    assert not caught.value.sent


async def test_a_proxy_nobody_runs_is_503(upstream, transport, ask):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        origin = Origin("127.0.0.1", 80, proxy=Proxy(*sock.getsockname()))
        with pytest.raises(ConnectFailed):
            await ask(transport(), origin)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200"])
async def test_a_proxy_that_does_not_answer_is_a_connect_timeout(upstream, transport, ask, until, part):
    proxy, server, client = await upstream(answering(part)), await upstream(serve), transport(connect_timeout=0.1)
    origin = through(proxy, server)
    with pytest.raises(UpstreamTimeout) as caught:
        await ask(client, origin)
    assert not caught.value.sent
    await until(lambda: client._pools[origin].empty and proxy.accepted == 1)
    await proxy.peers[0].gone.wait()


async def test_a_caller_that_leaves_while_the_tunnel_opens_leaves_nothing_behind(upstream, transport, ask, until):
    proxy, server, client = await upstream(answering(b"")), await upstream(serve), transport()
    origin = through(proxy, server)
    asking = asyncio.create_task(ask(client, origin))
    await until(lambda: proxy.accepted == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await proxy.peers[0].gone.wait()
    await until(lambda: client._pools[origin].empty)


async def test_each_proxy_and_credential_has_a_pool_of_its_own(upstream, transport, ask):
    connects = ForwardProxy()
    proxy, server, client = await upstream(connects), await upstream(serve), transport()
    for credential in ("Basic one", "Basic two", "Basic one"):
        await ask(client, through(proxy, server, authorization=Secret(credential)))
    await ask(client, server.origin)
    assert len(connects.asked) == 2
    assert server.accepted == 3


async def test_an_ipv6_host_is_asked_for_in_brackets(upstream, transport, ask):
    connects = []

    async def refuses(peer):
        connects.append(await peer.head())
        await peer.answer(status="403 Forbidden")

    proxy = await upstream(refuses)
    with pytest.raises(ConnectFailed):
        await ask(transport(), Origin("::1", 443, TlsSettings(), proxy=Proxy("127.0.0.1", proxy.origin.port)))
    assert connects[0].startswith(b"CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n")
