"""What the gateway shows upstreams."""

import inspect
import logging

import pytest
from pydantic import TypeAdapter, ValidationError

from agentgateway.errors import ConfigError, InternalError
from agentgateway.exchange import Headers, Outgoing, Principal
from agentgateway.interfaces import Credential
from agentgateway.settings import Secret
from agentgateway.testing import CredentialContract, LoopbackHost, PolicyContract, http, make, run_phase

CANARY = "canary-8c1f2e"
HEADER = {"header": {"name": "X-Key"}}


class TestPolicyContract(PolicyContract):
    name = "backendAuth"
    config = {"key": CANARY}
    levels = ("gateway", "route", "backend")


class TestKeyContract(CredentialContract):
    name = "key"
    config = {"value": CANARY}

    def test_it_puts_its_secret_in_the_header(self):
        exchange = sending()
        self.build().apply(exchange)
        assert exchange.outgoing.headers.get("authorization") == f"Bearer {CANARY}"


class TestPassthroughContract(CredentialContract):
    name = "passthrough"
    config = {}

    async def test_it_never_shows_its_secret(self):
        """It has none: what it passes on belongs to the exchange."""
        assert vars(self.build().config) == {"location": None}


def auth(host: LoopbackHost | None = None, **config):
    return make("agentgateway.policies", "backendAuth", config, host)


def sending(target: str = "/", **headers: str):
    exchange = http("POST", target)
    fields = Headers.of({name.replace("_", "-"): value for name, value in headers.items()})
    exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", target, fields)
    return exchange


async def sent(policy, exchange) -> Outgoing:
    await run_phase(policy, "upstream", exchange)
    return exchange.outgoing


# --- key --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [CANARY, {"value": CANARY}])
async def test_a_key_goes_into_authorization_in_place_of_the_clients(written):
    outgoing = await sent(auth(key=written), sending(authorization="Bearer client", accept="*/*"))
    assert outgoing.headers.all("authorization") == [f"Bearer {CANARY}"]
    assert outgoing.headers.get("accept") == "*/*"


async def test_a_provider_may_move_a_key_that_has_no_place_of_its_own():
    assert (await sent(auth(key=CANARY), sending())).pinned == set()


async def test_a_key_may_stand_in_a_file(tmp_path):
    (tmp_path / "key").write_text(f"{CANARY}\n")

    class InFolder(LoopbackHost):
        def build(self, group, name, config, at):
            return make(group, name, config, self, folder=tmp_path)

    for written in ({"file": "key"}, {"value": {"file": "key"}}):
        outgoing = await sent(auth(InFolder(), key=written), sending())
        assert outgoing.headers.get("authorization") == f"Bearer {CANARY}"


async def test_a_key_with_a_place_of_its_own_stays_there():
    outgoing = await sent(auth(key={"value": CANARY, "location": HEADER}), sending(authorization="Bearer client"))
    assert outgoing.headers.get("x-key") == CANARY
    assert outgoing.headers.get("authorization") == "Bearer client"
    assert outgoing.pinned == {"x-key"}


async def test_authorization_named_as_the_place_is_pinned_as_well():
    location = {"header": {"name": "authorization", "prefix": "Bearer "}}
    outgoing = await sent(auth(key={"value": CANARY, "location": location}), sending())
    assert outgoing.headers.get("authorization") == f"Bearer {CANARY}"
    assert outgoing.pinned == {"authorization"}


async def test_a_key_may_go_into_the_query():
    location = {"queryParameter": {"name": "key"}}
    outgoing = await sent(auth(key={"value": "a&b", "location": location}), sending("/p?key=client&x=1"))
    assert outgoing.target == "/p?x=1&key=a%26b"


async def test_a_key_may_go_into_a_cookie():
    outgoing = await sent(
        auth(key={"value": CANARY, "location": {"cookie": {"name": "s"}}}), sending(cookie="a=1; s=x")
    )
    assert outgoing.headers.get("cookie") == f"a=1; s={CANARY}"


# --- passthrough ------------------------------------------------------------------------------------------------------


def recognised(*kinds: str, **headers: str):
    exchange = sending(**headers)
    for kind in kinds:
        exchange.establish(Principal(kind, "ada", credential=Secret(f"{kind}-credential")))
    return exchange


@pytest.mark.parametrize(
    ("kinds", "passed"),
    [
        (["jwt"], "jwt-credential"),
        (["apiKey"], "apiKey-credential"),
        (["jwt", "apiKey"], "jwt-credential"),
        (["apiKey", "jwt"], "jwt-credential"),
        (["basic", "apiKey"], "apiKey-credential"),
    ],
)
async def test_the_callers_credential_is_put_back(kinds, passed):
    outgoing = await sent(auth(passthrough={}), recognised(*kinds))
    assert outgoing.headers.all("authorization") == [f"Bearer {passed}"]
    assert outgoing.pinned == set()


async def test_the_callers_credential_may_go_elsewhere():
    outgoing = await sent(auth(passthrough={"location": HEADER}), recognised("jwt"))
    assert outgoing.headers.get("x-key") == "jwt-credential"
    assert outgoing.pinned == {"x-key"}


async def test_nobody_recognised_is_nothing_to_pass_on():
    outgoing = await sent(auth(passthrough=None), sending(accept="*/*"))
    assert list(outgoing.headers) == [("accept", "*/*")]


async def test_a_principal_without_credential_is_nothing_to_pass_on():
    exchange = sending()
    exchange.establish(Principal("jwt", "ada"))
    assert list((await sent(auth(passthrough={}), exchange)).headers) == []


async def test_a_credential_that_would_break_the_header_ends_the_attempt():
    exchange = sending()
    exchange.establish(Principal("apiKey", "ada", credential=Secret(f"{CANARY}\r\nx-admin: 1")))
    with pytest.raises(InternalError) as caught:
        await sent(auth(passthrough={}), exchange)
    assert caught.value.status == 500
    assert CANARY not in f"{caught.value!r} {caught.value.detail}"


# --- more than one ----------------------------------------------------------------------------------------------------


async def test_additional_credentials_come_after_the_main_one():
    more = [
        {"location": HEADER, "key": "second"},
        {"location": {"queryParameter": {"name": "k"}}, "key": "third"},
    ]
    outgoing = await sent(auth(key=CANARY, credentials=more), sending())
    assert outgoing.headers.get("authorization") == f"Bearer {CANARY}"
    assert outgoing.headers.get("x-key") == "second"
    assert outgoing.target == "/?k=third"


async def test_additional_credentials_may_be_all_there_is():
    assert (await sent(auth(credentials=[{"location": HEADER, "key": "only"}]), sending())).headers.get(
        "x-key"
    ) == "only"


# --- kinds of other plugins -------------------------------------------------------------------------------------------


class Fetched(Credential):
    """A kind that has to ask somebody first."""

    steps: list[str]

    def __init__(self):
        self.steps = []

    async def start(self):
        self.steps.append("start")

    async def stop(self):
        self.steps.append("stop")

    async def apply(self, exchange):
        exchange.outgoing.headers.set("authorization", "Bearer fetched")


class Signature(Credential):
    """A kind that signs."""

    signs = True

    def __init__(self):
        pass

    def apply(self, exchange):
        exchange.outgoing.headers.set("x-signature", "signed")


class Offering(LoopbackHost):
    """A host where one credential answers to every name."""

    def __init__(self, credential: Credential) -> None:
        super().__init__()
        self.credential = credential
        self.asked: list[object] = []

    def build(self, group, name, config, at):
        self.asked.append((group, name, config, at))
        return self.credential


async def test_a_kind_is_built_by_the_host_under_its_name():
    host = Offering(Signature())
    auth(host, aws={"region": "eu-west-1"})
    assert host.asked == [("agentgateway.credentials", "aws", {"region": "eu-west-1"}, "aws")]


async def test_a_kind_that_fetches_is_awaited_started_and_stopped():
    fetched = Fetched()
    policy = auth(Offering(fetched), gcp={})
    await policy.start()
    assert (await sent(policy, sending())).headers.get("authorization") == "Bearer fetched"
    await policy.stop()
    assert fetched.steps == ["start", "stop"]


@pytest.mark.parametrize(
    ("credential", "slot", "awaits"),
    [(Fetched(), "backendAuth", True), (Signature(), "backendAuth.signing", False)],
)
def test_a_kind_takes_its_slot_and_says_whether_it_waits(credential, slot, awaits):
    (participant,) = auth(Offering(credential), other={}).participants()
    assert participant.slot == slot
    assert inspect.iscoroutinefunction(participant.hooks.upstream) is awaits


def test_keys_keep_the_chain_inline():
    for participant in auth(key=CANARY, credentials=[{"location": HEADER, "key": "b"}]).participants():
        assert not inspect.iscoroutinefunction(participant.hooks.upstream)


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"key": CANARY, "passthrough": {}},
        {"credentials": []},
        {"credentials": [{"key": CANARY}]},
        {"key": ""},
        {"key": {"value": CANARY, "place": "header"}},
        {"key": {"value": CANARY, "location": {"expression": "request.path"}}},
        {"key": [CANARY]},
        {"passthrough": {"value": CANARY}},
    ],
)
def test_a_wrong_configuration_is_refused_without_quoting_the_key(config):
    with pytest.raises(ValidationError) as caught:
        auth(**config)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        f"{CANARY}\nsecond line",
        f" {CANARY}",
        f"{CANARY}\u2028",
        {"value": f"{CANARY};x", "location": {"cookie": {"name": "c"}}},
    ],
)
def test_a_key_that_its_place_cannot_carry_stops_the_start(written):
    with pytest.raises(ConfigError) as caught:
        auth(key=written)
    assert CANARY not in str(caught.value)


# --- nothing shows the key --------------------------------------------------------------------------------------------


async def test_nothing_shows_the_key(caplog):
    caplog.set_level(logging.DEBUG)
    policy = auth(key={"value": CANARY, "location": HEADER}, credentials=[{"location": HEADER, "key": f"{CANARY}-2"}])
    exchange = sending()
    await sent(policy, exchange)
    shown = [repr(policy), str(vars(policy)), repr(policy.config), repr(exchange), repr(exchange.outgoing), caplog.text]
    shown += [str(policy.config.model_dump()), policy.config.model_dump_json()]
    for part in policy.participants():
        shown += [repr(part), str(vars(part.hooks))]
        shown += [repr(part.hooks._credential.config), part.hooks._credential.config.model_dump_json()]
    assert CANARY not in "\n".join(shown)


def test_the_schema_of_a_key_is_write_only_and_offers_the_short_forms():
    schema = TypeAdapter(type(make("agentgateway.credentials", "key", "a").config)).json_schema()
    assert [shape["type"] for shape in schema["anyOf"]] == ["string", "object", "object"]
    assert schema["anyOf"][2]["properties"]["value"]["writeOnly"] is True
