"""Tokens that the gateway signs for its upstreams."""

import asyncio
import logging
import subprocess
import sys
import threading

import jwt
import pytest
from agentgateway_auth_jwtsign.tokens import MOST, Tokens
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from agentgateway.errors import ConfigError, InternalError
from agentgateway.exchange import Headers, Outgoing, Principal
from agentgateway.settings import Secret
from agentgateway.testing import CredentialContract, http, make

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key, lock=None) -> str:
    encryption = BestAvailableEncryption(lock) if lock else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


ECPEM = pem(EC)
BODY = ECPEM.splitlines()[1]
"""What of the key must be nowhere."""


class TestContract(CredentialContract):
    name = "jwtSign"
    config = {"signingKey": ECPEM, "alg": "ES256"}

    async def test_it_never_shows_its_secret(self):
        await super().test_it_never_shows_its_secret()
        credential = self.build()
        exchange = self.exchange()
        await credential.apply(exchange)
        token = exchange.outgoing.headers.get("authorization").removeprefix("Bearer ")
        shown = repr(credential) + repr(credential.config) + str(vars(credential)) + str(vars(credential._tokens))
        assert BODY not in shown
        assert token not in shown


def credential(**config):
    return make("agentgateway.credentials", "jwtSign", {"signingKey": ECPEM, "alg": "ES256", **config})


def sending(**headers: str):
    exchange = http("POST", "/p?x=1")
    fields = Headers.of({name.replace("_", "-"): value for name, value in headers.items()})
    exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", "/p?x=1", fields)
    exchange.establish(Principal("jwt", "ada", {"sub": "ada", "groups": ["a", "b"]}))
    return exchange


async def shown(made, exchange=None) -> str:
    exchange = exchange or sending()
    await made.apply(exchange)
    (field,) = exchange.outgoing.headers.all("authorization")
    return field.removeprefix("Bearer ")


async def test_a_token_says_who_asks_and_holds_for_its_time():
    token = await shown(credential(kid="k1", ttl="90s", claims={"sub": "jwt.sub", "g": "jwt.groups", "iss": '"gw"'}))
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "k1", "typ": "JWT"}
    said = jwt.decode(token, EC.public_key(), ["ES256"])
    assert {key: said[key] for key in ("sub", "g", "iss")} == {"sub": "ada", "g": ["a", "b"], "iss": "gw"}
    assert said["exp"] - said["iat"] == 90


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        *((alg, RSA) for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        *(("ES384", ec.generate_private_key(ec.SECP384R1())), ("ES512", ec.generate_private_key(ec.SECP521R1()))),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
async def test_any_of_the_algorithms_verifies(alg, key):
    token = await shown(credential(signingKey=pem(key), alg=alg))
    assert set(jwt.decode(token, key.public_key(), [alg])) == {"iat", "exp"}


async def test_it_takes_the_place_of_the_clients_credential():
    exchange = sending(authorization="Bearer client", accept="*/*")
    await shown(credential(), exchange)
    assert exchange.outgoing.headers.get("accept") == "*/*"
    assert exchange.outgoing.pinned == set()


async def test_a_place_of_its_own_is_pinned():
    exchange = sending(authorization="Bearer client")
    await credential(location={"header": {"name": "x-token"}}).apply(exchange)
    assert exchange.outgoing.headers.get("authorization") == "Bearer client"
    assert jwt.decode(exchange.outgoing.headers.get("x-token"), EC.public_key(), ["ES256"])
    assert exchange.outgoing.pinned == {"x-token"}


async def test_the_same_claims_share_a_token_and_others_do_not():
    made = credential(claims={"path": 'request.headers["x-user"]'})
    tokens = []
    for user in ("ada", "eve", "ada"):
        exchange = sending()
        exchange.request.headers.set("x-user", user)
        tokens.append(await shown(made, exchange))
    assert tokens[0] == tokens[2] != tokens[1]


@pytest.mark.parametrize(
    "claims",
    [{"a": 'request.headers["none"]'}, {"iss": "7"}, {"a": 'b"\\xff"'}],
    ids=["cannot be computed", "an issuer that is no text", "bytes that are no text"],
)
async def test_claims_that_no_token_can_say_fail_the_request(claims):
    with pytest.raises(InternalError) as told:
        await shown(credential(claims=claims))
    assert told.value.status == 500
    assert BODY not in str(told.value) + told.value.detail


# --- keeping ----------------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_is_kept_until_shortly_before_its_end():
    signed: list[int] = []
    clock = Clock()
    tokens = Tokens(lambda claims, now: signed.append(now) or Secret(f"t{now}"), 300, clock)
    for now, expected in ((1000, 1000), (1239.9, 1000), (1240, 1240), (1479, 1240)):
        clock.now = now
        assert (await tokens.token(b"{}")).reveal() == f"t{expected}"
    assert signed == [1000, 1240]


async def test_many_requests_wait_for_one_signature_off_the_loop():
    signed: list[int] = []

    def sign(claims: bytes, now: int) -> Secret:
        signed.append(threading.get_ident())
        return Secret("t")

    tokens = Tokens(sign, 300)
    await asyncio.gather(*(tokens.token(b"{}") for _ in range(20)))
    assert len(signed) == 1
    assert signed[0] != threading.get_ident()
    await tokens.stop()


async def test_one_who_leaves_does_not_take_the_signature_along():
    started, go = threading.Event(), threading.Event()

    def sign(claims: bytes, now: int) -> Secret:
        started.set()
        go.wait(10)
        return Secret("t")

    tokens = Tokens(sign, 300)
    first = asyncio.create_task(tokens.token(b"{}"))
    await asyncio.to_thread(started.wait, 10)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(tokens.token(b"{}"))
    go.set()
    assert (await second).reveal() == "t"


async def test_a_signature_that_failed_is_tried_again():
    answers = [ValueError("no"), Secret("t")]

    def sign(claims: bytes, now: int) -> Secret:
        answer = answers.pop(0)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    tokens = Tokens(sign, 300)
    with pytest.raises(ValueError, match="no"):
        await tokens.token(b"{}")
    assert (await tokens.token(b"{}")).reveal() == "t"


async def test_no_more_tokens_are_kept_than_there_is_room_for():
    tokens = Tokens(lambda claims, now: Secret("t"), 300)
    tokens._kept.update({str(i).encode(): (Secret("t"), 0.0) for i in range(MOST)})
    await tokens.token(b"{}")
    assert len(tokens._kept) == MOST


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"signingKey": f"not a key {BODY}"}, "not a private key that can be read"),
        ({"signingKey": pem(EC, b"lock")}, "not a private key that can be read"),
        ({"alg": "RS256"}, "of another kind"),
        ({"alg": "ES384"}, "of another kind"),
        ({"alg": "EdDSA"}, "of another kind"),
        ({"signingKey": pem(rsa.generate_private_key(65537, 1024)), "alg": "RS256"}, "too short"),
        ({"signingKey": pem(ec.generate_private_key(ec.SECP256K1()))}, "of another kind"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_without_a_word_of_it(config, says):
    with pytest.raises(ConfigError) as told:
        credential(**config)
    assert says in str(told.value)
    assert ".signingKey" in told.value.path
    assert BODY not in str(told.value)


@pytest.mark.parametrize(
    "config",
    [
        *({"alg": alg} for alg in ("HS256", "none", "rs256")),
        *({"ttl": ttl} for ttl in ("5s", "25h", "0")),
        *({"claims": {name: "1"}} for name in ("exp", "iat")),
        *({"kid": ""}, {"location": {}}, {"claims": {"a": ""}}, {"signingKey": ""}),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(config):
    with pytest.raises((ConfigError, ValidationError)) as told:
        credential(**config)
    assert BODY not in str(told.value)


def test_an_expression_that_does_not_compile_is_refused():
    with pytest.raises(ConfigError):
        credential(claims={"sub": "1 +"})


def test_importing_it_imports_nothing_heavy():
    source = "import agentgateway_auth_jwtsign.plugin, sys; print('jwt' in sys.modules, 'cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


async def test_the_log_never_has_the_key_or_a_token(caplog):
    with caplog.at_level(logging.DEBUG):
        token = await shown(credential(claims={"sub": "jwt.sub"}))
    assert BODY not in caplog.text
    assert token not in caplog.text
