"""Tokens: which hold, which do not, and that none is seen again."""

import base64
import hmac
import json
import logging
import time

import jwt
import pytest
from pydantic import ValidationError

from agentgateway.errors import ConfigError, Unauthenticated
from agentgateway.expressions import compile
from agentgateway.testing import LoopbackHost, PolicyContract, http, make, run_phase
from agentgateway.variables import environment

ISSUER = "https://issuer.test"
P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "kid": "rfc7517-a1",
}  # RFC 7517 appendix A.1


class TestContract(PolicyContract):
    name = "jwtAuth"
    config = {"issuer": ISSUER, "jwks": json.dumps({"keys": [P256]})}
    levels = ("gateway", "route")


@pytest.fixture
def auth(rsa_pair, publish):
    """A policy that trusts the test issuer's RSA key, or what `jwks` says."""

    def build(jwks=None, **config):
        written = {"issuer": ISSUER, "jwks": jwks or publish(rsa_pair), **config}
        return make("agentgateway.policies", "jwtAuth", written)

    return build


def bearer(token: str, target: str = "/"):
    return http("GET", target, headers={"authorization": f"Bearer {token}"})


async def ask(policy, token: str):
    exchange = bearer(token)
    await run_phase(policy, "authn", exchange)
    return exchange


async def refusal(policy, token: str) -> Unauthenticated:
    exchange = bearer(token)
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(policy, "authn", exchange)
    error = caught.value
    assert (error.status, error.reason, error.message) == (401, "JwtAuth", "invalid token")
    assert ("www-authenticate", 'Bearer error="invalid_token"') in error.headers
    assert exchange.principal is None
    assert not token or token not in f"{error!r} {error.detail}"
    return error


def forged(header: object, payload: object, signature: bytes = b"") -> str:
    def part(value: object) -> str:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    return f"{part(header)}.{part(payload)}.{part(signature)}"


# --- tokens that hold -------------------------------------------------------------------------------------------------


async def test_a_valid_token_establishes_its_subject_and_leaves_the_request(auth, rsa_pair):
    token = rsa_pair.token(groups=["research"])
    exchange = await ask(auth(), token)
    principal = exchange.principal
    assert principal is exchange.identities["jwt"]
    assert (principal.kind, principal.name, principal.models) == ("jwt", "ada", None)
    assert principal.claims["groups"] == ["research"]
    assert principal.credential.reveal() == token
    assert "authorization" not in exchange.request.headers


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_an_rsa_key_without_alg_takes_every_rsa_algorithm(auth, rsa_pair, algorithm):
    assert (await ask(auth(), rsa_pair.token(algorithm=algorithm))).principal is not None


@pytest.mark.parametrize("pair", ["p256_pair", "p384_pair", "ed25519_pair"])
async def test_elliptic_keys_verify(auth, publish, request, pair):
    pair = request.getfixturevalue(pair)
    assert (await ask(auth(publish(pair)), pair.token())).principal is not None


async def test_a_token_without_subject_has_no_name(auth, rsa_pair):
    assert (await ask(auth(), rsa_pair.token(sub=None))).principal.name == ""


@pytest.mark.parametrize("aud", ["gateway", ["other", "gateway"]])
async def test_a_token_for_one_of_the_audiences_holds(auth, rsa_pair, aud):
    assert (await ask(auth(audiences=["gateway", "spare"]), rsa_pair.token(aud=aud))).principal is not None


async def test_audiences_are_not_looked_at_unless_they_are_configured(auth, rsa_pair):
    assert (await ask(auth(), rsa_pair.token(aud="somebody-else"))).principal is not None


async def test_clocks_may_differ_by_a_minute(auth, rsa_pair):
    now = int(time.time())
    assert (await ask(auth(), rsa_pair.token(exp=now - 30, nbf=now - 60))).principal is not None
    assert (await ask(auth(), rsa_pair.token(nbf=now + 30, iat=now + 30))).principal is not None


async def test_exp_may_be_missing_where_no_claim_is_required(auth, rsa_pair):
    policy = auth(jwtValidationOptions={"requiredClaims": []})
    assert (await ask(policy, rsa_pair.token(exp=None))).principal is not None


# --- tokens that do not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "ExpiredSignatureError"),
        ({"exp": int(time.time()) - 90}, "ExpiredSignatureError"),
        ({"exp": None}, "the claim exp is missing"),
        ({"nbf": int(time.time()) + 3600}, "ImmatureSignatureError"),
        ({"iss": "https://other.test"}, "InvalidIssuerError"),
        ({"iss": ISSUER + "/"}, "InvalidIssuerError"),
        ({"iss": None}, "the claim iss is missing"),
        ({"sub": 7}, "InvalidSubjectError"),
        ({"exp": "soon"}, "DecodeError"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(auth, rsa_pair, claims, why):
    # PyJWT refuses to sign an `iss` or `sub` that is no text, so such a payload is signed as it is.
    payload = {"iss": ISSUER, "sub": "ada", "exp": int(time.time()) + 600, **claims}
    payload = {name: value for name, value in payload.items() if value is not None}
    token = jwt.api_jws.encode(json.dumps(payload).encode(), rsa_pair.private, "RS256", {"kid": rsa_pair.kid})
    assert why in (await refusal(auth(), token)).detail


@pytest.mark.parametrize(
    ("aud", "why"), [("other", "InvalidAudienceError"), (None, "claim aud"), ([7], "InvalidAudience")]
)
async def test_a_token_for_somebody_else_is_refused(auth, rsa_pair, aud, why):
    assert why in (await refusal(auth(audiences=["gateway"]), rsa_pair.token(aud=aud))).detail


async def test_every_required_claim_must_be_there(auth, rsa_pair):
    policy = auth(jwtValidationOptions={"requiredClaims": ["exp", "tenant"]})
    assert "claim tenant" in (await refusal(policy, rsa_pair.token())).detail
    assert (await ask(policy, rsa_pair.token(tenant="x"))).principal is not None


async def test_a_token_needs_a_kid(auth, rsa_pair):
    assert "kid" in (await refusal(auth(), rsa_pair.token(kid=None))).detail


async def test_a_token_of_an_unknown_key_is_refused(auth, other_rsa_pair):
    assert "unknown key" in (await refusal(auth(), other_rsa_pair.token())).detail


async def test_a_token_signed_by_another_key_of_that_name_is_refused(auth, rsa_pair, other_rsa_pair):
    error = await refusal(auth(), other_rsa_pair.token(kid=rsa_pair.kid))
    assert "InvalidSignatureError" in error.detail


async def test_a_changed_token_is_refused(auth, rsa_pair):
    header, _, signature = rsa_pair.token().split(".")
    payload = forged({}, {"iss": ISSUER, "sub": "root", "exp": int(time.time()) + 600}).split(".")[1]
    await refusal(auth(), f"{header}.{payload}.{signature}")


async def test_a_token_that_shares_all_but_its_end_with_a_verified_one_is_refused(auth, rsa_pair):
    policy, token = auth(), rsa_pair.token()
    await ask(policy, token)
    await refusal(policy, token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8))


async def test_an_hmac_with_the_public_key_as_its_secret_is_refused(auth, rsa_pair, publish):
    claims = {"iss": ISSUER, "sub": "root", "exp": int(time.time()) + 600}
    unsigned = forged({"alg": "HS256", "kid": rsa_pair.kid}, claims).rpartition(".")[0]
    signature = hmac.digest(publish(rsa_pair).encode(), unsigned.encode(), "sha256")
    token = f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert "InvalidAlgorithmError" in (await refusal(auth(), token)).detail


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "ES256", "EdDSA", "ES512", "", None, 7])
async def test_an_algorithm_that_is_not_the_keys_is_refused(auth, rsa_pair, alg):
    payload = {"iss": ISSUER, "sub": "root", "exp": int(time.time()) + 600}
    await refusal(auth(), forged({"alg": alg, "kid": rsa_pair.kid}, payload))


async def test_a_key_with_alg_takes_only_that_one(auth, rsa_pair, publish):
    policy = auth(publish(rsa_pair.jwk(alg="RS512")))
    assert (await ask(policy, rsa_pair.token(algorithm="RS512"))).principal is not None
    await refusal(policy, rsa_pair.token(algorithm="RS256"))


async def test_an_unknown_critical_header_is_refused(auth, rsa_pair):
    claims = {"iss": ISSUER, "exp": int(time.time()) + 600}
    token = jwt.encode(claims, rsa_pair.private, "RS256", {"kid": rsa_pair.kid, "crit": ["x"], "x": 1})
    await refusal(auth(), token)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "..",
        "a.b",
        "a.b.c.d",
        "é.é.é",
        "\x80\xff.a.b",
        forged([], {}),
        forged(b"\xff\xfe", {}),
        forged(b"[" * 30_000, {}),
        forged(b'{"kid":' + b"9" * 9000 + b"}", {}),
        forged({"kid": "rsa-1", "alg": "RS256"}, b"[" * 30_000),
        forged({"kid": ["rsa-1"], "alg": "RS256"}, {}),
        forged({"kid": {}, "alg": "RS256"}, {}),
        "A" * 60_000,
        "." * 60_000,
        "sk-not-a-jwt-at-all",
    ],
)
async def test_what_is_no_token_is_refused(auth, token):
    await refusal(auth(), token)


# --- modes ------------------------------------------------------------------------------------------------------------


async def test_strict_refuses_a_missing_token(auth):
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(auth(mode="strict"), "authn", http())
    assert (caught.value.status, caught.value.reason, caught.value.message) == (401, "JwtAuth", "no bearer token found")
    assert ("www-authenticate", "Bearer") in caught.value.headers


@pytest.mark.parametrize("config", [{}, {"mode": "optional"}, {"mode": "permissive"}])
async def test_a_missing_token_passes_unless_the_mode_is_strict(auth, config):
    exchange = http()
    await run_phase(auth(**config), "authn", exchange)
    assert exchange.principal is None


async def test_permissive_forwards_a_wrong_token_as_it_came(auth):
    exchange = await ask(auth(mode="permissive"), "meant.for.upstream")
    assert exchange.principal is None
    assert exchange.request.headers.get("authorization") == "Bearer meant.for.upstream"


async def test_permissive_knows_a_valid_token(auth, rsa_pair):
    assert (await ask(auth(mode="permissive"), rsa_pair.token())).principal is not None


async def test_a_refused_token_does_not_stay_in_the_request_for_the_log(auth):
    exchange = http("GET", "/p?token=wrong&x=1")
    with pytest.raises(Unauthenticated):
        await run_phase(auth(location={"queryParameter": {"name": "token"}}), "authn", exchange)
    assert exchange.request.target == "/p?x=1"


async def test_a_token_may_stand_in_a_cookie(auth, rsa_pair):
    exchange = http(headers={"cookie": f"a=1; session={rsa_pair.token()}"})
    await run_phase(auth(location={"cookie": {"name": "session"}}), "authn", exchange)
    assert exchange.principal is not None
    assert exchange.request.headers.get("cookie") == "a=1"


# --- several issuers --------------------------------------------------------------------------------------------------


async def test_each_provider_verifies_its_own_tokens(rsa_pair, other_rsa_pair, publish):
    other = "https://other.test"
    providers = [{"issuer": ISSUER, "jwks": publish(rsa_pair)}, {"issuer": other, "jwks": publish(other_rsa_pair)}]
    policy = make("agentgateway.policies", "jwtAuth", {"providers": providers})
    assert (await ask(policy, rsa_pair.token())).principal is not None
    assert (await ask(policy, other_rsa_pair.token(iss=other))).principal is not None
    await refusal(policy, rsa_pair.token(iss=other))
    await refusal(policy, other_rsa_pair.token())


async def test_providers_may_use_the_same_kid(rsa_pair, other_rsa_pair, publish):
    other = "https://other.test"
    shared = other_rsa_pair.jwk(kid=rsa_pair.kid)
    providers = [{"issuer": ISSUER, "jwks": publish(rsa_pair)}, {"issuer": other, "jwks": publish(shared)}]
    policy = make("agentgateway.policies", "jwtAuth", {"providers": providers})
    assert (await ask(policy, other_rsa_pair.token(iss=other, kid=rsa_pair.kid))).principal is not None
    await refusal(policy, other_rsa_pair.token(kid=rsa_pair.kid))


# --- key sets ---------------------------------------------------------------------------------------------------------


async def test_keys_that_cannot_verify_are_passed_over(auth, rsa_pair, p256_pair, publish):
    useless = [
        {"kty": "oct", "kid": "h", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "secp256k1", "kid": "k", "x": "AA", "y": "AA"},
        p256_pair.jwk(kid="e", use="enc"),
        p256_pair.jwk(kid="o", key_ops=["deriveKey"]),
        p256_pair.jwk(kid="a", alg="ECDH-ES"),
        {"kty": ["RSA"], "kid": "l"},
    ]
    policy = auth(publish(*useless, rsa_pair))
    assert (await ask(policy, rsa_pair.token())).principal is not None
    for kid in "heoakl":
        assert "unknown key" in (await refusal(policy, p256_pair.token(kid=kid))).detail


def test_an_rsa_key_that_is_too_short_is_passed_over(auth, publish):
    modulus = base64.urlsafe_b64encode(((1 << 1023) + 1).to_bytes(128, "big")).rstrip(b"=").decode()
    with pytest.raises(ConfigError):
        auth(publish({"kty": "RSA", "kid": "short", "e": "AQAB", "n": modulus}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[" * 100_000,
        "[]",
        "{}",
        '{"keys": {}}',
        '{"keys": [1]}',
        '{"keys": []}',
        json.dumps({"keys": [{**P256, "kid": ""}]}),
        json.dumps({"keys": [{name: P256[name] for name in ("kty", "crv", "x", "y")}]}),
        json.dumps({"keys": [P256, P256]}),
        json.dumps({"keys": [{**P256, "x": "AA"}]}),
        json.dumps({"keys": [{**P256, "x": 7}]}),
        json.dumps({"keys": [{"kty": "RSA", "kid": "r"}]}),
    ],
)
def test_what_is_no_key_set_stops_the_start_and_says_where(text):
    with pytest.raises(ConfigError) as caught:
        make("agentgateway.policies", "jwtAuth", {"issuer": ISSUER, "jwks": text})
    assert caught.value.path == "test.jwks"
    assert "MKBCTNIc" not in str(caught.value)


def test_a_provider_with_a_bad_key_set_is_named(publish, rsa_pair):
    providers = [{"issuer": "a", "jwks": publish(rsa_pair)}, {"issuer": "b", "jwks": "{}"}]
    with pytest.raises(ConfigError) as caught:
        make("agentgateway.policies", "jwtAuth", {"providers": providers})
    assert caught.value.path == "test.providers[1].jwks"


def test_private_members_of_a_key_are_not_taken(auth, rsa_pair, publish):
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_pair.private))
    policy = auth(publish({**private, "kid": rsa_pair.kid, "key_ops": ["sign", "verify"]}))
    (issuer,) = policy._trust._issuers
    assert not hasattr(issuer.keys[rsa_pair.kid].key, "private_numbers")


async def test_keys_may_stand_in_a_file_which_is_watched(tmp_path, rsa_pair, publish):
    (tmp_path / "jwks.json").write_text(publish(rsa_pair))
    host = LoopbackHost()
    config = {"issuer": ISSUER, "jwks": {"file": "jwks.json"}}
    policy = make("agentgateway.policies", "jwtAuth", config, host, folder=tmp_path)
    await policy.start()
    assert host.watched == {tmp_path / "jwks.json"}
    assert (await ask(policy, rsa_pair.token())).principal is not None
    await policy.stop()


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"issuer": ISSUER},
        {"jwks": "{}"},
        {"issuer": "", "jwks": "{}"},
        {"providers": []},
        {"providers": [{"issuer": ISSUER}]},
        {"issuer": ISSUER, "jwks": "{}", "providers": [{"issuer": ISSUER, "jwks": "{}"}]},
        {"providers": [{"issuer": ISSUER, "jwks": "{}"}], "audiences": ["a"]},
        {"issuer": ISSUER, "jwks": "{}", "audiences": []},
        {"issuer": ISSUER, "jwks": "{}", "mode": "lenient"},
        {"issuer": ISSUER, "jwks": {"url": "ftp://issuer.test/"}},
        {"issuer": ISSUER, "jwks": "{}", "jwtValidationOptions": {"algorithms": ["HS256"]}},
    ],
)
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValidationError):
        make("agentgateway.policies", "jwtAuth", config)


# --- expressions, and what shows --------------------------------------------------------------------------------------


async def test_expressions_read_the_claims_and_never_the_token(auth, rsa_pair):
    exchange = await ask(auth(), rsa_pair.token(groups=["research"], rawToken="forged"))
    assert compile('"research" in jwt.groups && jwt.sub == "ada"', environment()).holds(exchange)
    assert compile("jwt.rawToken", environment()).value(exchange) == "***"


def test_expressions_see_no_claims_where_there_is_no_token():
    assert compile("has(jwt.sub)", environment()).value(http()) is False


async def test_nothing_shows_the_token(auth, rsa_pair, caplog):
    caplog.set_level(logging.DEBUG)
    policy, token = auth(), rsa_pair.token()
    exchange = await ask(policy, token)
    trust = policy._trust
    shown = [
        repr(policy),
        str(vars(policy)),
        str(vars(trust)),
        str(list(trust._verified._entries.items())),
        repr(policy.config),
        policy.config.model_dump_json(),
        repr(exchange),
        repr(exchange.principal),
        str(exchange.principal.claims),
        caplog.text,
    ]
    for part in (token, *token.split(".")):
        assert part not in "\n".join(shown)
