"""Each kind of identity provider: what clients read, and what the gateway passes on in its place."""

import asyncio
import json
import logging
import re
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from agentgateway_mcp_oauth.adapters import adapter
from agentgateway_mcp_oauth.config import McpAuthenticationConfig
from agentgateway_mcp_oauth.forwarding import AT_ONCE, FORM, Forwarding
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgateway.errors import BodyTooLarge, GatewayError, NotFound
from agentgateway.testing import http, run_phase
from agentgateway.testing.upstreams import reply

from .provider import AUDIENCE, SECRET

SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
HERE = f"http://gateway.test{SERVER}/mcp"
REGISTER, AUTHORIZE, TOKEN = (f"{SERVER}/mcp/{name}" for name in ("client-registration", "authorize", "token"))


@pytest.fixture
def of_kind(protect, idp):
    """A policy for a kind of provider, whose metadata is where that kind has it."""

    async def build(kind: str, **config):
        idp.path = {"entra": "/tenant-1/v2.0", "keycloak": "/realms/x", "okta": "/oauth2/default"}.get(kind, "")
        idp.documents = (SERVER,) if kind == "auth0" else (idp.path + OPENID,)
        return await protect(issuer=idp.issuer, provider={kind: {}}, **config)

    return build


async def ask(policy, method: str, target: str, body: bytes = b"", **headers: str):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await run_phase(policy, "accept", http(method, target, headers=fields, body=body))


async def metadata(policy):
    answered = await ask(policy, "GET", f"{SERVER}/mcp")
    assert answered.status == 200
    return json.loads(answered.body)


async def exchange_code(policy, *, authorization: str | None = None, **form: str):
    fields = {"grant_type": "authorization_code", "client_id": "app-1", "code": "c", "code_verifier": "v", **form}
    body = "&".join(f"{name}={value}" for name, value in fields.items() if value)
    headers = {"content_type": FORM} | ({"authorization": authorization} if authorization else {})
    return await ask(policy, "POST", TOKEN, body.encode(), **headers)


def sent_form(idp) -> dict[str, list[str]]:
    assert idp.asked[-1].target == "/token"
    return parse_qs(idp.asked[-1].body.decode(), keep_blank_values=True)


# --- what clients read ------------------------------------------------------------------------------------------------

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "registration_endpoint")


@pytest.mark.parametrize(
    ("kind", "config", "own"),
    [
        ("auth0", {}, {"authorization_endpoint": "authorize"}),
        ("okta", {}, {"authorization_endpoint": "authorize", "registration_endpoint": "client-registration"}),
        ("keycloak", {}, {"registration_endpoint": "client-registration"}),
        ("descope", {}, {"registration_endpoint": "client-registration"}),
        ("authentik", {"clientId": "app-1"}, {"registration_endpoint": "client-registration"}),
        ("entra", {}, {"authorization_endpoint": "authorize", "token_endpoint": "token"}),
        (
            "auth0",
            {"clientId": "a"},
            {"authorization_endpoint": "authorize", "registration_endpoint": "client-registration"},
        ),
    ],
)
async def test_endpoints_that_the_gateway_stands_in_for_are_its_own(of_kind, idp, kind, config, own):
    document = await metadata(await of_kind(kind, **config))
    there = idp.metadata()
    expected = {name: f"{HERE}/{own[name]}" if name in own else there[name] for name in ENDPOINTS}
    assert {name: document.get(name) for name in ENDPOINTS} == expected
    assert document["issuer"] == "http://gateway.test/mcp"
    assert document["client_id_metadata_document_supported"] is True
    assert document["jwks_uri"] == there["jwks_uri"]


@pytest.mark.parametrize("kind", ["auth0", "okta", "keycloak", "descope", "authentik", "entra"])
async def test_nothing_vouches_for_a_name_that_clients_do_not_see(of_kind, kind):
    document = await metadata(await of_kind(kind))
    assert document.keys().isdisjoint({"signed_metadata", "authorization_response_iss_parameter_supported"})


async def test_entra_is_said_to_have_pkce(of_kind):
    assert (await metadata(await of_kind("entra")))["code_challenge_methods_supported"] == ["S256"]


async def test_what_a_provider_cannot_register_is_not_offered(of_kind, idp):
    idp.changes = {"registration_endpoint": None}
    for kind in ("keycloak", "authentik", "entra", "okta"):
        policy = await of_kind(kind)
        assert "registration_endpoint" not in await metadata(policy)


@pytest.mark.parametrize(
    ("kind", "issuer", "document", "keys"),
    [
        ("auth0", "https://t.auth0.com/", "https://t.auth0.com" + SERVER, "https://t.auth0.com/.well-known/jwks.json"),
        (
            "okta",
            "https://o.okta.com/oauth2/d",
            "https://o.okta.com/oauth2/d" + OPENID,
            "https://o.okta.com/oauth2/d/v1/keys",
        ),
        (
            "keycloak",
            "https://k.example.com/realms/x",
            "https://k.example.com/realms/x" + OPENID,
            "https://k.example.com/realms/x/protocol/openid-connect/certs",
        ),
        (
            "descope",
            "https://api.descope.com/v1/apps/agentic/P1/MS1",
            "https://api.descope.com/v1/apps/agentic/P1/MS1" + OPENID,
            "https://api.descope.com/P1/.well-known/jwks.json",
        ),
        (
            "descope",
            "https://api.descope.com/P1",
            "https://api.descope.com/P1" + OPENID,
            "https://api.descope.com/P1/.well-known/jwks.json",
        ),
        (
            "authentik",
            "https://a.example.com/application/o/mcp/",
            "https://a.example.com/application/o/mcp" + OPENID,
            "https://a.example.com/application/o/mcp/jwks/",
        ),
        (
            "entra",
            "https://login.microsoftonline.com/t1/v2.0",
            "https://login.microsoftonline.com/t1/v2.0" + OPENID,
            "https://login.microsoftonline.com/t1/discovery/v2.0/keys",
        ),
        (
            "entra",
            "https://sts.windows.net/t1/",
            "https://login.microsoftonline.com/t1/v2.0" + OPENID,
            "https://login.microsoftonline.com/t1/discovery/v2.0/keys",
        ),
        (
            "entra",
            "https://login.microsoftonline.us/t1/v2.0",
            "https://login.microsoftonline.us/t1/v2.0" + OPENID,
            "https://login.microsoftonline.us/t1/discovery/v2.0/keys",
        ),
    ],
)
def test_metadata_and_keys_are_where_the_vendor_has_them(kind, issuer, document, keys):
    config = McpAuthenticationConfig.model_validate({"issuer": issuer, "audiences": ["a"], "provider": {kind: {}}})
    made = adapter(config)
    assert (made.documents[0], made.keys) == (document, keys)


# --- registration -----------------------------------------------------------------------------------------------------


async def test_a_registration_is_passed_on_without_credentials(of_kind, idp):
    wanted = {"client_name": "Editor", "redirect_uris": ["http://localhost:7000/callback"]}
    policy = await of_kind("keycloak")
    answered = await ask(policy, "POST", REGISTER, json.dumps(wanted).encode(), authorization="Bearer t", cookie="a=b")
    assert (answered.status, json.loads(answered.body)["client_id"]) == (201, "made-up")
    assert answered.headers.get("access-control-allow-origin") == "*"
    assert answered.headers.get("cache-control") == "no-store"
    passed = idp.asked[-1]
    assert (passed.method, passed.target, passed.json()) == ("POST", "/register", wanted)
    assert {"authorization", "cookie"}.isdisjoint(passed.headers)


@pytest.mark.parametrize("kind", ["auth0", "okta", "keycloak", "descope", "authentik", "entra"])
async def test_a_configured_client_is_what_everybody_gets(of_kind, idp, kind):
    policy = await of_kind(kind, clientId="app-1")
    body = b'{"redirect_uris": ["http://localhost/cb", 7], "client_secret": "mine"}'
    answered = await ask(policy, "POST", REGISTER, body)
    assert answered.status == 201
    assert json.loads(answered.body) == {
        "client_id": "app-1",
        "client_id_issued_at": 0,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": ["http://localhost/cb"],
    }
    assert idp.asked == []


async def test_without_a_kind_of_provider_a_configured_client_is_there_for_who_asks(protect, idp):
    policy = await protect(clientId="app-1")
    assert json.loads((await ask(policy, "POST", REGISTER, b"{}")).body)["client_id"] == "app-1"
    assert (await metadata(policy)) == idp.metadata()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
async def test_a_registration_that_is_no_object_is_refused(of_kind, body):
    answered = await ask(await of_kind("keycloak"), "POST", REGISTER, body)
    assert (answered.status, json.loads(answered.body)["error"]) == (400, "invalid_client_metadata")


async def test_a_registration_is_bounded(of_kind):
    with pytest.raises(BodyTooLarge):
        await ask(await of_kind("keycloak"), "POST", REGISTER, b'{"a":"' + b"x" * 70_000 + b'"}')


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example.com/register",
        "http://127.0.0.1:1/register",
        "//evil.example.com/register",
        "/register",
        "file:///etc/passwd",
        None,
        7,
    ],
)
async def test_nothing_is_passed_on_to_another_origin(of_kind, idp, elsewhere):
    idp.changes = {"registration_endpoint": elsewhere}
    policy = await of_kind("keycloak")
    with pytest.raises(NotFound):
        await ask(policy, "POST", REGISTER, b"{}")
    assert [one.method for one in idp.asked] == ["GET"]


@pytest.mark.parametrize(
    "lookalike", ["{url}.evil.example.com/x", "{host}@evil.example.com/x", "{url}\\@evil.example.com/x", "{url}/x#y"]
)
async def test_what_only_looks_like_the_provider_is_another_origin(of_kind, idp, lookalike):
    url = lookalike.format(url=idp.url, host=idp.url)
    idp.changes = {"authorization_endpoint": url, "token_endpoint": url}
    policy = await of_kind("entra")
    with pytest.raises(NotFound):
        await ask(policy, "GET", AUTHORIZE + "?client_id=a")
    with pytest.raises(NotFound):
        await exchange_code(policy)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_page_of_the_provider_is_not_shown_as_the_gateways(of_kind, idp, status):
    policy = await of_kind("keycloak")
    await metadata(policy)
    idp.scripted = reply(status, b"<script/>", headers={"content-type": "text/html"})
    with pytest.raises(GatewayError) as caught:
        await ask(policy, "POST", REGISTER, b"{}")
    assert caught.value.status == 502


async def test_a_method_other_than_post_registers_nobody(of_kind):
    answered = await ask(await of_kind("keycloak"), "GET", REGISTER)
    assert (answered.status, answered.headers.get("allow")) == (405, "POST, OPTIONS")
    preflight = await ask(await of_kind("keycloak"), "OPTIONS", REGISTER)
    assert preflight.headers.get("access-control-allow-methods") == "POST, OPTIONS"


# --- authorization ----------------------------------------------------------------------------------------------------


async def test_entra_gets_authorization_requests_without_resource(of_kind, idp):
    kept = "client_id=app-1&scope=api%3A%2F%2Fx%2Fread+openid&state=a%26b&Resource=1"
    query = f"resource=http%3A%2F%2Fgw%2Fmcp&{kept}&resource&re%73ource=x"
    answered = await ask(await of_kind("entra"), "GET", f"{AUTHORIZE}?{query}")
    assert answered.status == 302
    assert answered.headers.get("location") == f"{idp.url}/authorize?{kept}"
    assert answered.headers.get("cache-control") == "no-store"


@pytest.mark.parametrize("kind", ["auth0", "okta"])
async def test_the_audience_is_added_to_authorization_requests(of_kind, idp, kind):
    idp.changes = {"authorization_endpoint": f"{idp.url}/authorize?connection=corp"}
    query = "client_id=a&audience=somebody-else&resource=http%3A%2F%2Fgw%2Fmcp"
    answered = await ask(await of_kind(kind), "GET", f"{AUTHORIZE}?{query}")
    location = urlsplit(answered.headers.get("location"))
    assert parse_qsl(location.query) == [
        ("connection", "corp"),
        ("client_id", "a"),
        ("resource", "http://gw/mcp"),
        ("audience", AUDIENCE),
    ]


@pytest.mark.parametrize(
    "query", ["a=\r\nset-cookie: x=1", "a=\x00", "a=\\\\evil", 'a="><script>', "#@evil.example.com"]
)
async def test_a_query_cannot_lead_anywhere_else(of_kind, idp, query):
    answered = await ask(await of_kind("entra"), "GET", f"{AUTHORIZE}?{query}")
    location = answered.headers.get("location")
    assert location.startswith(f"{idp.url}/authorize?")
    assert location.isprintable() and {"\\", "#", '"', "<", " "}.isdisjoint(location)


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_no_query_leads_away_from_the_endpoint(query):
    config = McpAuthenticationConfig.model_validate(
        {"issuer": "https://login.microsoftonline.com/t/v2.0", "audiences": ["a"], "provider": {"entra": {}}}
    )
    endpoint = "https://login.microsoftonline.com/t/oauth2/v2.0/authorize"

    class Known:
        async def metadata(self):
            return {"authorization_endpoint": endpoint}

    sent_on = Forwarding(config, adapter(config), Known(), None).authorize(http("GET", f"/?{query}").request)
    location = asyncio.run(sent_on).headers.get("location")
    assert re.fullmatch(r"[!-~]+", location) and location.partition("?")[0] == endpoint
    assert "resource" not in [name for name, _ in parse_qsl(urlsplit(location).query, keep_blank_values=True)]


@pytest.mark.parametrize("kind", ["keycloak", "descope", "authentik"])
async def test_where_the_provider_is_asked_directly_there_is_no_endpoint(of_kind, kind):
    """It would be the metadata of a resource of that name."""
    policy = await of_kind(kind, resourceMetadata={"resource": "http://gateway.test/mcp"})
    for path in (AUTHORIZE, TOKEN):
        with pytest.raises(NotFound):
            await ask(policy, "GET", path)


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_entra_gets_token_requests_without_resource(of_kind, idp):
    await exchange_code(await of_kind("entra"), resource="http%3A%2F%2Fgw%2Fmcp")
    assert sent_form(idp) == {
        "grant_type": ["authorization_code"],
        "client_id": ["app-1"],
        "code": ["c"],
        "code_verifier": ["v"],
    }
    assert "cookie" not in idp.asked[-1].headers and "authorization" not in idp.asked[-1].headers


async def test_the_answer_to_a_token_request_comes_back(of_kind):
    answered = await exchange_code(await of_kind("entra"))
    assert (answered.status, json.loads(answered.body)) == (400, {"error": "invalid_grant"})
    assert answered.headers.get("cache-control") == "no-store"
    assert answered.headers.get("access-control-allow-origin") == "*"


LENDING = {"clientId": "app-1", "clientSecret": SECRET}


@pytest.mark.parametrize(
    ("form", "lent"),
    [
        ({}, True),
        ({"grant_type": "refresh_token", "refresh_token": "r", "code": "", "code_verifier": ""}, True),
        ({"code_verifier": ""}, False),
        ({"client_id": "app-2"}, False),
        ({"client_id": ""}, False),
        ({"client_id": "APP-1"}, False),
        ({"grant_type": "client_credentials"}, False),
        ({"grant_type": "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"}, False),
        ({"grant_type": "password"}, False),
        ({"grant_type": ""}, False),
        ({"client_assertion": "x"}, False),
        ({"client_secret": "own"}, False),
        ({"authorization": "Basic YTpi"}, False),
        ({"authorization": "Bearer t"}, False),
    ],
    ids=str,
)
async def test_the_secret_is_lent_to_the_users_of_its_own_client_only(of_kind, idp, form, lent):
    await exchange_code(await of_kind("entra", **LENDING), **form)
    assert (sent_form(idp).get("client_secret") == [SECRET]) is lent
    assert (SECRET.encode() in idp.asked[-1].body) is lent
    assert idp.asked[-1].headers.get("authorization") == (
        "Basic YTpi" if form.get("authorization") == "Basic YTpi" else None
    )


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=client_credentials&grant_type=authorization_code&client_id=app-1",
        b"grant_type=authorization_code&client_id=app-1&client_id=app-2",
        b"&".join(b"p%d=1" % number for number in range(100)),
        b"grant_type=%ff",
        b"\xff=1",
    ],
    ids=["grants", "clients", "many", "escape", "bytes"],
)
async def test_a_form_that_may_be_read_in_two_ways_is_refused(of_kind, idp, body):
    answered = await ask(await of_kind("entra", **LENDING), "POST", TOKEN, body, content_type=FORM)
    assert (answered.status, json.loads(answered.body)["error"]) == (400, "invalid_request")
    assert idp.asked == []


async def test_a_token_request_is_a_form(of_kind):
    answered = await ask(await of_kind("entra"), "POST", TOKEN, b"{}", content_type="application/json")
    assert answered.status == 400


async def test_only_so_many_are_passed_on_at_a_time(of_kind, idp):
    policy = await of_kind("keycloak")
    await metadata(policy)
    answers = await asyncio.gather(*(ask(policy, "POST", REGISTER, b"{}") for _ in range(AT_ONCE + 8)))
    assert sorted({answer.status for answer in answers}) == [201, 503]
    assert [answer.status for answer in answers].count(503) == 8
    assert (await ask(policy, "POST", REGISTER, b"{}")).status == 201


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_the_secret_shows_nowhere(of_kind, idp, caplog):
    caplog.set_level(logging.DEBUG)
    policy = await of_kind("entra", **LENDING)
    await exchange_code(policy)
    said = [repr(policy), repr(policy.config), str(vars(policy)), policy.config.model_dump_json()]
    idp.changes = {"token_endpoint": f"{idp.url}/token"}
    assert SECRET in idp.asked[-1].body.decode()
    idp.scripted = reply(302, {}, headers={"location": "http://127.0.0.1:1/"})
    with pytest.raises(GatewayError) as caught:
        await exchange_code(policy)
    said += [repr(caught.value), caught.value.detail, *(record.getMessage() for record in caplog.records)]
    # What the test's own client says on level DEBUG has no bodies either.
    assert not [text for text in said if SECRET in text]
