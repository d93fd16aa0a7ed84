"""TLS with clients: names, certificates that change, client certificates."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentgateway._host import downstream_tls
from agentgateway._host.config import DownstreamTls
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange, Reply

AUTHORITY = trustme.CA()
CLIENTS = trustme.CA(organization_name="Clients")


def write(folder: Path, name: str, *hosts: str) -> DownstreamTls:
    """A server certificate, written to files."""
    issued = AUTHORITY.issue_cert(*hosts)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return DownstreamTls(cert=str(cert), key=str(key))


def spoil(path: str) -> None:
    Path(path).write_text("canary-secret")


def mutual(folder: Path, tls: DownstreamTls) -> DownstreamTls:
    root = folder / "clients.pem"
    root.write_bytes(CLIENTS.cert_pem.bytes())
    return tls.model_copy(update={"root": str(root)})


def trusting(certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


def client_certificate() -> trustme.LeafCert:
    """What trustme cannot make: a name by URI."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(CLIENTS.cert_pem.bytes())
    signer = serialization.load_pem_private_key(CLIENTS.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, "client")]
    )
    uri = x509.UniformResourceIdentifier("spiffe://trust.test/ns/one/sa/two")
    made = (
        x509.CertificateBuilder(issuer.subject, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("client.test"), uri]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return trustme.LeafCert(pem, made.public_bytes(serialization.Encoding.PEM), [])


async def whoami(exchange: Exchange) -> Reply:
    return Reply.json(200, dict(exchange.source.certificate or {}), [("x-scheme", exchange.request.scheme)])


Asking = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    made: list[httpx.AsyncClient] = []

    def make(context: ssl.SSLContext, *, http2: bool = False) -> httpx.AsyncClient:
        made.append(httpx.AsyncClient(verify=context, http2=http2, http1=not http2))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


@pytest.mark.parametrize("http2", [False, True])
async def test_https_is_served_with_either_protocol(serving, asking, tmp_path, http2):
    running = await serving(whoami, tls={"*": write(tmp_path, "server", "localhost")})
    reply = await asking(trusting(), http2=http2).get(f"https://localhost:{running.port}/")
    assert (reply.http_version, reply.headers["x-scheme"], reply.json()) == (
        "HTTP/2" if http2 else "HTTP/1.1", "https", {},
    )  # fmt: skip


@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_certificate_is_known_to_every_request(serving, asking, tmp_path, http2):
    tls = mutual(tmp_path, write(tmp_path, "server", "localhost"))
    running = await serving(whoami, tls={"*": tls})
    client = asking(trusting(client_certificate()), http2=http2)
    for _ in range(2):
        facts = (await client.get(f"https://localhost:{running.port}/")).json()
        assert facts["subject"] == "O=Test, CN=client" and facts["subjectCn"] == "client"
        assert "O=Clients" in facts["issuer"]
        assert facts["subjectAltNames"] == ["client.test", "spiffe://trust.test/ns/one/sa/two"]
        assert facts["spiffeId"] == "spiffe://trust.test/ns/one/sa/two"
        assert facts["pem"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("certificate", [None, trustme.CA().issue_cert("client.test")])
async def test_without_a_certificate_of_the_right_authority_nobody_gets_in(serving, asking, tmp_path, certificate):
    running = await serving(whoami, tls={"*": mutual(tmp_path, write(tmp_path, "server", "localhost"))})
    with pytest.raises(httpx.TransportError):
        await asking(trusting(certificate)).get(f"https://localhost:{running.port}/")
    assert (await asking(trusting(client_certificate())).get(f"https://localhost:{running.port}/")).status_code == 200


async def served_certificate(port: int, name: str) -> list[str]:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname=name)
    names = [value for _, value in writer.get_extra_info("peercert")["subjectAltName"]]
    writer.close()
    await writer.wait_closed()
    return names


async def test_each_listener_shows_its_own_certificate(serving, tmp_path):
    hosts = {"a.test": write(tmp_path, "a", "a.test"), "*.b.test": write(tmp_path, "b", "*.b.test")}
    running = await serving(whoami, tls=hosts)
    assert await served_certificate(running.port, "a.test") == ["a.test"]
    assert await served_certificate(running.port, "x.b.test") == ["*.b.test"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await served_certificate(running.port, "c.test")


async def ask(port: int, server_name: str, host: str, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name)
    writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    received = await reader.read()
    writer.close()
    return received.partition(b"\r\n")[0]


async def test_a_request_for_a_listener_that_this_connection_was_not_made_with_is_misdirected(serving, tmp_path):
    public, private = write(tmp_path, "a", "a.test"), mutual(tmp_path, write(tmp_path, "b", "b.test"))
    running = await serving(whoami, tls={"a.test": public, "b.test": private})
    assert b"200" in await ask(running.port, "a.test", "a.test", trusting())
    assert b"421" in await ask(running.port, "a.test", "b.test", trusting())  # no certificate was asked for
    assert b"421" in await ask(running.port, "a.test", "b.test", trusting(client_certificate()))
    assert b"200" in await ask(running.port, "b.test", "b.test", trusting(client_certificate()))
    answer = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        answer = await ask(running.port, "b.test", "b.test", trusting())
    assert answer == b""


async def test_certificates_are_read_anew_and_broken_ones_change_nothing(serving, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(downstream_tls, "LOOK_AGAIN", 0.0)
    tls = write(tmp_path, "server", "localhost", "old.test")
    running = await serving(whoami, tls={"*": tls})
    assert "old.test" in await served_certificate(running.port, "localhost")
    write(tmp_path, "server", "localhost", "new.test")
    assert "new.test" in await served_certificate(running.port, "localhost")
    spoil(tls.key)
    assert "new.test" in await served_certificate(running.port, "localhost")
    assert "stay in use" in caplog.text
    write(tmp_path, "server", "localhost", "newer.test")
    assert "newer.test" in await served_certificate(running.port, "localhost")


async def test_an_older_version_than_the_listener_wants_is_refused(serving, tmp_path):
    tls = write(tmp_path, "server", "localhost").model_copy(update={"min_tls_version": "1.3"})
    running = await serving(whoami, tls={"*": tls})
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("localhost", running.port, ssl=context)


@pytest.mark.parametrize("which", ["cert", "key", "root"])
async def test_files_that_cannot_be_used_stop_the_start(serving, tmp_path, which):
    tls = mutual(tmp_path, write(tmp_path, "server", "localhost"))
    path = getattr(tls, which)
    for breaking in (spoil, os.unlink):
        breaking(path)
        with pytest.raises(ConfigError) as raised:
            await serving(whoami, tls={"*": tls})
        assert path in str(raised.value) and "canary" not in str(raised.value)


async def test_listeners_of_one_port_must_trust_the_same_authorities(serving, tmp_path):
    one = mutual(tmp_path, write(tmp_path, "a", "a.test"))
    two = write(tmp_path, "b", "b.test").model_copy(update={"root": str(tmp_path / "a.pem")})
    with pytest.raises(ConfigError, match="agree on `root`"):
        await serving(whoami, tls={"a.test": one, "b.test": two})


async def test_plain_bytes_on_a_tls_port_and_half_handshakes_harm_nobody(serving, asking, connect, tmp_path):
    running = await serving(whoami, tls={"*": write(tmp_path, "server", "localhost")})
    plain = await connect(running)
    await plain.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    silent = await connect(running)
    assert (await asking(trusting()).get(f"https://localhost:{running.port}/")).status_code == 200
    await running.stop()  # the silent one does not delay the drain
    assert await silent.at_end()
