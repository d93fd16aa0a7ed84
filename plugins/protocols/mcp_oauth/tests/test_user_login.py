"""Each user's own tokens: how they log in, and who may not in their place."""

import asyncio
import logging
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest
from agentgateway_mcp.logins import LoginRequired
from agentgateway_mcp_oauth import login as module
from agentgateway_mcp_oauth import user_tokens
from agentgateway_mcp_oauth.authorization import challenge
from agentgateway_mcp_oauth.login import AuthorizationCode
from agentgateway_mcp_oauth.user_config import AuthorizationCodeConfig
from pydantic import ValidationError

from agentgateway.errors import Forbidden, InternalError
from agentgateway.exchange import Principal
from agentgateway.settings import Secret
from agentgateway.testing import make
from agentgateway.testing.upstreams import reply

from .protected_server import GATEWAY, RESOURCE, User

CALLBACK = f"http://{GATEWAY}/mcp/oauth/tools/callback"


def query(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query))


async def test_a_user_logs_in_and_their_token_is_shown(user, world):
    ada = await user()
    link = await ada.link()
    assert link.startswith(f"http://{GATEWAY}/mcp/oauth/tools/start?ticket=")
    asked = await ada.visit(link)
    assert (asked.status, b"jwt:ada" in asked.body, b"<form" in asked.body) == (200, True, True)
    location = await ada.follow(link)
    assert location.startswith(f"{world.url}/authorize?")
    sent = query(location)
    assert sent == {
        "response_type": "code",
        "client_id": "client-1",
        "redirect_uri": CALLBACK,
        "state": sent["state"],
        "code_challenge": sent["code_challenge"],
        "code_challenge_method": "S256",
        "resource": world.url + "/mcp",
    }
    done = await ada.visit(world.authorize(location))
    assert (done.status, b"Logged in" in done.body) == (200, True)
    (form,) = world.forms()
    assert challenge(form.pop("code_verifier")) == sent["code_challenge"]
    assert form == {
        "grant_type": "authorization_code",
        "code": "canary-code-0",
        "redirect_uri": CALLBACK,
        "client_id": "client-1",
        "resource": world.url + "/mcp",
    }
    assert await ada.call() == (200, {"shown": "canary-access-1"})
    assert len(world.targets(RESOURCE)) == 1


async def test_the_token_of_one_user_is_not_shown_for_another(user, world):
    ada = await user()
    await ada.log_in()
    eve = User(ada.login, world, "eve")
    with pytest.raises(LoginRequired):
        await eve.call()
    await eve.log_in()
    assert await eve.call() == (200, {"shown": "canary-access-2"})
    assert await ada.call() == (200, {"shown": "canary-access-1"})
    assert len(world.targets("/register")) == 1


async def test_a_client_that_nobody_knows_is_refused(user, world):
    stranger = await user(name=None)
    with pytest.raises(Forbidden):
        await stranger.call()
    assert world.targets(RESOURCE) == []
    everybody = await user(name=None, anonymous="share")
    await everybody.log_in()
    assert (await everybody.call())[0] == 200
    with pytest.raises(Forbidden):
        await stranger.call()


async def test_what_needs_no_login_is_for_everybody(user, world):
    world.scopes[""] = ()  # a server that lets anybody in
    assert await (await user(name=None)).call() == (200, {"shown": ""})


def known(kind: str, name: str, secret: str = "", **claims: str) -> Principal:
    return Principal(kind, name, claims, None, Secret(secret) if secret else None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (known("jwt", "7", sub="7", iss="a"), known("jwt", "7", sub="7", iss="a", more="x"), True),
        (known("jwt", "7", sub="7", iss="a"), known("jwt", "7", sub="7", iss="b"), False),
        (known("jwt", "7", sub="7"), known("apiKey", "7", user="7"), False),
        (known("apiKey", "ada", "k1", user="ada"), known("apiKey", "ada", "k2", user="ada"), True),
        (known("apiKey", "keys[0]", "k1", team="x"), known("apiKey", "keys[0]", "k2", team="x"), False),
        (known("apiKey", "keys[0]", "k1"), known("apiKey", "keys[1]", "k1"), True),
    ],
)
async def test_what_two_callers_are_called_alike_is_not_who_they_are(user, world, one, other, same):
    first = await user()
    first.principal = one
    await first.log_in()
    second = User(first.login, world, principal=other)
    if same:
        assert (await second.call())[0] == 200
    else:
        with pytest.raises(LoginRequired):
            await second.call()


@pytest.mark.parametrize("nobody", [known("jwt", "", iss="a"), known("other", "made up")])
async def test_who_has_no_name_is_nobody(user, nobody):
    ada = await user()
    ada.principal = nobody
    with pytest.raises(Forbidden) as caught:
        await ada.call()
    assert not isinstance(caught.value, LoginRequired)


# --- who completes a login is who began it ----------------------------------------------------------------------------


async def test_a_link_serves_once(user, world):
    ada = await user()
    link = await ada.link()
    await ada.visit(link)
    await ada.visit(link)  # a preview of it begins nothing
    await ada.follow(link)
    again = await ada.visit(link, "POST", f"http://{GATEWAY}")
    assert (again.status, again.headers.get("set-cookie")) == (400, None)


async def test_a_link_ends(user, monkeypatch):
    ada = await user()
    monkeypatch.setattr(module, "LINK", -1.0)
    assert (await ada.visit(await ada.link())).status == 400


@pytest.mark.parametrize("spoil", [lambda link: link[:-2] + "AA", lambda link: link.partition("=")[0] + "=", str.lower])
async def test_a_link_cannot_be_made_up(user, spoil):
    ada = await user()
    assert (await ada.visit(spoil(await ada.link()))).status == 400


async def test_a_link_of_another_target_is_none(user):
    ada, other = await user(), await user(target="other")
    link = await ada.link()
    assert (await other.visit(link)).status == 400


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example.com", f"https://{GATEWAY}"])
async def test_no_other_page_can_press_the_button(user, origin):
    ada = await user()
    got = await ada.visit(await ada.link(), "POST", origin)
    assert (got.status, got.headers.get("set-cookie")) == (403, None)


async def test_a_login_ends_in_the_browser_in_which_it_began(user, world):
    ada = await user()
    back = world.authorize(await ada.follow(await ada.link()))
    victim = User(ada.login, world, "ada")
    assert (await victim.visit(back)).status == 403
    victim.cookies = dict.fromkeys(ada.cookies, "something else")
    assert (await victim.visit(back)).status == 403
    assert world.forms() == []
    assert (await ada.visit(back)).status == 200


async def test_an_answer_serves_once(user, world):
    ada = await user()
    back = world.authorize(await ada.follow(await ada.link()))
    assert [(await ada.visit(back)).status for _ in range(2)] == [200, 400]
    assert len(world.forms()) == 1


@pytest.mark.parametrize("change", ["&state=x", "&code=other", "&iss=x"])
async def test_an_answer_that_says_a_thing_twice_says_nothing(user, world, change):
    ada = await user()
    back = world.authorize(await ada.follow(await ada.link()))
    assert (await ada.visit(back + change)).status == 400
    assert world.forms() == []


async def test_pages_are_nobodys_to_frame_or_keep(user):
    ada = await user()
    asked = await ada.visit(await ada.link())
    assert asked.headers.get("cache-control") == "no-store"
    assert "frame-ancestors 'none'" in (asked.headers.get("content-security-policy") or "")
    (set_cookie,) = (await ada.visit(await ada.link(), "POST", f"http://{GATEWAY}")).headers.all("set-cookie")
    assert "HttpOnly" in set_cookie and "SameSite=Lax" in set_cookie and "Secure" not in set_cookie


async def test_pages_show_names_as_text(user):
    ada = await user(name="<script>alert(1)</script>")
    assert b"<script>" not in (await ada.visit(await ada.link())).body


async def test_there_are_no_other_pages(user):
    ada = await user()
    assert (await ada.visit(f"http://{GATEWAY}/mcp/oauth/tools/else")).status == 404
    assert (await ada.visit(f"http://{GATEWAY}/mcp/oauth/tools/client.json")).status == 404
    assert (await ada.visit(CALLBACK, "POST")).status == 405
    assert (await ada.visit(CALLBACK)).status == 400


# --- where users come back to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authority", "source"),
    [("gateway.example.com", "127.0.0.1"), (GATEWAY, "203.0.113.7"), ("", "127.0.0.1"), ("127.0.0.1@e", "127.0.0.1")],
)
async def test_an_address_that_the_client_may_have_made_up_is_not_used(user, authority, source):
    with pytest.raises(InternalError):
        await (await user(host=authority, source=source)).call()


async def test_the_public_url_is_used_wherever_clients_ask(user, world):
    ada = await user(publicUrl="https://gateway.example.com/mcp/", host="evil.example.com", source="203.0.113.7")
    link = await ada.link()
    assert link.startswith("https://gateway.example.com/mcp/oauth/tools/start?")
    got = await ada.visit(link, "POST", "https://gateway.example.com")
    assert query(got.headers.get("location"))["redirect_uri"] == (
        "https://gateway.example.com/mcp/oauth/tools/callback"
    )
    (set_cookie,) = got.headers.all("set-cookie")
    assert set_cookie.endswith("; Secure") and "Path=/mcp/oauth/tools/callback;" in set_cookie


# --- the answer's issuer (RFC 9207) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("promised", "iss", "status"),
    [
        (True, "own", 200),
        (None, None, 200),
        (None, "own", 200),
        (True, None, 400),
        (True, "https://evil.example.com", 400),
        (None, "https://evil.example.com", 400),
        (True, "normalized", 400),
    ],
)
async def test_only_its_own_authorization_server_answers(user, world, promised, iss, status):
    ada = await user()
    world.metadata["authorization_response_iss_parameter_supported"] = promised
    world.iss = world.issuer + "/" if iss == "normalized" else iss
    assert (await ada.log_in()).status == status
    assert len(world.forms()) == (status == 200)


async def test_a_user_who_does_not_agree_is_not_logged_in(user, world):
    ada = await user()
    location = await ada.follow(await ada.link())
    back = f"{CALLBACK}?error=access_denied&state={query(location)['state']}&iss={world.issuer}"
    assert (await ada.visit(back)).status == 400
    with pytest.raises(LoginRequired):
        await ada.call()


async def test_a_code_that_is_not_taken_logs_nobody_in(user, world):
    ada = await user()
    world.answers = [reply(400, {"error": "invalid_grant"})]
    assert (await ada.log_in()).status == 502
    assert (await ada.log_in()).status == 200


async def test_a_client_that_is_not_known_any_more_registers_anew(user, world):
    ada = await user()
    world.answers = [reply(401, {"error": "invalid_client"})]
    assert (await ada.log_in()).status == 502
    assert (await ada.log_in()).status == 200
    assert len(world.targets("/register")) == 2


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_near_its_end_is_refreshed_once_for_all_who_wait(user, world):
    ada = await user()
    world.lifetime = 2
    await ada.log_in()
    world.lifetime = 3600
    got = await asyncio.gather(*(ada.call() for _ in range(10)))
    assert {document["shown"] for _, document in got} == {"canary-access-2"}
    assert world.forms()[1:] == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "canary-refresh-1",
            "resource": world.url + "/mcp",
            "client_id": "client-1",
        }
    ]


async def test_of_several_workers_one_refreshes(user, world):
    workers = [await user() for _ in range(3)]
    world.lifetime = 2
    await workers[0].log_in()
    world.lifetime = 3600
    got = await asyncio.gather(*(worker.call() for worker in workers for _ in range(3)))
    assert {document["shown"] for _, document in got} == {"canary-access-2"}
    assert len(world.forms()) == 2


async def test_a_worker_that_died_over_a_refresh_holds_nobody_up(user, world, monkeypatch):
    ada = await user()
    world.lifetime = 2
    await ada.log_in()
    monkeypatch.setattr(user_tokens, "CLAIM", 0.2)
    protected, who = await ada.login._finding.known(), '["jwt","https://login.example.com","ada"]'
    held = await ada.login._tokens.held(who, protected)
    await ada.login._tokens.keep(who, protected, replace(held, claim=("somebody", held.ends)))
    monkeypatch.setattr(user_tokens.time, "time", lambda now=held.ends: now + 1)
    world.lifetime = 3600
    assert (await ada.call())[1] == {"shown": "canary-access-2"}


async def test_a_login_that_cannot_be_refreshed_begins_anew(user, world):
    ada = await user()
    world.lifetime = 2
    await ada.log_in()
    world.refresh_tokens.clear()
    with pytest.raises(LoginRequired):
        await ada.call()
    assert len(world.forms()) == 2
    with pytest.raises(LoginRequired):
        await ada.call()
    assert len(world.forms()) == 2


async def test_a_token_serves_while_its_authorization_server_is_down(user, world):
    ada = await user()
    world.lifetime = 20
    await ada.log_in()
    world.answers = [reply(503, {}), reply(503, {})]
    assert [(await ada.call())[1] for _ in range(2)] == [{"shown": "canary-access-1"}] * 2
    assert (await ada.call())[1] == {"shown": "canary-access-4"}  # the refresh token was kept


async def test_a_refused_token_is_refreshed_and_the_message_sent_once_more(user, world):
    ada = await user()
    await ada.log_in()
    world.scopes.clear()
    assert (await ada.call())[1] == {"shown": "canary-access-2"}
    assert world.forms()[1]["grant_type"] == "refresh_token"


async def test_a_refused_token_is_not_shown_again(user, world):
    world.refreshes = False
    ada = await user()
    await ada.log_in()
    world.scopes.clear()
    with pytest.raises(LoginRequired):
        await ada.call()
    with pytest.raises(LoginRequired):
        await ada.call()
    shown = [one.headers.get("authorization") for one in world.asked if one.target == "/mcp"]
    assert shown == [None, "Bearer canary-access-1", None]


async def test_a_server_that_takes_no_token_is_not_asked_for_ever(user, world):
    ada = await user()
    await ada.log_in()
    world.scopes.clear()
    world.answers = [reply(200, {"access_token": "useless", "token_type": "Bearer"})]
    with pytest.raises(LoginRequired):
        await ada.call()
    assert len([one for one in world.asked if one.target == "/mcp"]) == 3


async def test_a_session_that_ends_needs_no_login(user, world):
    assert (await (await user()).call(purpose="end"))[0] == 401


async def test_logins_outlast_a_restart_and_are_of_use_to_nobody_without_the_key(user, world, host):
    await (await user()).log_in()
    assert (await (await user()).call())[0] == 200
    host.key = lambda purpose: purpose.encode().ljust(32)[:32]
    with pytest.raises(LoginRequired):
        await (await user()).call()


async def test_the_clients_own_credential_goes_no_further(user, world):
    ada = await user()
    with pytest.raises(LoginRequired):
        await ada.call()
    assert "authorization" not in world.asked[0].headers


# --- more -------------------------------------------------------------------------------------------------------------


async def test_a_login_for_more_asks_for_what_there_was_too(user, world):
    world.challenge += ', scope="read"'
    ada = await user()
    await ada.log_in()
    world.wants = ("write",)
    location = await ada.follow(await ada.link())
    assert query(location)["scope"] == "read write"
    await ada.visit(world.authorize(location))
    assert (await ada.call())[0] == 200


async def test_more_is_asked_for_only_so_often(user, world):
    ada = await user()
    await ada.log_in()
    for wanted in ("a", "b", "c"):
        world.wants = (wanted,)
        await ada.log_in()
    world.wants = ("d",)
    assert (await ada.call())[0] == 403


async def test_what_a_login_was_for_already_is_not_asked_for_again(user, world):
    world.challenge += ', scope="admin"'
    ada = await user()
    await ada.log_in()
    world.wants = ("admin",)
    world.scopes = dict.fromkeys(world.scopes, ())
    assert (await ada.call())[0] == 403


async def test_another_refusal_passes(user, world):
    ada = await user()
    await ada.log_in()
    world.wants = ("",)
    world.scopes["canary-access-1"] = ()
    assert (await ada.call())[0] == 403


# --- users who have just been asked -----------------------------------------------------------------------------------


async def test_a_message_waits_for_the_login_that_its_user_has_gone_to(user, world):
    ada = await user()
    link = await ada.link()
    waiting = asyncio.create_task(ada.call("accept"))
    await ada.visit(world.authorize(await ada.follow(link)))
    assert (await waiting)[1] == {"shown": "canary-access-1"}


async def test_a_message_waits_for_a_login_for_more(user, world):
    ada = await user()
    await ada.log_in()
    world.wants = ("write",)
    link = await ada.link()
    waiting = asyncio.create_task(ada.call("accept"))
    await ada.visit(world.authorize(await ada.follow(link)))
    assert (await waiting)[1] == {"shown": "canary-access-2"}


async def test_who_does_not_want_to_log_in_is_not_asked_again(user, world, monkeypatch):
    ada = await user()
    with pytest.raises(Forbidden) as caught:
        await ada.call("decline")
    assert not isinstance(caught.value, LoginRequired)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with pytest.raises(LoginRequired):
        await ada.call("accept")


# --- configuration, and secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"clientId": "x"},
        {"clientSecret": "x"},
        {"clientAuth": "post"},
        {"issuer": "http://login.example.com"},
        {"publicUrl": "http://gateway.example.com/mcp"},
        {"publicUrl": "https://gateway.example.com/mcp?x"},
        {"clientMetadataUrl": "https://gateway.example.com/"},
        {"clientMetadataUrl": "http://gateway.example.com/client.json"},
        {"anonymous": "everybody"},
        {"else": 1},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config):
    with pytest.raises(ValidationError):
        AuthorizationCodeConfig.model_validate(config)


def test_nothing_need_be_said():
    assert isinstance(make("agentgateway.mcp_logins", "authorizationCode", {}), AuthorizationCode)


async def test_secrets_are_in_no_log_no_error_and_nowhere_in_the_store(user, world, host, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    world.registered = {"client_secret": "canary-client", "token_endpoint_auth_method": "client_secret_basic"}
    ada = await user(name="lovelace")
    link = await ada.link()
    location = await ada.follow(link)
    back = world.authorize(location)
    await ada.visit(back)
    world.scopes.clear()
    await ada.call()
    world.answers = [reply(400, {"error": "invalid_grant", "error_description": "canary-description"})]
    world.scopes.clear()
    with pytest.raises(LoginRequired) as caught:
        await ada.call()
    assert (await ada.log_in()).status == 200
    secrets = ["canary", query(location)["state"], world.forms()[0]["code_verifier"], query(link)["ticket"]]
    secrets += [value for value in ada.cookies.values()]
    told = caplog.text + str(caught.value) + repr(caught.value) + caught.value.detail
    told += repr(ada.login.__dict__) + repr(ada.login._tokens._known) + repr(ada.login._tokens.__dict__)
    stored = [await host._store.get(key) for key in await host._store.keys("")]
    assert len(stored) >= 4 and [value for value in secrets if value in told] == []
    kept = b"".join(one for one in stored if one is not None) + "".join(await host._store.keys("")).encode()
    assert [value for value in (*secrets, "lovelace", "client-1", world.url) if value.encode() in kept] == []
    assert "a user has logged in" in caplog.text


async def test_tokens_that_live_for_seconds_are_of_use(user, world):
    ada = await user()
    world.lifetime = 2
    await ada.log_in()
    assert [(await ada.call())[0] for _ in range(3)] == [200, 200, 200]
