"""API keys: who holds one, what it allows, and that it is never seen again."""

import gc
import hashlib
import logging

import pytest
from pydantic import TypeAdapter, ValidationError

from agentgateway.errors import ConfigError, Forbidden, Unauthenticated
from agentgateway.exchange import Content
from agentgateway.expressions import compile
from agentgateway.testing import LoopbackHost, PolicyContract, chat, http, make, run_phase
from agentgateway.variables import environment

CANARY = "canary-8c1f2e"
HASHED = "sha256:" + hashlib.sha256(b"hashed-key").hexdigest()


class Asked(Content):
    """A model call, as far as this policy looks."""

    def __init__(self, model: str) -> None:
        self.model = model


def auth(*keys, **config):
    return make("agentgateway.policies", "apiKey", {"keys": list(keys) or [{"key": CANARY}], **config})


def bearer(key: str, target: str = "/", **headers: str):
    return http("GET", target, headers={"authorization": f"Bearer {key}", **headers})


async def may_call(policy, exchange, model: str):
    await run_phase(policy, "authn", exchange)
    exchange.call = Asked(model)
    await run_phase(policy, "authz", exchange)


class TestContract(PolicyContract):
    name = "apiKey"
    config = {"keys": [{"key": CANARY, "metadata": {"user": "ada"}}]}
    levels = ("gateway", "route")


# --- who is asking ----------------------------------------------------------------------------------------------------


async def test_a_valid_key_establishes_its_holder_and_leaves_the_request():
    exchange = bearer(CANARY, accept="*/*")
    await run_phase(auth({"key": CANARY, "metadata": {"user": "ada", "team": "x"}}), "authn", exchange)
    assert exchange.principal is exchange.identities["apiKey"]
    assert exchange.principal.kind == "apiKey"
    assert exchange.principal.name == "ada"
    assert exchange.principal.models is None
    assert exchange.principal.credential.reveal() == CANARY
    assert "authorization" not in exchange.request.headers
    assert exchange.request.headers.get("accept") == "*/*"


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"name": "n", "user": "u"}, "n"),
        ({"user": "u", "id": "i"}, "u"),
        ({"id": "i"}, "i"),
        ({"id": 7}, "keys[0]"),
        ({}, "keys[0]"),
    ],
)
async def test_the_holder_is_named_by_the_metadata_or_by_the_place_of_the_key(metadata, name):
    exchange = bearer(CANARY)
    await run_phase(auth({"key": CANARY, "metadata": metadata}), "authn", exchange)
    assert exchange.principal.name == name


@pytest.mark.parametrize("written", [HASHED, HASHED.upper().replace("SHA256", "sha256")])
async def test_a_key_may_be_configured_by_its_hash(written):
    exchange = bearer("hashed-key")
    await run_phase(auth({"keyHash": written}), "authn", exchange)
    assert exchange.principal is not None


async def test_the_hash_itself_is_no_key():
    with pytest.raises(Unauthenticated):
        await run_phase(auth({"keyHash": HASHED}), "authn", bearer(HASHED))


async def test_a_key_may_stand_in_a_file(tmp_path):
    (tmp_path / "key").write_text("from-a-file\n")
    policy = make("agentgateway.policies", "apiKey", {"keys": [{"key": {"file": "key"}}]}, folder=tmp_path)
    exchange = bearer("from-a-file")
    await run_phase(policy, "authn", exchange)
    assert exchange.principal is not None


async def test_one_key_among_many_is_found():
    exchange = bearer("key-77")
    await run_phase(auth(*({"key": f"key-{i}", "metadata": {"n": i}} for i in range(100))), "authn", exchange)
    assert exchange.principal.claims["n"] == 77


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["optional", "permissive"])
async def test_anybody_may_pass_without_a_key_where_it_is_not_required(mode):
    exchange = http()
    await run_phase(auth(mode=mode), "authn", exchange)
    assert exchange.principal is None


async def test_strict_refuses_a_missing_key():
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(auth(mode="strict"), "authn", http())
    assert (caught.value.status, caught.value.reason) == (401, "APIKeyAuth")
    assert ("www-authenticate", "Bearer") in caught.value.headers


async def test_the_mode_is_optional_when_left_out():
    await run_phase(auth(), "authn", http())


@pytest.mark.parametrize("mode", ["strict", "optional"])
@pytest.mark.parametrize("key", ["wrong", CANARY[:-1], CANARY + "x", CANARY.upper(), "é", "x" * 60_000, "' OR 1=1 --"])
async def test_a_wrong_key_is_refused(mode, key):
    exchange = bearer(key)
    with pytest.raises(Unauthenticated) as caught:
        await run_phase(auth(mode=mode), "authn", exchange)
    assert (caught.value.status, caught.value.reason) == (401, "APIKeyAuth")
    assert key not in f"{caught.value!r} {caught.value} {caught.value.detail}"
    assert exchange.principal is None


async def test_a_refused_key_does_not_stay_in_the_request_for_the_log():
    exchange = http("GET", "/p?key=wrong-one&x=1")
    with pytest.raises(Unauthenticated):
        await run_phase(auth(location={"queryParameter": {"name": "key"}}), "authn", exchange)
    assert exchange.request.target == "/p?x=1"


async def test_permissive_forwards_a_wrong_key_as_it_came():
    exchange = bearer("meant-for-the-upstream")
    await run_phase(auth(mode="permissive"), "authn", exchange)
    assert exchange.principal is None
    assert exchange.request.headers.get("authorization") == "Bearer meant-for-the-upstream"


async def test_permissive_knows_a_valid_key():
    exchange = bearer(CANARY)
    await run_phase(auth(mode="permissive"), "authn", exchange)
    assert exchange.principal is not None


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["x-api-key", "x-goog-api-key"])
async def test_headers_of_vendors_sdks_are_read_by_default_as_well(header):
    exchange = http(headers={header: CANARY})
    await run_phase(auth(mode="strict"), "authn", exchange)
    assert exchange.principal is not None
    assert header not in exchange.request.headers


async def test_a_key_sent_twice_is_removed_twice():
    exchange = bearer(CANARY, **{"x-api-key": CANARY})
    await run_phase(auth(), "authn", exchange)
    assert CANARY not in str(list(exchange.request.headers))


async def test_a_second_credential_that_is_no_key_of_ours_is_left_for_the_upstream():
    exchange = bearer("vendor-token", **{"x-api-key": CANARY})
    await run_phase(auth(mode="strict"), "authn", exchange)
    assert exchange.principal is not None
    assert exchange.request.headers.get("authorization") == "Bearer vendor-token"


async def test_of_two_valid_keys_the_one_in_authorization_says_who_it_is():
    policy = auth({"key": "a", "metadata": {"user": "ada"}}, {"key": "b", "metadata": {"user": "bob"}})
    for headers in ({"x-api-key": "b", "authorization": "Bearer a"}, {"authorization": "Bearer a", "x-api-key": "b"}):
        exchange = http(headers=headers)
        await run_phase(policy, "authn", exchange)
        assert (exchange.principal.name, exchange.principal.credential.reveal()) == ("ada", "a")
        assert [name for name, _ in exchange.request.headers] == ["host"]


@pytest.mark.parametrize("mode", ["strict", "optional"])
async def test_two_wrong_keys_are_both_taken_out_of_a_refused_request(mode):
    exchange = bearer("wrong", **{"x-api-key": "wrong-too"})
    with pytest.raises(Unauthenticated):
        await run_phase(auth(mode=mode), "authn", exchange)
    assert [name for name, _ in exchange.request.headers] == ["host"]


async def test_a_configured_location_is_the_only_one():
    policy = auth(mode="strict", location={"header": {"name": "X-Key"}})
    exchange = http(headers={"x-key": CANARY})
    await run_phase(policy, "authn", exchange)
    assert exchange.principal is not None
    with pytest.raises(Unauthenticated):
        await run_phase(policy, "authn", bearer(CANARY))


async def test_a_key_in_the_query_is_removed_from_the_target():
    exchange = http("GET", f"/v1/models?a=1&key={CANARY}")
    await run_phase(auth(location={"queryParameter": {"name": "key"}}), "authn", exchange)
    assert exchange.principal is not None
    assert (exchange.request.target, exchange.request.query) == ("/v1/models?a=1", "a=1")


async def test_a_key_in_a_cookie_is_removed_from_the_cookies():
    exchange = http(headers={"cookie": f"a=1; key={CANARY}"})
    await run_phase(auth(location={"cookie": {"name": "key"}}), "authn", exchange)
    assert exchange.principal is not None
    assert exchange.request.headers.get("cookie") == "a=1"


async def test_a_key_may_be_found_by_an_expression():
    exchange = http(headers={"x-key": f"v1.{CANARY}"})
    await run_phase(auth(location={"expression": 'request.headers["x-key"].substring(3)'}), "authn", exchange)
    assert exchange.principal is not None


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "model"),
    [
        (["gpt-5"], "gpt-5"),
        (["gpt-5", "claude-*"], "claude-opus"),
        (["claude-*"], "claude-"),
        (["*-mini"], "gpt-5-mini"),
        (["*"], "anything"),
    ],
)
async def test_an_allowed_model_may_be_called(allowed, model):
    await may_call(auth({"key": CANARY, "allowedModels": allowed}), bearer(CANARY), model)


@pytest.mark.parametrize(
    ("allowed", "model"),
    [
        (["gpt-5"], "gpt-5-mini"),
        (["gpt-5"], "GPT-5"),
        (["gpt-5"], ""),
        (["claude-*"], "my-claude-opus"),
        (["*-mini"], "gpt-5-minimal"),
        ([], "gpt-5"),
        ([], ""),
    ],
)
async def test_any_other_model_is_forbidden(allowed, model):
    with pytest.raises(Forbidden) as caught:
        await may_call(auth({"key": CANARY, "allowedModels": allowed}), bearer(CANARY), model)
    assert (caught.value.status, caught.value.code) == (403, "model_not_allowed")


async def test_a_key_without_a_list_may_call_every_model():
    await may_call(auth(), bearer(CANARY), "anything")


async def test_who_has_no_key_is_not_limited_by_one():
    await may_call(auth(), http(), "anything")


async def test_the_model_of_a_real_call_is_the_one_that_counts():
    policy = auth({"key": CANARY, "allowedModels": ["gpt-5"]})
    for model, passes in (("gpt-5", True), ("gpt-4", False)):
        exchange = chat(model=model, headers={"authorization": f"Bearer {CANARY}"})
        await run_phase(policy, "authn", exchange)
        if passes:
            await run_phase(policy, "authz", exchange)
        else:
            with pytest.raises(Forbidden):
                await run_phase(policy, "authz", exchange)


async def test_a_request_that_is_no_model_call_is_not_limited():
    exchange = bearer(CANARY)
    policy = auth({"key": CANARY, "allowedModels": ["gpt-5"]})
    await run_phase(policy, "authn", exchange)
    await run_phase(policy, "authz", exchange)


async def test_the_allowed_models_are_known_to_later_policies():
    exchange = bearer(CANARY)
    await run_phase(auth({"key": CANARY, "allowedModels": ["gpt-5", "claude-*"]}), "authn", exchange)
    assert exchange.principal.models == ("gpt-5", "claude-*")


# --- expressions ------------------------------------------------------------------------------------------------------


async def test_expressions_read_the_metadata_and_never_the_key():
    exchange = bearer(CANARY)
    await run_phase(auth({"key": CANARY, "metadata": {"team": "x", "key": "mine"}}), "authn", exchange)
    assert compile("apiKey.team", environment()).value(exchange) == "x"
    assert compile("apiKey.key", environment()).value(exchange) == "***"


def test_expressions_see_no_key_where_there_is_none():
    assert compile("has(apiKey.team)", environment()).value(http()) is False


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [{}],
        [{"key": ""}],
        [{"key": CANARY, "keyHash": HASHED}],
        [{"key": f"{CANARY} x"}],
        [{"key": f"{CANARY}é"}],
        [{"keyHash": f"md5:{CANARY}"}],
        [{"keyHash": "sha256:abc"}],
        [{"key": CANARY, "allowedModels": ["a*b"]}],
        [{"key": CANARY, "allowedModels": ["*a*"]}],
        [{"key": CANARY, "allowedModels": [""]}],
        [{"key": CANARY, "allowedModels": ["*", "gpt-5"]}],
        [{"key": CANARY, "allowed": []}],
    ],
)
def test_a_wrong_key_entry_is_refused_without_being_quoted(keys):
    with pytest.raises(ValidationError) as caught:
        auth(*keys, **({"keys": []} if not keys else {}))
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "twice", [[{"key": CANARY}, {"key": "b"}, {"key": CANARY}], [{"key": "hashed-key"}, {"keyHash": HASHED}]]
)
def test_the_same_key_twice_stops_the_start_and_says_where(twice):
    with pytest.raises(ConfigError) as caught:
        auth(*twice)
    assert caught.value.path == f"test.keys[{len(twice) - 1}]"
    assert "keys[0]" in str(caught.value)
    assert CANARY not in str(caught.value)


# --- nothing shows the key --------------------------------------------------------------------------------------------


async def test_nothing_shows_the_key(caplog):
    caplog.set_level(logging.DEBUG)
    policy = auth({"key": CANARY, "metadata": {"user": "ada"}})
    exchange = bearer(CANARY)
    await run_phase(policy, "authn", exchange)
    shown = [
        repr(policy),
        str(vars(policy)),
        repr(policy.config),
        str(policy.config.model_dump()),
        policy.config.model_dump_json(),
        repr(exchange),
        repr(exchange.principal),
        str(exchange.principal.claims),
        caplog.text,
    ]
    assert CANARY not in "\n".join(shown)


async def test_the_policy_keeps_no_copy_of_the_key():
    policy = auth()
    await run_phase(policy, "authn", bearer(CANARY))
    assert not any(CANARY.encode() in bytes(str(value), "utf-8") for value in (policy._holders, policy.config))
    assert policy.config.keys[0].key.value == hashlib.sha256(CANARY.encode()).digest()


async def test_the_key_lives_as_long_as_the_request_and_no_longer():
    policy, exchange = auth(), bearer(CANARY)
    await run_phase(policy, "authn", exchange)
    (holder,) = gc.get_referrers(exchange.principal.credential)
    assert holder is exchange.principal


def test_the_digest_is_not_shown_either():
    config = auth({"keyHash": HASHED}).config
    assert HASHED.removeprefix("sha256:") not in repr(config) + config.model_dump_json()


def test_the_schema_marks_the_key_as_write_only_and_shows_none():
    schema = TypeAdapter(type(auth().config)).json_schema()
    assert schema["$defs"]["ApiKey"]["properties"]["key"]["anyOf"][0]["writeOnly"] is True
    assert CANARY not in str(schema)


def test_it_reads_its_expression_through_the_host():
    with pytest.raises(ConfigError):
        make(
            "agentgateway.policies",
            "apiKey",
            {"keys": [{"key": "a"}], "location": {"expression": "nope"}},
            LoopbackHost(),
        )
