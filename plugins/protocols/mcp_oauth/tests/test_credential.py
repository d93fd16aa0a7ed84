"""Tokens that the gateway gets for its upstreams."""

import asyncio
import base64
import json
import logging
import math
from urllib.parse import parse_qsl

import pytest
from agentgateway_mcp_oauth import credential as module
from pydantic import ValidationError

from agentgateway.errors import GatewayError, InternalError
from agentgateway.exchange import Headers, Outgoing, Principal
from agentgateway.settings import Secret
from agentgateway.testing import CredentialContract, http, make
from agentgateway.testing.contracts import CANARY
from agentgateway.testing.upstreams import reply

from .provider import SECRET

SERVER = "/.well-known/oauth-authorization-server"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class TestContract(CredentialContract):
    name = "mcpOAuth"
    config = {"issuer": "https://login.example.com", "clientId": "gateway", "clientSecret": CANARY}


@pytest.fixture
async def credential(idp, host):
    """A started credential of a client that the provider knows."""
    started = []

    async def build(**config):
        written = {"issuer": idp.issuer, "clientId": "gate:way", "clientSecret": SECRET, **config}
        made = make("agentgateway.credentials", "mcpOAuth", written, host)
        started.append(made)
        await made.start()
        return made

    yield build
    for made in started:
        await made.stop()


async def shown(credential, *, url: str = "https://tools.example.com", path: str = "/mcp?x=1", caller: str = ""):
    """What the upstream is shown."""
    exchange = http("POST", path)
    if caller:
        exchange.establish(Principal("jwt", "ada", {}, None, Secret(caller)))
    exchange.outgoing = Outgoing("POST", url, path, Headers([(b"authorization", b"Bearer the-clients")]))
    await credential.apply(exchange)
    return exchange.outgoing.headers.all("authorization")


def forms(idp) -> list[dict[str, str]]:
    return [dict(parse_qsl(one.body.decode())) for one in idp.asked if one.target == "/token"]


async def test_the_gateway_logs_in_and_shows_its_token_in_place_of_the_clients(credential, idp):
    assert await shown(await credential(scopes=["read", "call"])) == ["Bearer given-2"]
    assert idp.paths() == [SERVER, "/token"]
    assert forms(idp) == [
        {"grant_type": "client_credentials", "scope": "read call", "resource": "https://tools.example.com"}
    ]
    basic = idp.asked[-1].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic).decode() == f"gate%3Away:{SECRET}"  # RFC 6749 section 2.3.1


async def test_the_secret_may_stand_in_the_form(credential, idp):
    await shown(await credential(clientAuth="post", resource="https://tools.example.com/mcp"))
    (form,) = forms(idp)
    assert (form["client_id"], form["client_secret"]) == ("gate:way", SECRET)
    assert form["resource"] == "https://tools.example.com/mcp"
    assert "authorization" not in idp.asked[-1].headers


async def test_an_audience_stands_in_for_the_resource(credential, idp):
    await shown(await credential(audience="api://tools"))
    assert forms(idp) == [{"grant_type": "client_credentials", "audience": "api://tools"}]


async def test_a_token_is_fetched_once_for_all_who_wait_and_kept(credential, idp):
    made = await credential()
    got = await asyncio.gather(*(shown(made, path=f"/mcp/{number}") for number in range(20)))
    assert {one for (one,) in got} == {"Bearer given-2"}
    assert len(forms(idp)) == 1


async def test_each_upstream_has_a_token_of_its_own(credential, idp):
    made = await credential()
    first, second = await shown(made), await shown(made, url="https://other.example.com")
    assert first != second
    assert [form["resource"] for form in forms(idp)] == ["https://tools.example.com", "https://other.example.com"]


async def test_the_callers_token_is_exchanged_for_each_caller(credential, idp):
    made = await credential(grant="tokenExchange")
    ada, eve = await shown(made, caller="token-of-ada"), await shown(made, caller="token-of-eve")
    assert ada != eve
    assert await shown(made, caller="token-of-ada") == ada
    assert [(form["grant_type"], form["subject_token"]) for form in forms(idp)] == [
        (EXCHANGE, "token-of-ada"),
        (EXCHANGE, "token-of-eve"),
    ]


async def test_nobodys_token_is_not_exchanged(credential, idp):
    with pytest.raises(InternalError):
        await shown(await credential(grant="tokenExchange"))
    assert idp.asked == []


async def test_only_so_many_tokens_are_kept(credential, idp, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    made = await credential(grant="tokenExchange")
    for caller in ("a", "b", "a", "c", "a", "b"):
        await shown(made, caller=caller)
    assert [form["subject_token"] for form in forms(idp)] == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("said", "fetched"),
    [
        (3600, 1),
        ("3600", 1),
        (None, 1),
        ("soon", 1),
        (float("nan"), 1),
        (True, 1),
        (1e300, 1),
        (float("inf"), 1),
        (0, 2),
        (-5, 2),
        (20, 2),
    ],
)
async def test_a_token_is_kept_for_as_long_as_it_lives(credential, idp, said, fetched):
    made = await credential()
    await made._discovery.metadata()
    document = {"access_token": "t", "token_type": "bearer", "expires_in": said}
    idp.scripted = reply(200, json.dumps(document).encode())
    assert [await shown(made), await shown(made)] == [["Bearer t"], ["Bearer t"]]
    assert len(forms(idp)) == fetched
    assert all(math.isfinite(fresh._token.ends) for fresh in made._fresh.values())


@pytest.mark.parametrize(
    "answer",
    [
        reply(401, {"error": "invalid_client"}),
        reply(200, {"token_type": "Bearer"}),
        reply(200, {"access_token": "t", "token_type": "mac"}),
        reply(200, {"access_token": "", "token_type": "Bearer"}),
        reply(200, b"<html>"),
        reply(302, {}, headers={"location": "http://127.0.0.1:1/"}),
    ],
    ids=["refused", "none", "mac", "empty", "html", "redirect"],
)
async def test_without_a_token_nothing_is_sent(credential, idp, answer, caplog):
    caplog.set_level(logging.DEBUG)
    made = await credential()
    await made._discovery.metadata()
    idp.scripted = answer
    with pytest.raises(GatewayError) as caught:
        await shown(made)
    assert caught.value.status == 502
    said = [f"{caught.value!r} {caught.value.detail}", *(record.getMessage() for record in caplog.records)]
    assert not [text for text in said if SECRET in text or base64.b64encode(SECRET.encode()).decode() in text]
    idp.scripted = None
    assert (await shown(made))[0].startswith("Bearer given-")


@pytest.mark.parametrize("endpoint", ["http://login.example.com/token", "ftp://127.0.0.1/", "/token", "https://a@b/"])
async def test_the_secret_goes_nowhere_that_is_not_https(credential, idp, endpoint):
    idp.changes = {"token_endpoint": endpoint}
    with pytest.raises(GatewayError) as caught:
        await shown(await credential())
    assert "not https" in caught.value.detail
    assert forms(idp) == []


async def test_the_secret_goes_to_no_other_issuer(credential, idp):
    idp.changes = {"issuer": "https://evil.example.com"}
    with pytest.raises(GatewayError):
        await shown(await credential())
    assert forms(idp) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://login.example.com"},
        {"clientSecret": ""},
        {"clientId": ""},
        {"grant": "password"},
        {"resource": "tools"},
        {"resource": "https://a/#b"},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_when_the_file_is_read(wrong):
    given = {"issuer": "https://login.example.com", "clientId": "gateway", "clientSecret": SECRET, **wrong}
    with pytest.raises(ValidationError) as caught:
        make("agentgateway.credentials", "mcpOAuth", given)
    assert SECRET not in str(caught.value)
