"""What is served below /.well-known, to anybody."""

import asyncio
import gzip
import json

import pytest
from agentgateway_mcp_oauth.discovery import Discovery, Pace

from agentgateway.errors import GatewayError, InvalidRequest, NotFound
from agentgateway.testing import LoopbackHost, http, run_phase
from agentgateway.testing.upstreams import reply

RESOURCE = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


async def get(policy, path: str, method: str = "GET", **headers: str):
    """The reply of phase `accept`: nobody has asked who is there."""
    return await run_phase(policy, "accept", http(method, path, headers=headers))


async def read(policy, path: str):
    answered = await get(policy, path)
    assert answered.status == 200
    assert answered.headers.get("content-type") == "application/json"
    assert answered.headers.get("access-control-allow-origin") == "*"
    return json.loads(answered.body)


# --- the resource -----------------------------------------------------------------------------------------------------


async def test_the_resource_names_itself_and_its_issuer(protect, idp):
    assert await read(await protect(), RESOURCE + "/mcp") == {
        "resource": "http://gateway.test/mcp",
        "authorization_servers": [idp.issuer],
        "bearer_methods_supported": ["header"],
    }
    assert idp.asked == []


async def test_at_the_root_the_resource_is_the_origin(protect):
    assert (await read(await protect(), RESOURCE))["resource"] == "http://gateway.test"


async def test_with_a_kind_of_provider_the_gateway_is_the_authorization_server(protect):
    document = await read(await protect(provider={"keycloak": {}}), RESOURCE + "/mcp")
    assert document["authorization_servers"] == ["http://gateway.test/mcp"]


async def test_the_file_has_the_last_word_and_may_say_more(protect):
    metadata = {
        "resource": "https://tools.example.com/mcp",
        "authorizationServers": ["https://a.example.com"],
        "scopesSupported": ["read"],
        "bearerMethodsSupported": ["header", "body"],
        "resourceDocumentation": "https://docs.example.com",
        "resource_name": "Tools",
    }
    assert await read(await protect(resourceMetadata=metadata), RESOURCE + "/mcp") == {
        "resource": "https://tools.example.com/mcp",
        "authorization_servers": ["https://a.example.com"],
        "scopes_supported": ["read"],
        "bearer_methods_supported": ["header", "body"],
        "resource_documentation": "https://docs.example.com",
        "resource_name": "Tools",
    }


@pytest.mark.parametrize("path", [RESOURCE + "/other", RESOURCE + "/mcp/more", SERVER + "/other"])
async def test_a_configured_resource_answers_for_no_other_path(protect, path):
    policy = await protect(resourceMetadata={"resource": "https://tools.example.com/mcp"})
    with pytest.raises(NotFound) as caught:
        await get(policy, path)
    assert ("access-control-allow-origin", "*") in caught.value.headers
    await read(policy, RESOURCE)


@pytest.mark.parametrize(
    "path",
    [
        *(RESOURCE + "-evil", RESOURCE + "/../mcp", RESOURCE + '/a"b', SERVER + "/./x", SERVER + "/a\\b"),
        *("/.well-known/oauth-other", "/mcp" + RESOURCE, "/mcp/client-registration", "/"),
    ],
)
async def test_other_paths_are_not_answered_here(protect, path):
    """So they need a token like everything else."""
    assert await get(await protect(provider={"okta": {}}), path) is None


async def test_who_names_no_host_cannot_be_told_an_address(protect):
    """HTTP/1.0."""
    with pytest.raises(InvalidRequest):
        await get(await protect(), RESOURCE + "/mcp", host="")
    await get(await protect(resourceMetadata={"resource": "https://a.example.com/mcp"}), RESOURCE + "/mcp", host="")


@pytest.mark.parametrize("path", [RESOURCE + "/mcp", SERVER + "/mcp"])
async def test_pages_of_any_origin_may_ask(protect, path):
    answered = await get(await protect(), path, "OPTIONS", origin="https://app.example.com")
    assert answered.status == 204
    assert answered.headers.get("access-control-allow-origin") == "*"
    assert "GET" in answered.headers.get("access-control-allow-methods")
    assert "mcp-protocol-version" in answered.headers.get("access-control-allow-headers")


@pytest.mark.parametrize("method", ["POST", "DELETE", "G", "ET"])
async def test_metadata_is_only_read(protect, method):
    answered = await get(await protect(), RESOURCE + "/mcp", method)
    assert (answered.status, answered.headers.get("allow")) == (405, "GET, HEAD, OPTIONS")


# --- the authorization server -----------------------------------------------------------------------------------------


async def test_metadata_of_the_issuer_passes_unchanged(protect, idp):
    document = await read(await protect(), SERVER + "/mcp")
    assert document == idp.metadata()
    assert document["client_id_metadata_document_supported"] is True


async def test_openid_discovery_stands_in_for_rfc_8414(protect, idp):
    idp.documents = (OPENID,)
    assert (await read(await protect(), SERVER))["issuer"] == idp.issuer
    assert idp.paths() == [SERVER, OPENID]


@pytest.mark.parametrize("document", [SERVER + "/realms/x", "/realms/x" + OPENID])
async def test_the_path_of_an_issuer_stands_where_each_specification_wants_it(protect, idp, document):
    idp.path, idp.documents = "/realms/x", (document,)
    assert (await read(await protect(), SERVER + "/mcp"))["issuer"] == idp.issuer


async def test_metadata_is_fetched_once_for_all_who_wait_and_kept(protect, idp):
    policy = await protect()
    await asyncio.gather(*(read(policy, SERVER + "/mcp") for _ in range(20)))
    await read(policy, SERVER + "/mcp")
    assert idp.paths() == [SERVER]


async def test_one_who_waits_may_leave(protect, idp):
    policy = await protect()
    leaving = asyncio.create_task(get(policy, SERVER))
    await asyncio.sleep(0)
    staying = asyncio.create_task(read(policy, SERVER))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying)["issuer"] == idp.issuer
    assert idp.paths() == [SERVER]


@pytest.mark.parametrize(
    "broken",
    [
        reply(500, {"error": "down"}),
        reply(200, b"<html>"),
        reply(200, ["a list"]),
        reply(302, {}, headers={"location": "http://127.0.0.1:1/"}),
        b"no HTTP at all\r\n\r\n",
        reply(200, gzip.compress(b" " * 10_000_000), headers={"content-encoding": "gzip"}),
        reply(200, b'{"a":"' + b"x" * 1_100_000 + b'"}'),
    ],
    ids=["status", "html", "list", "redirect", "nonsense", "packed", "large"],
)
async def test_an_issuer_that_does_not_answer_as_it_should_is_a_502(protect, idp, broken):
    idp.broken = broken
    policy = await protect()
    with pytest.raises(GatewayError) as caught:
        await get(policy, SERVER)
    assert caught.value.status == 502
    assert ("access-control-allow-origin", "*") in caught.value.headers
    assert idp.url not in f"{caught.value!r} {caught.value.detail}"


@pytest.mark.parametrize(
    "changes", [{"issuer": "https://evil.example.com"}, {"issuer": None}, {"token_endpoint": None}], ids=str
)
async def test_metadata_that_names_another_issuer_or_no_endpoints_is_not_passed_on(protect, idp, changes):
    idp.changes = changes
    with pytest.raises(GatewayError) as caught:
        await get(await protect(), SERVER)
    assert caught.value.status == 502


async def test_a_slash_at_the_end_of_an_issuer_does_not_matter(protect, idp):
    await read(await protect(issuer=idp.issuer + "/"), SERVER)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_known_metadata_outlives_an_issuer_that_is_down(idp):
    host, clock = LoopbackHost(), Clock()
    discovery = Discovery((idp.url + SERVER,), None, host.client, Pace(fresh=10, retry=5), clock)
    known = await discovery.metadata()
    idp.broken = reply(500, {})
    clock.now += 11
    assert await discovery.metadata() is known
    while len(idp.asked) < 2 or discovery._under_way is not None:
        await asyncio.sleep(0.001)
    assert await discovery.metadata() is known
    idp.broken, idp.changes = None, {"extra": 1}
    clock.now += 6
    assert await discovery.metadata() is known
    while discovery._under_way is not None:
        await asyncio.sleep(0.001)
    assert (await discovery.metadata())["extra"] == 1
    assert len(idp.asked) == 3
    await discovery.stop()
    await host.aclose()


async def test_a_failure_is_remembered_for_a_moment(idp):
    host, clock = LoopbackHost(), Clock()
    discovery = Discovery((idp.url + "/nothing",), None, host.client, Pace(retry=5), clock)
    for _ in range(3):
        with pytest.raises(GatewayError):
            await discovery.metadata()
    assert len(idp.asked) == 1
    clock.now += 6
    with pytest.raises(GatewayError):
        await discovery.metadata()
    assert len(idp.asked) == 2
    await host.aclose()


async def test_it_stops_while_it_fetches(idp):
    host = LoopbackHost()
    discovery = Discovery((idp.url + SERVER,), None, host.client, Pace())
    waiting = asyncio.create_task(discovery.metadata())
    await asyncio.sleep(0)
    await discovery.stop()
    with pytest.raises(GatewayError):
        await waiting
    await host.aclose()
