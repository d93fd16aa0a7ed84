"""Whatever a server, or its authorization server, writes: the gateway says what is wrong, and nothing crashes."""

import random
from typing import Any

import pytest

from agentgateway.errors import GatewayError, InternalError
from agentgateway.testing.hostile import spoil
from agentgateway.testing.upstreams import reply

from .protected_server import GATEWAY


@pytest.mark.parametrize("what", ["resource", "server", "client", "tokens"])
async def test_odd_documents_crash_nobody(user, world, what, host):
    rolls = random.Random(4711)
    documents: dict[str, Any] = {
        "resource": {"resource": world.url + "/mcp", "authorization_servers": [world.url], "scopes_supported": ["a"]},
        "server": {**world.described(), "scopes_supported": ["a", "offline_access"], "grant_types_supported": ["x"]},
        "client": {"client_id": "x", "client_secret": "y", "client_secret_expires_at": 0, "redirect_uris": ["z"]},
        "tokens": {"access_token": "x", "token_type": "Bearer", "expires_in": 60, "refresh_token": "y", "scope": "a"},
    }
    outcomes = set()
    for number in range(20):
        spoilt = reply(200, spoil(documents[what], lambda n: rolls.randrange(n)))
        world.broken = {PLACES[what]: spoilt}
        for key in await host.store("mcp-oauth").keys(""):
            await host.store("mcp-oauth").delete(key)
        ada = await user(name=f"ada-{number}")
        world.codes.clear()
        try:
            link = await ada.link()
        except GatewayError as error:
            assert not isinstance(error, InternalError)
            outcomes.add("nobody logs in")
            continue
        got = await ada.visit(link, "POST", f"http://{GATEWAY}")
        if got.status == 303:
            got = await ada.visit(world.authorize(got.headers.get("location")))
        assert got.status in (200, 502)
        outcomes.add(got.status)
    assert len(outcomes) >= 2


PLACES = {
    "resource": "/.well-known/oauth-protected-resource/mcp",
    "server": "/.well-known/oauth-authorization-server",
    "client": "/register",
    "tokens": "/token",
}


@pytest.mark.parametrize(
    "header", ['Bearer scope="', "Bearer ,,,=", 'Bearer "', "Bearer a=b=c, d", "=", "Bearer " * 900]
)
async def test_odd_challenges_crash_nobody(user, world, header):
    world.challenge = header
    assert (await (await user()).log_in()).status == 200
