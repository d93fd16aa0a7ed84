"""Who gets in, and what the others are told."""

import json
import time

import pytest
from pydantic import ValidationError

from agentgateway.errors import Unauthenticated
from agentgateway.exchange import Principal, Reply
from agentgateway.expressions import compile
from agentgateway.testing import PolicyContract, http, make, run_phase
from agentgateway.variables import environment

ISSUER = "https://login.example.com/"
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "kid": "rfc7517-a1",
}  # RFC 7517 appendix A.1
KEYS = json.dumps({"keys": [P256]})


class TestContract(PolicyContract):
    name = "mcpAuthentication"
    config = {"issuer": ISSUER, "audiences": ["mcp"], "jwks": KEYS}
    levels = ("gateway", "route")


def bearer(token: str, target: str = "/mcp"):
    return http("POST", target, headers={"authorization": f"Bearer {token}"})


async def refused(policy, exchange) -> tuple[Unauthenticated, Reply]:
    """The error, and the reply as it leaves."""
    assert await run_phase(policy, "accept", exchange) is None
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(policy, "authn", exchange)
    exchange.error = caught.value
    exchange.reply = Reply.text(caught.value.status, caught.value.message, caught.value.headers)
    await run_phase(policy, "post_response", exchange)
    assert exchange.principal is None
    return caught.value, exchange.reply


async def test_a_token_for_an_audience_gets_in_and_leaves_the_request(protect, idp):
    exchange = bearer(idp.mint(groups=["research"]))
    policy = await protect()
    assert await run_phase(policy, "accept", exchange) is None
    await run_phase(policy, "authn", exchange)
    assert "authorization" not in exchange.request.headers
    assert (exchange.principal.kind, exchange.principal.name) == ("jwt", "ada")
    assert compile('"research" in jwt.groups', environment()).holds(exchange)


async def test_without_a_token_the_answer_says_where_to_get_one(protect):
    error, reply = await refused(await protect(), http("POST", "/mcp"))
    assert (reply.status, error.reason) == (401, "JwtAuth")
    assert json.loads(reply.body) == {"error": "unauthorized", "error_description": "JWT token required"}
    assert reply.headers.all("content-type") == ["application/json"]
    assert reply.headers.get("www-authenticate") == (
        'Bearer resource_metadata="http://gateway.test/.well-known/oauth-protected-resource/mcp"'
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"aud": None},
        {"iss": "https://elsewhere.example.com"},
        {"exp": int(time.time()) - 120},
        {"exp": None},
        {"nbf": int(time.time()) + 600},
    ],
    ids=["aud", "no aud", "iss", "exp", "no exp", "nbf"],
)
async def test_a_token_that_does_not_hold_is_called_invalid(protect, idp, claims):
    token = idp.mint(**claims)
    exchange = bearer(token)
    error, reply = await refused(await protect(), exchange)
    assert reply.status == 401
    assert json.loads(reply.body) == {"error": "invalid_token", "error_description": "invalid token"}
    assert reply.headers.get("www-authenticate").startswith('Bearer error="invalid_token", resource_metadata="http://')
    assert token not in f"{error!r}{error.detail}{reply.body}{exchange.request.headers.raw}"


async def test_clocks_may_differ_by_a_minute(protect, idp):
    exchange = bearer(idp.mint(exp=int(time.time()) - 30))
    await run_phase(await protect(), "authn", exchange)
    assert exchange.principal is not None


async def test_the_answer_names_the_configured_resource_and_scopes(protect):
    metadata = {"resource": "https://tools.example.com/base/mcp", "scopesSupported": ["read:tools", "call:tools"]}
    _, reply = await refused(await protect(resourceMetadata=metadata), http("POST", "/mcp"))
    assert reply.headers.get("www-authenticate") == (
        'Bearer resource_metadata="https://tools.example.com/.well-known/oauth-protected-resource/base/mcp",'
        ' scope="read:tools call:tools"'
    )


@pytest.mark.parametrize("resource", ["https://tools.example.com", "https://tools.example.com/"])
async def test_a_resource_without_a_path_takes_the_path_of_the_request(protect, resource):
    _, reply = await refused(await protect(resourceMetadata={"resource": resource}), http("POST", "/mcp"))
    assert '"https://tools.example.com/.well-known/oauth-protected-resource/mcp"' in reply.headers.get(
        "www-authenticate"
    )


async def test_the_root_has_its_metadata_at_the_plain_well_known_path(protect):
    _, reply = await refused(await protect(), http("POST", "/?session=1"))
    assert '"http://gateway.test/.well-known/oauth-protected-resource"' in reply.headers.get("www-authenticate")


async def test_who_names_no_host_is_only_told_that_there_must_be_a_token(protect):
    _, reply = await refused(await protect(), http("POST", "/mcp", headers={"host": ""}))
    assert reply.headers.get("www-authenticate") == "Bearer"


async def test_a_path_cannot_break_out_of_the_challenge(protect):
    _, reply = await refused(await protect(), http("POST", '/mcp",scope="admin'))
    assert reply.headers.get("www-authenticate").count('"') == 2


async def test_forwarded_headers_are_not_believed(protect):
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example.com"}
    _, reply = await refused(await protect(), http("POST", "/mcp", headers=headers))
    assert '"http://gateway.test/' in reply.headers.get("www-authenticate")


async def test_a_token_that_another_policy_has_taken_is_not_enough(protect):
    exchange = http("POST", "/mcp")
    exchange.establish(Principal("jwt", "ada"))
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(await protect(mode="permissive"), "authn", exchange)
    assert "another policy" in caught.value.detail


async def test_optional_lets_everybody_pass_but_wrong_tokens(protect, idp):
    policy = await protect(mode="optional")
    exchange = http("POST", "/mcp")
    await run_phase(policy, "authn", exchange)
    assert exchange.principal is None
    await refused(policy, bearer(idp.mint(aud="somebody-else")))


async def test_permissive_lets_who_has_a_wrong_token_pass_as_nobody_and_without_it(protect, idp):
    exchange = bearer(idp.mint(aud="somebody-else"))
    await run_phase(await protect(mode="permissive"), "authn", exchange)
    assert exchange.principal is None
    assert "authorization" not in exchange.request.headers


async def test_the_token_may_stand_elsewhere(protect, idp):
    policy = await protect(authorizationLocation={"header": {"name": "x-token"}})
    exchange = http("POST", "/mcp", headers={"x-token": idp.mint()})
    await run_phase(policy, "authn", exchange)
    assert exchange.principal is not None
    assert "x-token" not in exchange.request.headers


async def test_more_claims_can_be_required(protect, idp):
    policy = await protect(jwtValidationOptions={"requiredClaims": ["exp", "scope"]})
    await refused(policy, bearer(idp.mint()))
    await run_phase(policy, "authn", bearer(idp.mint(scope="tools")))


async def test_keys_are_fetched_where_the_provider_has_them(protect, idp):
    exchange = bearer(idp.mint())
    await run_phase(await protect(jwks=None), "authn", exchange)
    assert exchange.principal is not None
    assert idp.paths() == ["/.well-known/jwks.json"]


async def test_tokens_wait_for_keys_that_were_never_fetched(protect, idp):
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(await protect(jwks={"url": f"{idp.url}/nothing"}), "authn", bearer(idp.mint()))
    assert caught.value.status == 503


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://login.example.com"},
        {"issuer": "ftp://login.example.com"},
        {"issuer": "https://user:pw@login.example.com"},
        {"issuer": "https://login.example.com/?tenant=1"},
        {"issuer": "login.example.com"},
        {"audiences": []},
        {"provider": {}},
        {"provider": {"okta": {}, "auth0": {}}},
        {"provider": {"nobody": {}}},
        {"provider": {"entra": {}}},
        {"resourceMetadata": {"resource": "mcp"}},
        {"resourceMetadata": {"resource": "https://a.example.com/#x"}},
        {"resourceMetadata": {"scopesSupported": ['a"b']}},
        {"clientSecret": "s"},
        {"clientId": "c", "clientSecret": "s", "provider": {"keycloak": {}}},
        {"clientId": "c\r\n"},
        {"mode": "lax"},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_when_the_file_is_read(wrong):
    with pytest.raises(ValidationError) as caught:
        make("agentgateway.policies", "mcpAuthentication", {"issuer": ISSUER, "audiences": ["a"], **wrong})
    assert "user:pw" not in str(caught.value)


@pytest.mark.parametrize("issuer", ["http://localhost:9000", "http://127.0.0.2:80/x", "http://[::1]:8080/"])
def test_an_issuer_on_this_machine_may_be_plain_http(issuer):
    make("agentgateway.policies", "mcpAuthentication", {"issuer": issuer, "audiences": ["a"]})
