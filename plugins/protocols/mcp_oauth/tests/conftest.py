"""A started policy, and the identity provider it trusts."""

import json
from typing import Any

import pytest
from agentgateway_mcp_oauth.login import AuthorizationCode
from agentgateway_mcp_oauth.user_config import AuthorizationCodeConfig

from agentgateway.testing import LoopbackHost, Upstream, make

from .protected_server import User, World
from .provider import AUDIENCE, Provider


@pytest.fixture
async def idp():
    """`idp.url` is its address; by default its metadata is where RFC 8414 wants it."""
    provider = Provider(documents=("/.well-known/oauth-authorization-server",))
    async with Upstream(provider.answer) as upstream:
        provider.url = upstream.url
        yield provider


@pytest.fixture
async def host():
    lent = LoopbackHost("routes[0].policies.mcpAuthentication")
    yield lent
    await lent.aclose()


@pytest.fixture
async def protect(idp, host):
    """A started policy that trusts the provider, with whatever else is configured."""
    started = []

    async def build(**config: Any):
        written = {"issuer": idp.issuer, "audiences": [AUDIENCE], "jwks": json.dumps(idp.jwks()), **config}
        policy = make("agentgateway.policies", "mcpAuthentication", written, host)
        started.append(policy)
        await policy.start()
        return policy

    yield build
    for policy in started:
        await policy.stop()


@pytest.fixture
async def world():
    """A protected server at `world.url` + `/mcp`."""
    protected = World()
    async with Upstream(protected.answer) as upstream:
        protected.url = upstream.url
        yield protected


@pytest.fixture
async def user(world, host):
    """`await user(…)`: a user of a started login with that configuration; `name` and the like are the user's own."""
    started = []

    async def build(lent: Any = None, **config: Any) -> User:
        of_user = {key: config.pop(key) for key in ("name", "source", "host") if key in config}
        target = config.pop("target", "tools")
        login = AuthorizationCode(AuthorizationCodeConfig.model_validate(config), lent or host)
        login.target, login.url = target, world.url + "/mcp"
        started.append(login)
        await login.start()
        return User(login, world, **of_user)

    yield build
    for login in started:
        await login.stop()
