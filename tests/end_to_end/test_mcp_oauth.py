"""`mcpAuthentication` in a real gateway: the official Python client finds its way to a token by itself, whatever kind
of identity provider there is, and no token goes further than the gateway."""

import importlib.util
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
import pytest
import pytest_asyncio
from mcp.client.auth import OAuthClientProvider
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply


def neighbour(name: str) -> ModuleType:
    """A module of the plugin's own tests."""
    file = Path(__file__).parents[2] / f"plugins/protocols/mcp_oauth/tests/{name}.py"
    spec = importlib.util.spec_from_file_location(f"mcp_oauth_{name}", file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


idps = neighbour("provider")
RESOURCE, SERVER = "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
CALLBACK = "http://127.0.0.1:9/callback"
PATHS = {
    "entra": "/tenant-1/v2.0",
    "keycloak": "/realms/x",
    "okta": "/oauth2/default",
    "authentik": "/application/o/mcp/",
    "brokered": "/realms/y",
}
KINDS = ("plain", "auth0", "okta", "keycloak", "descope", "authentik", "entra", "brokered")
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "editor", "version": "1"}}
CLIENT_ID = "https://editor.example.com/client.json"
CONFIG = """
config:
  adminAddr: 127.0.0.1:0
  statsAddr: "off"
  readinessAddr: "off"
  logging: {level: debug, format: json}
gateways: {default: {port: PORT, address: 127.0.0.1}}
frontendPolicies:
  accessLog: {add: {who: jwt.sub}}
routes:
"""
ROUTE = """
  - name: {kind}
    matches:
      - path: {{pathPrefix: /{kind}}}
      - path: {{pathPrefix: /.well-known/oauth-protected-resource/{kind}}}
      - path: {{pathPrefix: /.well-known/oauth-authorization-server/{kind}}}
    policies:
      mcpAuthentication: {policy}
      authorization: {{rules: ['jwt.sub == "ada"']}}
    backends: [{backend}]
"""
RELAYED = ("okta", "keycloak", "entra", "outbound")
"""The routes whose backend speaks MCP; the others pass everything on."""


def route(kind: str, policy: dict[str, Any], upstream: str, **policies: Any) -> str:
    backend: dict[str, Any] = {"host": upstream, "policies": policies}
    if kind in RELAYED:
        target = {"name": "tools", "mcp": {"host": f"http://{upstream}/{kind}/mcp"}, "policies": policies}
        backend = {"mcp": {"targets": [target]}}
    return ROUTE.format(kind=kind, policy=json.dumps(policy), backend=json.dumps(backend))


def tools(request: Received) -> bytes:
    """An MCP server of one tool, without sessions."""
    asked = request.json() if request.body else {}
    if request.method != "POST":
        return reply(405, {})
    if "id" not in asked:
        return b"HTTP/1.1 202 X\r\ncontent-length: 0\r\n\r\n"
    result: dict[str, Any] = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
    if asked["method"] == "initialize":
        version = asked["params"]["protocolVersion"]
        info = {"name": "tools", "version": "1"}
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    return reply(200, {"jsonrpc": "2.0", "id": asked["id"], "result": result})


@dataclass
class World:
    url: str
    gateway: Any
    upstream: Upstream
    providers: dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(serve_all: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream(tools))
        providers, routes = {}, ""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for kind in (*KINDS, "exchange"):
            path = PATHS.get(kind, "")
            place = SERVER if kind in ("plain", "auth0", "exchange") else path.rstrip("/") + OPENID
            provider = providers[kind] = idps.Provider(path, (place,))
            provider.url = (await stack.enter_async_context(Upstream(provider.answer))).url
            provider.changes = {"signed_metadata": None, "client_id_metadata_document_supported": kind == "descope"}
            if kind not in ("plain", "brokered"):
                provider.changes["authorization_response_iss_parameter_supported"] = None
            if kind == "exchange":
                continue
            policy: dict[str, Any] = {"issuer": provider.issuer, "audiences": [idps.AUDIENCE]}
            policy |= {} if kind == "plain" else {"provider": {"keycloak" if kind == "brokered" else kind: {}}}
            if kind == "brokered":  # a provider that puts its own name into its answers
                about = {"resource": f"http://127.0.0.1:{port}/brokered/mcp"}
                policy |= {"resourceMetadata": about, "brokersAnswers": True}
            if kind in ("auth0", "authentik"):
                policy["clientId"] = "app-1"
            if kind == "entra":
                policy |= {"clientId": "app-1", "clientSecret": idps.SECRET}
                policy["resourceMetadata"] = {"scopesSupported": ["api://mcp/use"]}
            if kind in ("plain", "descope"):
                policy["jwks"] = json.dumps(provider.jwks())
            routes += route(kind, policy, upstream.address)
        login = {"clientId": "gateway", "clientSecret": idps.SECRET, "grant": "tokenExchange"}
        credential = {"mcpOAuth": {"issuer": providers["exchange"].url, **login}}
        trusted = providers["plain"]
        policy = {"issuer": trusted.issuer, "audiences": [idps.AUDIENCE], "jwks": json.dumps(trusted.jwks())}
        routes += route("outbound", policy, upstream.address, backendAuth=credential)
        gateway = await serve_all(CONFIG.replace("PORT", str(port)) + routes)
        yield World(gateway.urls["default"], gateway, upstream, providers)


@dataclass
class Person:
    """A client's memory, and somebody with a browser who says yes to everything."""

    tokens: Any = None
    client: Any = None
    visited: list[str] = field(default_factory=list)

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info

    async def visit(self, url: str) -> None:
        async with httpx.AsyncClient() as browser:
            while not url.startswith(CALLBACK):
                self.visited.append(url)
                answered = await browser.get(url)
                assert answered.status_code == 302, answered.text
                url = answered.headers["location"]
        self.visited.append(url)

    async def back(self) -> AuthorizationCodeResult:
        came = parse_qs(urlsplit(self.visited[-1]).query)
        return AuthorizationCodeResult(code=came["code"][0], state=came["state"][0], iss=came.get("iss", [None])[0])


def signed_in(person: Person, url: str, **more: Any) -> httpx2.AsyncClient:
    wanted = OAuthClientMetadata(client_name="Editor", redirect_uris=[CALLBACK])  # type: ignore[list-item]
    auth = OAuthClientProvider(url, wanted, person, person.visit, person.back, **more)
    return httpx2.AsyncClient(auth=auth, timeout=20)


async def list_tools(person: Person, url: str, **more: Any) -> list[str]:
    async with (
        signed_in(person, url, **more) as http,
        streamable_http_client(url, http_client=http) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return [tool.name for tool in (await session.list_tools()).tools]


def received(world: World, kind: str) -> list[Received]:
    return [one for one in world.upstream.received if one.target.startswith(f"/{kind}/")]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS)
async def test_the_official_client_finds_its_way_to_a_token(world: World, kind: str) -> None:
    person, url = Person(), f"{world.url}/{kind}/mcp"
    assert await list_tools(person, url) == ["echo"]
    registered = "app-1" if kind in ("auth0", "authentik", "entra") else "made-up"
    assert person.client.client_id == registered
    assert received(world, kind) and not [one for one in received(world, kind) if "authorization" in one.headers]
    provider = world.providers[kind]
    (begun,) = provider.codes.values()
    assert begun.get("audience") == (idps.AUDIENCE if kind in ("auth0", "okta") else None)
    assert begun.get("resource") == (None if kind == "entra" else url)
    assert begun.get("scope") == ("api://mcp/use" if kind == "entra" else None)
    (form,) = [parse_qs(one.body.decode()) for one in provider.asked if one.target == "/token"]
    assert form.get("client_secret") == ([idps.SECRET] if kind == "entra" else None)
    line = await world.gateway.logged(f"/{kind}/mcp")
    assert json.loads(line)["http.status"] == 401
    provider.codes.clear()
    provider.asked.clear()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_with_a_document_of_its_own_need_not_register(world: World) -> None:
    person = Person()
    assert await list_tools(person, f"{world.url}/descope/mcp", client_metadata_url=CLIENT_ID) == ["echo"]
    provider = world.providers["descope"]
    assert [query["client_id"] for query in provider.codes.values()][-1] == CLIENT_ID
    assert "/register" not in provider.paths()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_token_for_somebody_else_stays_outside(world: World) -> None:
    token = world.providers["plain"].mint(aud="somebody-else")
    async with httpx.AsyncClient() as client:
        refused = await client.post(f"{world.url}/plain/mcp", headers={"authorization": f"Bearer {token}"})
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_token")
        expected = f'Bearer error="invalid_token", resource_metadata="{world.url}{RESOURCE}/plain/mcp"'
        assert refused.headers["www-authenticate"] == expected
        other = world.providers["plain"].mint(sub="eve")
        assert (
            await client.post(f"{world.url}/plain/mcp", headers={"authorization": f"Bearer {other}"})
        ).status_code == 403


@pytest.mark.asyncio(loop_scope="module")
async def test_metadata_is_there_for_everybody_and_for_pages(world: World) -> None:
    async with httpx.AsyncClient() as client:
        for path in (f"{RESOURCE}/plain/mcp", f"{SERVER}/plain/mcp", f"{SERVER}/okta/mcp"):
            answered = await client.get(world.url + path)
            assert (answered.status_code, answered.headers["access-control-allow-origin"]) == (200, "*")
            assert (await client.options(world.url + path)).status_code == 204
            assert (await client.head(world.url + path)).content == b""
        assert (await client.get(f"{world.url}{RESOURCE}/nobody/mcp")).status_code == 404
        assert (await client.post(f"{world.url}{SERVER}/okta/mcp/client-registration", content=b"x")).status_code == 400


@pytest.mark.asyncio(loop_scope="module")
async def test_an_upstream_gets_a_token_of_its_own_in_the_callers_name(world: World) -> None:
    token, provider = world.providers["plain"].mint(), world.providers["exchange"]
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
            headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
            answered = await client.post(f"{world.url}/outbound/mcp", json=call, headers=headers)
            assert answered.status_code == 200, answered.text
    (shown,) = {one.headers["authorization"] for one in received(world, "outbound")}
    assert shown.startswith("Bearer given-")
    (form,) = [parse_qs(one.body.decode()) for one in provider.asked if one.target == "/token"]
    assert (form["subject_token"], form["resource"]) == ([token], [world.upstream.url])
    assert idps.SECRET not in world.gateway.log and token not in world.gateway.log and shown not in world.gateway.log


@pytest.mark.asyncio(loop_scope="module")
async def test_no_secret_and_no_token_is_in_anything_the_gateway_says(world: World) -> None:
    person = Person()
    assert await list_tools(person, f"{world.url}/entra/mcp") == ["echo"]
    async with httpx.AsyncClient() as client:
        admin = next(url for name, url in world.gateway.urls.items() if name == "admin")
        said = [(await client.get(f"{admin}/config_dump")).text]
    assert "app-1" in said[0]
    await world.gateway.logged("/entra/mcp")
    said += [world.gateway.log, "".join(world.gateway.access)]
    secrets = (idps.SECRET, person.tokens.access_token, parse_qs(urlsplit(person.visited[-1]).query)["code"][0] + "&")
    assert not [secret for secret in secrets for text in said if secret in text]
