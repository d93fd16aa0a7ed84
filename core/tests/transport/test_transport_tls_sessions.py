"""TLS sessions of earlier connections, resumed: when, for whom, and what is still checked."""

import ssl

import pytest
import trustme

from agentgateway.endpoints import Origin, TlsSettings
from agentgateway.errors import ConnectFailed


async def one_answer(peer):
    await peer.request()
    await peer.answer(headers="connection: close\r\n")


async def serve(peer):
    while True:
        await peer.request()
        await peer.answer()


def secured(server, **settings):
    return Origin("127.0.0.1", server.origin.port, TlsSettings(**settings))


def resumed(server):
    """Of each connection the server accepted, whether its session was an earlier one's."""
    return [peer.writer.get_extra_info("ssl_object").session_reused for peer in server.peers]


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_next_connection_resumes_the_session(upstream, transport, ask, authority, root, server_tls, version):
    context = server_tls(authority, "127.0.0.1")
    context.maximum_version = version
    server, client = await upstream(serve, ssl=context), transport()
    for _ in range(3):
        assert await (await ask(client, secured(server, root=root))).read() == b"ok"
        client._pools[secured(server, root=root)].take().close()
    assert resumed(server) == [False, True, True]


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_connections_that_proved_good_leave_a_session(
    upstream, transport, ask, authority, root, server_tls, version
):
    context = server_tls(authority, "127.0.0.1")
    context.maximum_version = version
    server, client = await upstream(one_answer, one_answer, serve, ssl=context), transport()
    for _ in range(4):
        assert (await ask(client, secured(server, root=root))).status == 200
    assert resumed(server) == [False, False, False]
    client._pools[secured(server, root=root)].take().close()
    assert (await ask(client, secured(server, root=root))).status == 200
    assert resumed(server) == [False, False, False, True]


async def test_other_settings_share_no_session(upstream, transport, ask, authority, root, server_tls):
    server, client = await upstream(serve, ssl=server_tls(authority, "127.0.0.1")), transport()
    for settings in ({}, {"insecure_host": True}, {"insecure": True}, {"alpn": ()}):
        assert (await ask(client, secured(server, root=root, **settings))).status == 200
    assert resumed(server) == [False] * 4


async def test_renewed_certificates_start_without_sessions(upstream, transport, ask, authority, root, server_tls):
    server, client = await upstream(serve, ssl=server_tls(authority, "127.0.0.1")), transport()
    origin = secured(server, root=root)
    await ask(client, origin)
    trustme.CA().cert_pem.write_to_path(root)
    client._pools[origin].take().close()
    with pytest.raises(ConnectFailed):  # resuming would have skipped the new authority
        await ask(client, origin)


async def test_the_certificate_of_a_resumed_session_is_still_checked(
    upstream, transport, ask, authority, root, server_tls
):
    server, client = await upstream(serve, ssl=server_tls(authority, "upstream.test")), transport()
    origin = secured(server, root=root, subject_alt_names=("upstream.test",))
    for _ in range(2):
        assert (await ask(client, origin)).status == 200
        client._pools[origin].take().close()
    assert resumed(server) == [False, True]


async def test_a_server_that_has_forgotten_the_session_is_verified_anew(
    upstream, transport, ask, authority, root, server_tls
):
    contexts = [server_tls(authority, "localhost") for _ in range(2)]
    servers = [await upstream(serve, ssl=context) for context in contexts]
    client = transport()
    for server in servers:  # one name, two servers, each with ticket keys of its own
        origin = Origin("127.0.0.1", server.origin.port, TlsSettings(root=root, hostname="localhost"))
        assert (await ask(client, origin)).status == 200
    assert [resumed(server) for server in servers] == [[False], [False]]
