"""The policy `backendTLS`: settings of a connection, and files that stop the start."""

import pytest
import trustme
from pydantic import TypeAdapter

from agentgateway._host.builtin.backend_tls import BackendTls
from agentgateway.endpoints import TlsSettings
from agentgateway.errors import ConfigError
from agentgateway.exchange import Headers, Outgoing
from agentgateway.testing import LoopbackHost, http, run_phase


@pytest.fixture
def files(tmp_path):
    authority = trustme.CA()
    made = authority.issue_cert("client.test")
    authority.cert_pem.write_to_path(str(tmp_path / "root.pem"))
    made.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    trustme.CA().issue_cert("other.test").private_key_pem.write_to_path(str(tmp_path / "other.key"))
    (tmp_path / "nothing.pem").write_text("canary")
    return lambda name: str(tmp_path / name)


def built(config):
    return BackendTls(TypeAdapter(BackendTls.Config).validate_python(config), LoopbackHost())


async def test_the_request_goes_over_tls_as_configured(files):
    config = {
        "root": files("root.pem"),
        "cert": files("client.pem"),
        "key": files("client.key"),
        "hostname": "api.test",
        "insecureHost": True,
        "alpn": [],
        "subjectAltNames": ["a.test"],
    }
    exchange = http("POST", "/p")
    exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", "/", Headers())
    await run_phase(built(config), "upstream", exchange)
    assert exchange.outgoing.tls == TlsSettings(
        cert=files("client.pem"),
        key=files("client.key"),
        root=files("root.pem"),
        hostname="api.test",
        insecure_host=True,
        alpn=(),
        subject_alt_names=("a.test",),
    )


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"root": "nothing.pem"}, "test.root"),
        ({"root": "client.key"}, "test.root"),
        ({"cert": "nothing.pem", "key": "client.key"}, "test.cert"),
        ({"cert": "client.pem", "key": "other.key"}, "test.cert"),
        ({"cert": "client.pem"}, "test.cert"),
        ({"key": "client.key"}, "test.key"),
        ({"root": "root.pem", "cert": "nothing.pem"}, "test.cert"),
    ],
)
def test_files_that_no_connection_could_use_stop_the_start(files, config, path):
    with pytest.raises(ConfigError) as caught:
        built({key: files(name) for key, name in config.items()})
    assert caught.value.path == path
    assert "canary" not in str(caught.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(files):
    from cryptography.hazmat.primitives import serialization

    with open(files("client.key"), "rb") as file:
        key = serialization.load_pem_private_key(file.read(), None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    locked = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"word"))
    with open(files("client.key"), "wb") as file:
        file.write(locked)
    with pytest.raises(ConfigError) as caught:
        built({"cert": files("client.pem"), "key": files("client.key")})
    assert caught.value.path == "test.cert"
