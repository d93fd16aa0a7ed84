"""The policy `backendTunnel`: which proxy, what it is shown, and what stops the start."""

import base64

import pytest
import trustme
from pydantic import TypeAdapter, ValidationError

from agentgateway._host.builtin.backend_tunnel import BackendTunnel
from agentgateway._host.host import parse_origin
from agentgateway.endpoints import TlsSettings
from agentgateway.errors import ConfigError, ConnectFailed
from agentgateway.exchange import Headers, Outgoing
from agentgateway.testing import LoopbackHost, http, run_phase

PROXY = {"host": "proxy.test:3128"}


def built(config):
    return BackendTunnel(TypeAdapter(BackendTunnel.Config).validate_python(config), LoopbackHost())


async def proxy_of(config):
    exchange = http("POST", "/p")
    exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", "/", Headers())
    await run_phase(built(config), "upstream", exchange)
    return exchange.outgoing.proxy


async def test_the_request_goes_through_the_proxy():
    proxy = await proxy_of({"proxy": PROXY})
    assert (proxy.host, proxy.port, proxy.tls, proxy.authorization) == ("proxy.test", 3128, None, None)
    assert (await proxy_of({"proxy": {"host": "[::1]:8080"}, "mode": "connect"})).authority == "[::1]:8080"


async def test_a_key_is_shown_as_a_bearer_token():
    proxy = await proxy_of({"proxy": PROXY, "policies": {"backendAuth": {"key": "canary"}}})
    assert proxy.authorization.reveal() == "Bearer canary"


async def test_a_name_and_a_password_are_shown_as_basic_credentials(tmp_path):
    file = tmp_path / "password"
    file.write_text("cänary:1\n")
    basic = {"username": "gateway", "password": {"file": str(file)}}
    proxy = await proxy_of({"proxy": PROXY, "policies": {"backendAuth": {"basic": basic}}})
    kind, _, pair = proxy.authorization.reveal().partition(" ")
    assert (kind, base64.b64decode(pair).decode()) == ("Basic", "gateway:cänary:1")


async def test_nobody_sees_the_credential():
    for credential in ({"key": "canary"}, {"basic": {"username": "u", "password": "canary"}}):
        config = {"proxy": PROXY, "policies": {"backendAuth": credential}}
        policy, proxy = built(config), await proxy_of(config)
        assert "canary" not in f"{policy.config!r}{policy.config}{proxy!r}{policy.config.model_dump_json()}"
        assert base64.b64encode(b"u:canary").decode() not in f"{proxy!r}"


async def test_the_way_to_the_proxy_may_be_secured(tmp_path):
    root = tmp_path / "root.pem"
    trustme.CA().cert_pem.write_to_path(str(root))
    tls = {"root": str(root), "hostname": "proxy.internal"}
    proxy = await proxy_of({"proxy": PROXY, "policies": {"backendTLS": tls}})
    assert proxy.tls == TlsSettings(root=str(root), hostname="proxy.internal")
    root.write_text("nothing")
    with pytest.raises(ConfigError) as caught:
        built({"proxy": PROXY, "policies": {"backendTLS": tls}})
    assert caught.value.path == "test.policies.backendTLS.root"


def test_a_key_that_no_header_can_carry_stops_the_start():
    with pytest.raises(ConfigError) as caught:
        built({"proxy": PROXY, "policies": {"backendAuth": {"key": "canary\r\nx: y"}}})
    assert caught.value.path == "test.policies.backendAuth.key"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"proxy": {}},
        {"proxy": {"host": "proxy.test"}},
        {"proxy": {"host": "http://proxy.test:80"}},
        {"proxy": PROXY, "mode": "auto"},
        {"proxy": PROXY, "policies": {"backendAuth": {}}},
        {"proxy": PROXY, "policies": {"backendAuth": {"key": ""}}},
        {"proxy": PROXY, "policies": {"backendAuth": {"key": "a", "basic": {"username": "a", "password": "b"}}}},
        {"proxy": PROXY, "policies": {"backendAuth": {"basic": {"username": "a:b", "password": "c"}}}},
        {"proxy": PROXY, "policies": {"retry": {}}},
    ],
)
def test_a_wrong_tunnel_is_refused(config):
    with pytest.raises(ValidationError):
        built(config)


async def test_an_address_and_its_proxy_make_an_origin():
    proxy = await proxy_of({"proxy": PROXY})
    assert parse_origin("https://api.test", None, proxy).proxy == proxy
    with pytest.raises(ConnectFailed):
        parse_origin("unix:/run/app", None, proxy)
