"""Answers to authorization requests that come back by the gateway, under its name."""

import base64
import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from agentgateway_mcp_oauth.authorization import challenge
from agentgateway_mcp_oauth.brokering import acceptable, basic_name, same_address
from agentgateway_mcp_oauth.forwarding import FORM
from pydantic import ValidationError

from agentgateway.testing import http, run_phase

SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
HOME = "https://tools.example.com"
DOCUMENT = f"{SERVER}/mcp"
BACK = "http://127.0.0.1:7000/callback"


@pytest.fixture
def broker(protect, idp):
    """A policy in front of Keycloak, which puts its own name into its answers."""

    async def build(kind: str = "keycloak"):
        idp.path = "/realms/x"
        idp.documents = (idp.path + OPENID,)
        about = {"resource": f"{HOME}/mcp"}
        return await protect(issuer=idp.issuer, provider={kind: {}}, resourceMetadata=about, brokersAnswers=True)

    return build


async def ask(policy, method: str, target: str, body: bytes = b"", **headers: str):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await run_phase(policy, "accept", http(method, target, headers=fields, body=body))


async def registered(policy, *uris: str):
    body = json.dumps({"client_name": "Editor", "redirect_uris": list(uris or (BACK,))}).encode()
    return await ask(policy, "POST", f"{DOCUMENT}/client-registration", body)


async def authorize(policy, **changes: str | None):
    asked = {
        "client_id": "made-up",
        "redirect_uri": BACK,
        "state": "the-clients",
        "code_challenge": challenge("verifier"),
        "code_challenge_method": "S256",
        "response_type": "code",
        **changes,
    }
    kept = {name: value for name, value in asked.items() if value is not None}
    return await ask(policy, "GET", f"{DOCUMENT}/authorize?{urlencode(kept)}")


async def answer(policy, idp, begun) -> str:
    """The provider's answer: where the browser is sent."""
    query = dict(parse_qsl(urlsplit(begun.headers.get("location")).query))
    head = idp.authorize(query).decode().partition("\r\n\r\n")[0]
    return next(line for line in head.splitlines() if line.startswith("location: ")).removeprefix("location: ")


async def exchange(policy, authorization: str = "", **form: str):
    fields = {"grant_type": "authorization_code", "client_id": "made-up", "code_verifier": "verifier", **form}
    body = urlencode({name: value for name, value in fields.items() if value}).encode()
    headers = {"content_type": FORM} | ({"authorization": authorization} if authorization else {})
    return await ask(policy, "POST", f"{DOCUMENT}/token", body, **headers)


def query(reply) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(reply.headers.get("location")).query))


def local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


async def test_a_client_gets_the_answer_under_the_gateways_name(broker, idp):
    policy = await broker()
    described = json.loads((await ask(policy, "GET", DOCUMENT)).body)
    assert described["issuer"] == f"{HOME}/mcp"
    assert "client_id_metadata_document_supported" not in described
    assert described["authorization_response_iss_parameter_supported"] is True
    assert described["token_endpoint"] == f"{HOME}{DOCUMENT}/token"
    given = await registered(policy)
    assert (given.status, json.loads(given.body)["redirect_uris"]) == (201, [BACK])
    (ours,) = idp.asked[-1].json()["redirect_uris"]
    assert ours.startswith(f"{HOME}{DOCUMENT}/callback-")
    begun = await authorize(policy, resource=f"{HOME}/mcp")
    assert begun.headers.get("location").startswith(f"{idp.url}/authorize?")
    assert (query(begun)["redirect_uri"], query(begun)["resource"]) == (ours, f"{HOME}/mcp")
    assert query(begun)["state"] != "the-clients"
    back = await answer(policy, idp, begun)
    assert back.startswith(ours) and dict(parse_qsl(urlsplit(back).query))["iss"] == idp.issuer
    done = await ask(policy, "GET", local(back))
    assert (done.status, done.headers.get("location").partition("?")[0]) == (302, BACK)
    assert query(done) == {"code": "code-0", "state": "the-clients", "iss": f"{HOME}/mcp"}
    tokens = await exchange(policy, code="code-0", redirect_uri=BACK)
    assert (tokens.status, "access_token" in json.loads(tokens.body)) == (200, True)
    assert dict(parse_qsl(idp.asked[-1].body.decode()))["redirect_uri"] == ours


async def test_what_the_user_refused_is_told_to_the_client(broker, idp):
    policy = await broker()
    await registered(policy)
    begun = query(await authorize(policy, state=None))
    told = urlencode({"error": "access_denied", "state": begun["state"], "iss": idp.issuer, "more": "x"})
    done = await ask(policy, "GET", f"{urlsplit(begun['redirect_uri']).path}?{told}")
    assert query(done) == {"error": "access_denied", "iss": f"{HOME}/mcp"}


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example.com/callback"},
        {"redirect_uri": BACK + "/deeper"},
        {"redirect_uri": BACK + "?x=1"},
        {"redirect_uri": None},
        {"client_id": "another"},
        {"client_id": None},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"response_type": "token"},
        {"response_mode": "fragment"},
        {"request_uri": "urn:x"},
    ],
)
async def test_nobody_is_sent_on_for_a_client_that_is_not_known_or_to_where_it_is_not(broker, changes):
    policy = await broker()
    await registered(policy)
    refused = await authorize(policy, **changes)
    assert (refused.status, refused.headers.get("location")) == (400, None)


async def test_a_parameter_that_is_there_twice_is_refused(broker):
    policy = await broker()
    await registered(policy)
    asked = f"{DOCUMENT}/authorize?client_id=made-up&client_id=x&redirect_uri={BACK}"
    assert (await ask(policy, "GET", asked)).status == 400


@pytest.mark.parametrize(
    ("iss", "promised"),
    [("https://evil.example.com", True), ("https://evil.example.com", None), (None, True), ("slash", True)],
)
async def test_the_answer_of_another_authorization_server_goes_no_further(broker, idp, iss, promised):
    policy = await broker()
    idp.changes = {"authorization_response_iss_parameter_supported": promised}
    await registered(policy)
    begun = query(await authorize(policy))
    told = {"code": "c", "state": begun["state"], "iss": idp.issuer + "/" if iss == "slash" else iss}
    place = urlsplit(begun["redirect_uri"]).path
    refused = await ask(policy, "GET", f"{place}?{urlencode({name: one for name, one in told.items() if one})}")
    assert (refused.status, refused.headers.get("location")) == (400, None)


async def test_the_answer_to_one_client_cannot_be_had_by_another(broker, idp):
    """Whoever has registered a client of their own cannot have the code that another client's user gets sent."""
    policy = await broker()
    await registered(policy)
    begun = query(await authorize(policy))
    theirs = urlsplit(begun["redirect_uri"]).path.replace("/callback-", "/callback-x")
    told = urlencode({"code": "c", "state": begun["state"], "iss": idp.issuer})
    assert (await ask(policy, "GET", f"{theirs}?{told}")).status == 400
    assert (await ask(policy, "GET", f"{urlsplit(begun['redirect_uri']).path}?code=c&state=made-up")).status == 400


@pytest.mark.parametrize(
    "form",
    [
        {"client_id": "another"},
        {"client_id": ""},
        {"grant_type": "client_credentials"},
        {"redirect_uri": "https://evil.example.com/callback"},
        {"authorization": "Basic " + base64.b64encode(b"another:x").decode()},
    ],
)
async def test_tokens_are_asked_for_by_clients_that_are_known_for_users_who_have_logged_in(broker, idp, form):
    policy = await broker()
    await registered(policy)
    before = len(idp.asked)
    assert (await exchange(policy, **{"code": "c", "redirect_uri": BACK, **form})).status in (400, 401)
    assert len(idp.asked) == before


async def test_a_client_may_show_its_secret_in_a_header(broker, idp):
    policy = await broker()
    await registered(policy)
    back = await answer(policy, idp, await authorize(policy))
    await ask(policy, "GET", local(back))
    basic = "Basic " + base64.b64encode(b"made-up:secret").decode()
    given = await exchange(policy, basic, client_id="", code="code-0", redirect_uri="http://127.0.0.1:9/callback")
    assert given.status == 200
    assert idp.asked[-1].headers["authorization"] == basic


@pytest.mark.parametrize("uris", [[], ["javascript:alert(1)"], ["http://evil.example.com/"], [7], [BACK] * 17])
async def test_a_client_says_where_its_users_come_back_to(broker, idp, uris):
    policy = await broker()
    body = json.dumps({"redirect_uris": uris}).encode()
    assert (await ask(policy, "POST", f"{DOCUMENT}/client-registration", body)).status == 400
    assert [one for one in idp.asked if one.target == "/register"] == []


@pytest.mark.parametrize(
    ("uri", "fine"),
    [
        ("https://app.example.com/cb", True),
        ("http://localhost:1/cb", True),
        ("http://[::1]/cb", True),
        ("cursor://anysphere/cb", True),
        ("com.example.app:/cb", True),
        ("http://app.example.com/cb", False),
        ("https://user@app.example.com/cb", False),
        ("https://app.example.com/cb#x", False),
        ("https:///cb", False),
        ("https://app.example.com\\@evil/", False),
        ("JavaScript:alert(1)", False),
        ("data:text/html,x", False),
        ("/cb", False),
        ("https://app.example.com/\r\nset-cookie: a=b", False),
        (None, False),
    ],
)
def test_users_are_sent_to_https_to_their_own_machine_or_to_apps(uri, fine):
    assert acceptable(uri) is fine


def test_on_ones_own_machine_any_port_will_do():
    assert same_address("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb")
    assert not same_address("http://127.0.0.1:1/cb", "http://localhost:1/cb")
    assert not same_address("http://127.0.0.1:1/cb?x", "http://127.0.0.1:1/cb")
    assert not same_address("https://127.0.0.1:1/cb", "https://127.0.0.1:2/cb")
    assert not same_address("https://app.example.com:1/cb", "https://app.example.com/cb")
    assert not same_address("http://127.0.0.1:port/cb", "http://127.0.0.1:1/cb")


def test_a_name_in_a_header_is_read_as_it_is_meant():
    assert basic_name("Basic " + base64.b64encode(b"a%3Ab:c").decode()) == "a:b"
    assert [basic_name(one) for one in (None, "", "Bearer x", "Basic ?", "Basic \xff")] == [None] * 5


@pytest.mark.parametrize(
    "config",
    [
        {"provider": {"entra": {}}, "resourceMetadata": {"resource": f"{HOME}/mcp"}},
        {"provider": {"keycloak": {}}},
        {"provider": {"keycloak": {}}, "resourceMetadata": {"resource": f"{HOME}/mcp"}, "clientId": "x"},
        {"resourceMetadata": {"resource": f"{HOME}/mcp"}},
    ],
)
async def test_only_registrations_that_are_passed_on_are_brokered(protect, config):
    with pytest.raises(ValidationError):
        await protect(**{"issuer": "https://login.example.com/tenant", **config, "brokersAnswers": True})
