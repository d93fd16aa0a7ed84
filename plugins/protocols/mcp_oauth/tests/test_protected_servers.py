"""What the gateway finds out about a protected server, what it asks for there, and where it does not go."""

import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from agentgateway_mcp.logins import LoginRequired
from agentgateway_mcp_oauth.demand import Demand, demand, scopes_in
from agentgateway_mcp_oauth.outbound import ProviderFailed
from agentgateway_mcp_oauth.protected import documents_of
from agentgateway_mcp_oauth.reach import Reach

from agentgateway.exchange import Headers
from agentgateway.testing.upstreams import reply

from .protected_server import GATEWAY, OPENID, RESOURCE, SERVER, User

HOME = "https://mcp.example.com"


def query(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query))


# --- where metadata is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("challenge", "place", "looked"),
    [
        ('Bearer resource_metadata="{url}/custom.json"', "/custom.json", ["/custom.json"]),
        ("Bearer", RESOURCE + "/mcp", [RESOURCE + "/mcp"]),
        ("Bearer", RESOURCE, [RESOURCE + "/mcp", RESOURCE]),
        ('Bearer resource_metadata="{url}/gone"', RESOURCE, ["/gone", RESOURCE + "/mcp", RESOURCE]),
    ],
)
async def test_the_resources_metadata_is_looked_for_where_the_server_says_then_at_its_path_then_at_its_root(
    user, world, challenge, place, looked
):
    world.challenge, world.places["resource"] = challenge, place
    await (await user()).log_in()
    assert [target for target in world.targets() if target == place or target in looked] == looked


@pytest.mark.parametrize(
    ("path", "place", "looked"),
    [
        ("", SERVER, [SERVER]),
        ("", OPENID, [SERVER, OPENID]),
        ("/tenant", SERVER + "/tenant", [SERVER + "/tenant"]),
        ("/tenant", OPENID + "/tenant", [SERVER + "/tenant", OPENID + "/tenant"]),
        ("/tenant", "/tenant" + OPENID, [SERVER + "/tenant", OPENID + "/tenant", "/tenant" + OPENID]),
    ],
)
async def test_the_authorization_servers_metadata_is_looked_for_in_the_order_of_the_specification(
    user, world, path, place, looked
):
    world.issuer_path, world.places["server"] = path, place
    assert (await (await user()).log_in()).status == 200
    assert [target for target in world.targets() if "openid" in target or SERVER in target] == looked


def test_the_metadata_of_an_issuer_has_three_places():
    assert documents_of(HOME + "/a/") == [HOME + SERVER + "/a", HOME + OPENID + "/a", HOME + "/a" + OPENID]


@pytest.mark.parametrize("metadata", [True, False])
async def test_a_server_of_2025_03_26_is_its_own_authorization_server(user, world, metadata):
    world.challenge, world.places = "Bearer", {"server": SERVER} if metadata else {}
    world.iss = None
    world.metadata["authorization_response_iss_parameter_supported"] = None
    ada = await user()
    assert (await ada.log_in()).status == 200
    assert (await ada.call())[0] == 200
    assert world.forms()[0]["resource"] == world.url + "/mcp"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_cannot_be_read_now_is_not_taken_for_missing(user, world, status):
    world.places = {}
    world.broken[RESOURCE] = reply(status, {})
    with pytest.raises(ProviderFailed):
        await (await user()).call()
    assert world.targets("/.well-known") == [RESOURCE + "/mcp", RESOURCE]


# --- what it must say -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "about",
    [
        {"resource": "https://evil.example.com/mcp"},
        {"resource": None},
        {"resource": "{url}/mcp/deeper"},
        {"resource": "{url}/mc"},
        {"resource": "{url}/mcp?x=1"},
        {"authorization_servers": None},
        {"authorization_servers": []},
        {"authorization_servers": [7]},
        {"authorization_servers": ["http://login.example.com"]},
        {"authorization_servers": ["file:///etc/passwd"]},
    ],
)
async def test_metadata_of_another_resource_or_of_nobody_logs_nobody_in(user, world, about):
    text = json.dumps(about).replace("{url}", world.url)
    world.about = json.loads(text)
    with pytest.raises(ProviderFailed):
        await (await user()).call()
    assert world.targets("/register") == world.targets(SERVER) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example.com"},
        {"issuer": None},
        {"issuer": "{url}/tenant"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://login.example.com/authorize"},
        {"authorization_endpoint": "https://user@login.example.com/authorize"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"token_endpoint": None},
        {"registration_endpoint": "http://login.example.com/register"},
        {"code_challenge_methods_supported": None},
        {"code_challenge_methods_supported": ["plain"]},
    ],
)
async def test_an_authorization_server_that_is_another_or_knows_no_pkce_is_not_used(user, world, metadata):
    world.metadata = json.loads(json.dumps(metadata).replace("{url}", world.url))
    with pytest.raises(ProviderFailed):
        await (await user()).call()
    assert world.targets("/register") == world.forms() == []


async def test_a_resource_above_the_endpoint_is_asked_for_as_it_is_spelled(user, world):
    world.about["resource"] = world.url
    ada = await user()
    location = await ada.follow(await ada.link())
    assert query(location)["resource"] == world.url
    await ada.visit(world.authorize(location))
    assert world.forms()[0]["resource"] == world.url


async def test_redirects_are_not_followed(user, world):
    world.answers = [reply(307, {}, headers={"location": world.url + "/elsewhere"})]
    ada = await user()
    assert (await ada.log_in()).status == 502
    assert world.targets("/elsewhere") == []


async def test_what_failed_is_not_tried_for_every_message(user, world):
    world.about["resource"] = "https://evil.example.com"
    ada = await user()
    for _ in range(3):
        with pytest.raises(ProviderFailed) as caught:
            await ada.call()
    assert "evil" not in caught.value.message + caught.value.detail
    assert len(world.targets(RESOURCE)) == 1


# --- whom the gateway is there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "basic", "secret"),
    [("client_secret_basic", True, False), ("client_secret_post", False, True), ("none", False, False)],
)
async def test_it_registers_and_shows_who_it_is_as_the_authorization_server_wants_it(
    user, world, method, basic, secret
):
    world.metadata["token_endpoint_auth_methods_supported"] = [method]
    world.registered = {"client_secret": "s:ecret", "token_endpoint_auth_method": method}
    ada = await user()
    assert (await ada.log_in()).status == 200
    asked = next(one for one in world.asked if one.target == "/register").json()
    assert asked == {
        "client_name": "agentgateway",
        "redirect_uris": [f"http://{GATEWAY}/mcp/oauth/tools/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native",
    }
    shown = next(one for one in world.asked if one.target == "/token").headers.get("authorization", "")
    assert shown.startswith("Basic ") == basic
    assert ("client_secret" in world.forms()[0], "client_id" in world.forms()[0]) == (secret, not basic)


@pytest.mark.parametrize(
    "registered",
    [
        {"client_id": None},
        {"client_id": "line\nbreak"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"client_secret": "x", "token_endpoint_auth_method": "client_secret_post", "client_secret_expires_at": 1},
    ],
)
async def test_a_registration_that_is_of_no_use_is_not_used(user, world, registered):
    world.registered = registered
    ada = await user()
    got = await ada.visit(await ada.link(), "POST", f"http://{GATEWAY}")
    assert got.status == 502


async def test_a_public_gateway_is_a_web_application(user, world):
    ada = await user(publicUrl="https://gateway.example.com/mcp", clientName="Acme")
    await ada.follow(await ada.link())
    asked = next(one for one in world.asked if one.target == "/register").json()
    assert (asked["application_type"], asked["client_name"]) == ("web", "Acme")


async def test_it_is_the_client_that_the_configuration_names(user, world):
    world.metadata |= {"registration_endpoint": None, "token_endpoint_auth_methods_supported": ["client_secret_post"]}
    ada = await user(issuer=world.issuer, clientId="gateway", clientSecret="canary")
    assert (await ada.log_in()).status == 200
    assert (world.forms()[0]["client_id"], world.forms()[0]["client_secret"]) == ("gateway", "canary")
    world.metadata["token_endpoint_auth_methods_supported"] = None
    again = User((await user(issuer=world.issuer, clientId="gateway", clientSecret="canary")).login, world, "eve")
    await again.log_in()
    assert "client_secret" not in world.forms()[1]


async def test_the_configured_client_is_known_to_its_own_authorization_server_alone(user, world):
    ada = await user(issuer="https://login.example.com", clientId="gateway", clientSecret="canary")
    with pytest.raises(ProviderFailed):
        await ada.call()
    assert world.targets(SERVER) == []
    world.challenge, world.places = "Bearer", {}
    eve = User((await user(issuer="https://login.example.com", clientId="gateway")).login, world, "eve")
    with pytest.raises(ProviderFailed):
        await eve.call()


async def test_it_is_a_document_where_the_authorization_server_reads_those(user, world):
    world.metadata["client_id_metadata_document_supported"] = True
    ada = await user(publicUrl="https://gateway.example.com/mcp")
    location = await ada.follow(await ada.link())
    where = "https://gateway.example.com/mcp/oauth/tools/client.json"
    assert query(location)["client_id"] == where
    document = json.loads((await ada.visit(where)).body)
    assert (document["client_id"], document["token_endpoint_auth_method"]) == (where, "none")
    assert document["redirect_uris"] == [query(location)["redirect_uri"]]
    await ada.visit(world.authorize(location))
    assert (await ada.call())[0] == 200
    assert world.forms()[0]["client_id"] == where and world.targets("/register") == []


async def test_the_document_may_be_elsewhere(user, world):
    world.metadata["client_id_metadata_document_supported"] = True
    ada = await user(clientMetadataUrl="https://acme.example.com/client.json")
    assert query(await ada.follow(await ada.link()))["client_id"] == "https://acme.example.com/client.json"
    assert (await ada.visit(f"http://{GATEWAY}/mcp/oauth/tools/client.json")).status == 404


async def test_without_https_there_is_no_document(user, world):
    world.metadata["client_id_metadata_document_supported"] = True
    ada = await user()
    assert query(await ada.follow(await ada.link()))["client_id"] == "client-1"


async def test_where_nobody_is_registered_nobody_logs_in(user, world):
    world.metadata["registration_endpoint"] = None
    ada = await user()
    assert (await ada.visit(await ada.link(), "POST", f"http://{GATEWAY}")).status == 502


async def test_what_one_authorization_server_gave_is_not_shown_to_another(user, world):
    world.registered = {"client_id": "of-the-first", "client_secret": "canary-first"}
    world.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    ada = await user()
    await ada.log_in()
    before = len(world.asked)
    world.issuer_path, world.places["server"] = "/second", SERVER + "/second"
    world.registered = {"client_id": "of-the-second", "client_secret": "canary-second"}
    world.scopes.clear()
    await ada.log_in()
    assert (await ada.call())[0] == 200
    later = world.asked[before + 1 :]  # the first message still shows the token that is refused
    told = "".join(f"{one.target} {one.headers} {one.body!r}" for one in later)
    assert "of-the-second" in told
    assert [one for one in ("of-the-first", "canary-first", "canary-access-1", "canary-refresh-1") if one in told] == []


# --- scopes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("challenge", "about", "metadata", "configured", "asked"),
    [
        (', scope="read write"', ["all"], None, None, "read write"),
        ("", ["read", "all"], None, None, "read all"),
        ("", None, ["read"], None, None),
        ("", [], ["offline_access"], None, None),
        (', scope="read"', None, ["read", "offline_access"], None, "read offline_access"),
        (', scope="read"', None, ["read"], None, "read"),
        (', scope="read"', ["all"], ["offline_access"], ["mine"], "mine"),
        (', scope="read"', ["all"], ["offline_access"], [], None),
    ],
)
async def test_scopes_are_what_the_server_asks_for_else_all_it_has_else_none(
    user, world, challenge, about, metadata, configured, asked
):
    world.challenge += challenge
    world.about["scopes_supported"], world.metadata["scopes_supported"] = about, metadata
    ada = await user(**({"scopes": configured} if configured is not None else {}))
    sent = query(await ada.follow(await ada.link()))
    assert sent.get("scope") == asked
    assert sent.get("prompt") == ("consent" if "offline_access" in (asked or "") else None)


# --- challenges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bearer", Demand(401)),
        ("", Demand(401)),
        ('Basic realm="x", Bearer scope="a b", error=invalid_token', Demand(401, None, ("a", "b"), "invalid_token")),
        ('bearer realm="a, Bearer scope=x", resource_metadata="https://x/y"', Demand(401, "https://x/y")),
        ('Bearer scope="a"  , scope="b", Digest nonce="n"', Demand(401, None, ("a",))),
        ('Bearer scope=""', Demand(401, None, ())),
        ('Bearer scope="a\\"b c"', Demand(401, None, ("c",))),
        ("Bearer " + "x" * 9000 + ', scope="a"', Demand(401)),
        ("Bearer scope", Demand(401)),
        ('BearerX scope="a"', Demand(401)),
    ],
)
def test_a_challenge_is_read_as_it_is_meant(value, expected):
    assert demand(401, Headers.of({"www-authenticate": value})) == expected


def test_scopes_are_words():
    assert scopes_in("a  b a \x00 é") == ("a", "b")
    assert scopes_in(None) == ()


# --- where it does not go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "remote", "near", "here"),
    [
        ("https://login.example.com/x", True, True, True),
        ("http://login.example.com/x", False, False, False),
        ("https://127.0.0.1/x", False, True, True),
        ("https://[::1]/x", False, True, True),
        ("https://[::ffff:10.0.0.1]/x", False, True, True),
        ("https://10.0.0.1/x", False, True, True),
        ("https://169.254.169.254/latest", False, True, True),
        ("http://169.254.169.254/latest", False, False, False),
        ("https://2130706433/x", False, True, True),
        ("https://0x7f.1/x", False, True, True),
        ("https://127.1/x", False, True, True),
        ("https://localhost/x", False, True, True),
        ("https://LOCALHOST./x", False, True, True),
        ("http://localhost:3000/x", False, False, True),
        ("http://127.0.0.1:3000/x", False, False, True),
        ("https://a.localhost/x", False, True, True),
        ("https://user@login.example.com/x", False, False, False),
        ("https://login.example.com/x#y", False, False, False),
        ("https://login.example.com\\@evil/x", False, False, False),
        ("https://login.example.com/\nx", False, False, False),
        ("https:///x", False, False, False),
        ("file:///etc/passwd", False, False, False),
        ("javascript:alert(1)", False, False, False),
        ("https://login.example.com/" + "x" * 3000, False, False, False),
        ("https://login.example.com:port/", False, False, False),
        (None, False, False, False),
        (["https://login.example.com"], False, False, False),
    ],
)
def test_a_server_sends_the_gateway_no_further_in_than_it_is_itself(url, remote, near, here):
    reaches = [Reach(server)._reaches(url) if isinstance(url, str) else False for server in SERVERS]
    assert reaches == [remote, near, here]
    for server, reached in zip(SERVERS, reaches, strict=True):
        if not reached:
            with pytest.raises(ProviderFailed) as caught:
                Reach(server).checked(url, "thing")
            assert str(url) not in caught.value.detail


SERVERS = ("https://mcp.example.com/mcp", "https://10.1.2.3/mcp", "http://localhost:8000/mcp")


def test_what_the_operator_names_is_in_reach():
    reach = Reach("https://mcp.example.com/mcp", "http://127.0.0.1:9000/realms/x")
    assert reach.checked("http://127.0.0.1:9000/token", "thing") == "http://127.0.0.1:9000/token"
    with pytest.raises(ProviderFailed):
        reach.checked("http://127.0.0.1:9001/token", "thing")


async def test_only_who_is_asked_to_logs_in(user, world):
    with pytest.raises(LoginRequired) as caught:
        await (await user()).call()
    assert "ticket" not in str(caught.value) and "ticket" not in repr(caught.value)
