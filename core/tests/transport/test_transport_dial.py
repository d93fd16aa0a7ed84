"""Reaching an upstream: names, addresses, sockets, TLS."""

import asyncio
import socket
import ssl
import threading

import pytest
import trustme

from agentgateway._host import dial
from agentgateway.endpoints import Origin, PoolLimits, TlsSettings
from agentgateway.errors import ConnectFailed, UpstreamError


async def serve(peer):
    while True:
        await peer.request()
        await peer.answer()


@pytest.fixture
def refused():
    """An address where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


def client_files(authority, folder, name):
    certificate = authority.issue_cert(name)
    cert, key = folder / "client.pem", folder / "client.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    return str(cert), str(key)


def secured(server, host="127.0.0.1", **settings):
    return Origin(host, server.origin.port, TlsSettings(**settings))


async def test_a_refused_connection_is_503_without_naming_the_host(transport, ask, refused):
    with pytest.raises(ConnectFailed) as caught:
        await ask(transport(), Origin(*refused))
    error = caught.value
    assert (error.status, error.sent, error.message) == (503, False, "the upstream cannot be reached")
    assert f"127.0.0.1:{refused[1]}" in error.detail


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".example"])
async def test_a_name_that_does_not_resolve_is_503(transport, ask, host):
    with pytest.raises(ConnectFailed) as caught:
        await ask(transport(), Origin(host, 80))
    assert not caught.value.sent
    assert host in caught.value.detail
    assert host not in str(caught.value)


async def test_a_failed_connection_frees_its_place(transport, ask, refused):
    client = transport(max_connections=1)
    for _ in range(3):
        with pytest.raises(ConnectFailed):
            await ask(client, Origin(*refused))


async def test_a_name_is_resolved(upstream, transport, ask):
    server, client = await upstream(serve), transport()
    assert await (await ask(client, Origin("localhost", server.origin.port))).read() == b"ok"


async def test_the_next_address_is_tried_when_one_refuses(upstream, refused):
    server = await upstream(serve)
    addresses = [(socket.AF_INET, refused), (socket.AF_INET, ("127.0.0.1", server.origin.port))]
    with await dial._connect(addresses, PoolLimits()) as sock:
        assert sock.getpeername()[1] == server.origin.port


async def test_the_next_address_is_tried_when_one_is_silent(upstream):
    server = await upstream(serve)
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())  # the backlog is taken: further attempts hang
        addresses = [(socket.AF_INET, full.getsockname()), (socket.AF_INET, ("127.0.0.1", server.origin.port))]
        with await dial._connect(addresses, PoolLimits()) as sock:
            assert sock.getpeername() is not None


async def test_when_every_address_refuses_the_first_error_counts(refused):
    with pytest.raises(ConnectionRefusedError):
        await dial._connect([(socket.AF_INET, refused)] * 3, PoolLimits())


def test_address_families_take_turns():
    six, four = socket.AF_INET6, socket.AF_INET
    found = [(six, "a"), (six, "b"), (six, "c"), (four, "d")]
    assert dial._alternate(found) == [(six, "a"), (four, "d"), (six, "b"), (six, "c")]


async def test_tcp_options_are_set(upstream, transport, ask):
    server = await upstream(serve)
    client = transport(keepalive_time=42, keepalive_interval=7, keepalive_retries=3)
    await ask(client, server.origin)
    (connection,) = client._pools[server.origin]._open
    sock = connection.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [42, 7, 3]


async def test_keepalive_can_be_off(upstream, transport, ask):
    server, client = await upstream(serve), transport(keepalive=False)
    await ask(client, server.origin)
    (connection,) = client._pools[server.origin]._open
    assert not connection.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_unix_socket_is_an_upstream(transport, ask, tmp_path):
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    path = str(tmp_path / "socket")
    server = await asyncio.start_unix_server(handle, path)
    client = transport()
    assert await (await ask(client, Origin("app", 80, unix=path))).read() == b"ok"
    await client.aclose()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.01)


async def test_tls_is_verified_against_the_given_root_and_reused(upstream, transport, ask, authority, root, server_tls):
    server, client = await upstream(serve, ssl=server_tls(authority, "127.0.0.1")), transport()
    origin = secured(server, root=root)
    for _ in range(5):
        assert await (await ask(client, origin, b"x" * 100_000)).read() == b"ok"
    assert server.accepted == 1


async def test_an_unknown_authority_is_refused(upstream, transport, ask, authority, server_tls):
    server, client = await upstream(serve, ssl=server_tls(authority, "127.0.0.1")), transport()
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, secured(server))
    assert not caught.value.sent
    assert "certificate verify failed" in caught.value.detail
    assert client._pools[secured(server)].empty


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({}, False),
        ({"hostname": "upstream.test"}, True),
        ({"insecure_host": True}, True),
        ({"subject_alt_names": ("upstream.test",)}, True),
        ({"subject_alt_names": ("other.test", "upstream.test")}, True),
        ({"subject_alt_names": ("other.test",)}, False),
        ({"hostname": "upstream.test", "subject_alt_names": ("other.test",)}, False),
        ({"hostname": "other.test"}, False),
    ],
)
async def test_who_the_server_must_be(upstream, transport, ask, until, authority, root, server_tls, settings, accepted):
    server, client = await upstream(serve, ssl=server_tls(authority, "upstream.test")), transport()
    origin = secured(server, root=root, **settings)
    if accepted:
        assert (await ask(client, origin)).status == 200
        return
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, origin)
    assert not caught.value.sent
    await until(lambda: client._pools[origin].empty)


async def test_insecure_accepts_anybody(upstream, transport, ask, authority, server_tls):
    server, client = await upstream(serve, ssl=server_tls(authority, "upstream.test")), transport()
    origin = secured(server, insecure=True, subject_alt_names=("other.test",))
    assert (await ask(client, origin)).status == 200


async def test_the_hostname_is_sent_as_sni(upstream, transport, ask, authority, root, server_tls):
    context, asked = server_tls(authority, "upstream.test"), []
    context.sni_callback = lambda connection, name, context: asked.append(name)
    server, client = await upstream(serve, ssl=context), transport()
    await ask(client, secured(server, root=root, hostname="upstream.test"))
    assert asked == ["upstream.test"]


async def test_a_client_certificate_is_shown(upstream, transport, ask, authority, root, server_tls, tmp_path):
    cert, key = client_files(authority, tmp_path, "client.test")
    context = server_tls(authority, "127.0.0.1", client_authority=authority)
    server, client = await upstream(serve, ssl=context), transport()
    assert (await ask(client, secured(server, root=root, cert=cert, key=key))).status == 200
    subject = server.peers[0].writer.get_extra_info("peercert")["subjectAltName"]
    assert subject == (("DNS", "client.test"),)


async def test_without_the_client_certificate_asked_for_the_request_fails(
    upstream, transport, ask, authority, root, server_tls
):
    context = server_tls(authority, "127.0.0.1", client_authority=authority)
    server, client = await upstream(serve, ssl=context), transport()
    with pytest.raises(UpstreamError) as caught:
        await ask(client, secured(server, root=root))
    assert caught.value.status in (502, 503)
    assert server.accepted == 0


async def test_a_server_that_chooses_http2_is_refused(upstream, transport, ask, authority, root, server_tls):
    context = server_tls(authority, "127.0.0.1")
    context.set_alpn_protocols(["h2"])
    server, client = await upstream(serve, ssl=context), transport()
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, secured(server, root=root, alpn=("h2", "http/1.1")))
    assert "h2" in caught.value.detail


async def test_no_alpn_is_fine(upstream, transport, ask, authority, root, server_tls):
    server, client = await upstream(serve, ssl=server_tls(authority, "127.0.0.1")), transport()
    assert (await ask(client, secured(server, root=root, alpn=()))).status == 200


async def test_a_server_that_speaks_no_tls_is_503(upstream, transport, ask):
    async def plain(peer):
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.closed()

    server, client = await upstream(plain), transport()
    with pytest.raises(ConnectFailed) as caught:
        await ask(client, secured(server))
    assert not caught.value.sent


async def test_renewed_files_count_from_the_next_connection_on(
    upstream, transport, ask, authority, root, server_tls, tmp_path
):
    async def one_answer(peer):
        await peer.request()
        await peer.answer(headers="connection: close\r\n")

    server, client = await upstream(one_answer, ssl=server_tls(authority, "127.0.0.1")), transport()
    origin = secured(server, root=root)
    await ask(client, origin)
    context = await client._context(origin.tls)
    assert await client._context(origin.tls) is context
    trustme.CA().cert_pem.write_to_path(root)
    with pytest.raises(ConnectFailed, match="cannot be reached"):
        await ask(client, origin)
    assert await client._context(origin.tls) is not context


async def test_certificates_are_read_in_a_thread_once_for_all_who_wait(
    upstream, transport, ask, authority, root, server_tls
):
    readers: list[int] = []

    class Reading(TlsSettings):
        __slots__ = ()

        def context(self) -> ssl.SSLContext:
            readers.append(threading.get_ident())
            return super().context()

    server, client = await upstream(*[serve] * 4, ssl=server_tls(authority, "127.0.0.1")), transport()
    origin = Origin("127.0.0.1", server.origin.port, Reading(root=root))
    await asyncio.gather(*(ask(client, origin) for _ in range(4)))
    assert len(readers) == 1 and readers[0] != threading.get_ident()


async def test_files_that_cannot_be_used_are_503(transport, ask, tmp_path):
    client = transport()
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("not a certificate")
    for settings in (TlsSettings(root=str(wrong)), TlsSettings(cert="/missing")):
        with pytest.raises(ConnectFailed) as caught:
            await ask(client, Origin("127.0.0.1", 1, settings))
        assert "TLS settings" in caught.value.detail


async def test_a_large_tls_body_is_paused_and_resumed(upstream, transport, ask, authority, root, server_tls, settled):
    total = 16 * 1024 * 1024

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            await peer.send(b"x" * 65536)
        await peer.closed()

    server, client = await upstream(script, ssl=server_tls(authority, "127.0.0.1")), transport()
    response = await ask(client, secured(server, root=root))
    assert await settled(lambda: response._unread) < total // 4
    assert len(await response.read()) == total


async def test_leaving_a_tls_body_closes_it_at_once(upstream, transport, ask, authority, root, server_tls):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await peer.closed()

    server, client = await upstream(script, ssl=server_tls(authority, "127.0.0.1")), transport()
    await (await ask(client, secured(server, root=root))).aclose()
    await server.peers[0].gone.wait()
