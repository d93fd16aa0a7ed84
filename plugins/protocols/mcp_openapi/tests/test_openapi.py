"""An MCP server in front of an HTTP API: methods, results, failures, both eras of the protocol."""

import asyncio
import base64
import json

import pytest
from agentgateway_mcp.servers import Ask, Server
from agentgateway_mcp_openapi.config import OpenApiConfig
from agentgateway_mcp_openapi.plugin import OpenApi
from agentgateway_mcp_openapi.remote import Pace

from agentgateway.errors import ConnectFailed, UpstreamError
from agentgateway.testing import Upstream, make
from agentgateway.testing.upstreams import reply

LEGACY, MODERN = "2025-11-25", "2026-07-28"
CANARY = "sk-canary-0123456789"
PET = {
    "/pets/{id}": {
        "get": {"operationId": "getPet", "parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}]}
    }
}
ONE = {"path": {"id": 1}}


def answer(status, body, content_type="application/json", **headers):
    fields = {"content-type": content_type, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return reply(status, body, headers=fields)


# --- methods ----------------------------------------------------------------------------------------------------------


async def test_a_client_opens_a_session_in_the_version_it_asks_for(opened):
    async with opened(PET) as asked:
        result = await asked.result("initialize", {"protocolVersion": "2025-06-18"}, "")
        assert result == {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "Pets", "version": "1.2"},
        }
        assert (await asked.result("initialize", {"protocolVersion": "1999-01-01"}, ""))["protocolVersion"] == LEGACY


async def test_the_version_without_sessions_is_discovered_and_says_so_in_every_result(opened):
    async with opened(PET) as asked:
        found = await asked.result("server/discover", {}, MODERN)
        assert found["supportedVersions"] == [MODERN]
        assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "Pets"
        assert (found["ttlMs"], found["cacheScope"], found["resultType"]) == (0, "private", "complete")
        listed = await asked.result("tools/list", {}, MODERN)
        assert [tool["name"] for tool in listed.pop("tools")] == ["getPet"]
        assert listed == {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        assert (await asked.call("getPet", ONE, MODERN))["resultType"] == "complete"
        assert (await asked.call("getPet", {}, MODERN))["resultType"] == "complete"
        assert await asked.result("prompts/list", {}, MODERN) == {"prompts": [], **listed}


async def test_versions_with_sessions_know_nothing_of_that(opened):
    async with opened(PET) as asked:
        assert list(await asked.result("tools/list")) == ["tools"]
        assert "resultType" not in await asked.call("getPet", ONE)
        assert await asked.result("ping") == {}
        assert await asked.result("prompts/list") == {"prompts": []}
        assert await asked.result("resources/list") == {"resources": []}
        assert await asked.result("resources/templates/list") == {"resourceTemplates": []}


@pytest.mark.parametrize(
    ("method", "version", "status"),
    [
        *(("logging/setLevel", LEGACY, 200), ("completion/complete", LEGACY, 200), ("tasks/get", MODERN, 404)),
        *(("ping", MODERN, 404), ("initialize", MODERN, 404), ("subscriptions/listen", MODERN, 404)),
    ],
)
async def test_other_methods_are_not_found(method, version, status, opened):
    async with opened(PET) as asked:
        got = await asked.ask(method, {}, version)
        assert got.status == status
        assert got.headers.get("content-type") == "application/json"
        assert json.loads(got.whole)["error"] == {"code": -32601, "message": f"Method not found: {method}"}


async def test_notifications_and_responses_are_taken_and_listening_is_refused(opened):
    async with opened(PET) as asked:
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await asked.pass_on(Ask("send", b"", note, LEGACY))).status == 202
        assert (await asked.pass_on(Ask("send", b"", {"jsonrpc": "2.0", "id": 1, "result": {}}, LEGACY))).status == 202
        assert (await asked.pass_on(Ask("listen", version=LEGACY))).status == 405
        assert (await asked.pass_on(Ask("end", version=LEGACY))).status == 202
        assert asked.api.received == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"name": "nope"}, "Unknown tool: nope"),
        ({}, "Unknown tool: None"),
        ([], "Unknown tool: None"),
        ({"name": ["getPet"]}, "Unknown tool"),
        ({"name": "getPet", "arguments": [1]}, "`arguments` must be an object"),
    ],
)
async def test_calls_of_no_tool_are_errors_of_the_protocol(params, said, opened):
    async with opened(PET) as asked:
        got = json.loads((await asked.ask("tools/call", params)).whole)
        assert got["id"] == 7
        assert got["error"]["code"] == -32602
        assert said in got["error"]["message"]


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "structured", "text"),
    [
        (answer(200, b'{"a": 1}'), {"a": 1}, '{"a": 1}'),
        (answer(201, b"[1, 2]"), {"data": [1, 2]}, "[1, 2]"),
        (answer(200, b"null"), {"data": None}, "null"),
        (answer(200, b'{"a":"\xc3\xa9"}', "application/hal+json"), {"a": "é"}, '{"a":"é"}'),
        (answer(204, b""), None, "HTTP 204 No Content: no content"),
        (answer(200, b"broken", "application/json"), None, "broken"),
        (answer(200, b"caf\xe9", "text/plain; charset=ISO-8859-1"), None, "café"),
        (answer(200, b"<a/>", "application/xml"), None, "<a/>"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", None, "hi"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", {}, "{}"),
    ],
)
async def test_answers_in_json_and_text(sent, structured, text, opened):
    async with opened(PET, sent) as asked:
        result = await asked.call("getPet", ONE)
        assert result["isError"] is False
        assert result.get("structuredContent") == structured
        assert result["content"] == [{"type": "text", "text": text}]


async def test_answers_in_bytes(opened):
    data = base64.b64encode(b"\x89PNG").decode()
    for kind, block in (
        ("image/png", {"type": "image", "data": data, "mimeType": "image/png"}),
        ("audio/wav", {"type": "audio", "data": data, "mimeType": "audio/wav"}),
        (
            "application/zip",
            {"type": "resource", "resource": {"uri": "openapi:getPet", "mimeType": "application/zip", "blob": data}},
        ),
    ):
        async with opened(PET, answer(200, b"\x89PNG", kind)) as asked:
            assert (await asked.call("getPet", ONE))["content"] == [block]


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500, 503])
async def test_what_is_no_success_is_a_tool_error_with_status_and_text(status, opened):
    sent = answer(status, b'{"why": "because"}', retry_after="3", location="https://evil.example/")
    async with opened(PET, sent) as asked:
        result = await asked.call("getPet", ONE)
        (block,) = result["content"]
        assert result["isError"] is True
        assert block["text"].startswith(f"HTTP {status} ")
        assert "Retry-After: 3" in block["text"]
        assert block["text"].endswith('{"why": "because"}')
        assert len(asked.api.received) == 1


async def test_a_long_error_is_cut_and_one_in_bytes_left_out(opened):
    async with opened(PET, answer(400, b"x" * 50_000, "text/plain")) as asked:
        assert len((await asked.call("getPet", ONE))["content"][0]["text"]) < 17_000
    async with opened(PET, answer(599, b"\0\1", "image/png")) as asked:
        assert (await asked.call("getPet", ONE))["content"][0]["text"] == "HTTP 599 Unknown"


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_that_is_too_long_is_told_to_the_model(streamed, opened):
    async with opened(PET, answer(200, b"x" * 5000, "text/plain")) as asked:
        asked.server.host.body_limit, asked.server.host.streams = 4999, streamed
        result = await asked.call("getPet", ONE)
        assert result["isError"] is True
        assert "larger than 4999 bytes" in result["content"][0]["text"]
        asked.server.host.body_limit = 5000
        assert len((await asked.call("getPet", ONE))["content"][0]["text"]) == 5000


async def test_a_compressed_answer_that_nobody_asked_for_is_an_error(opened):
    async with opened(PET, answer(200, b"", content_encoding="br")) as asked:
        with pytest.raises(UpstreamError, match="compressed"):
            await asked.call("getPet", ONE)
        assert asked.api.received[0].headers["accept-encoding"] == "identity"


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("where", ["bearer", "header", "query"])
async def test_a_credential_that_the_api_quotes_reaches_nobody(status, where, opened):
    def policy(outgoing):
        if where == "bearer":
            outgoing.headers.set("authorization", f"Bearer {CANARY}")
        elif where == "header":
            outgoing.headers.set("x-api-key", CANARY)
        else:
            outgoing.target += f"?key={CANARY}"

    def echo(request):
        return answer(status, json.dumps({"headers": request.headers, "target": request.target}).encode())

    async with opened(PET, echo) as asked:
        asked.policies.append(policy)
        result = await asked.call("getPet", ONE)
        assert CANARY in f"{asked.api.received[0].headers}{asked.api.received[0].target}"
        assert CANARY not in json.dumps(result)
        assert "***" in json.dumps(result)
        assert CANARY not in repr(asked.prepared)


async def test_what_is_refused_never_meets_a_credential(opened):
    paths = {"/pets/{id}": {"get": {"operationId": "getPet", "parameters": [{"name": "id", "in": "path"}]}}}
    async with opened(paths) as asked:
        seen = []
        asked.policies.append(lambda outgoing: seen.append(outgoing.target))
        assert "dot segments" in await asked.refused("getPet", {"path": {"id": "../../admin"}})
        assert seen == ["/"]  # of the request that stands for an answer that is known already
        assert asked.api.received == []


async def test_of_the_client_s_headers_only_those_of_tracing_reach_the_api(opened):
    async with opened(PET) as asked:
        asked.headers = {"authorization": "Bearer mine", "cookie": "a=b", "x-tag": "1", "traceparent": "00-1-2-01"}
        headers = (await asked.sent("getPet", ONE)).headers
        assert headers["traceparent"] == "00-1-2-01"
        assert not {"authorization", "cookie", "x-tag"} & set(headers)
        assert headers["host"] == asked.api.address


# --- documents behind a URL -------------------------------------------------------------------------------------------


def remote(url, **config):
    return make("agentgateway.mcp_targets", "openapi", {"schema": {"url": url}, **config})


async def test_a_document_behind_a_url_is_fetched_at_the_start_and_says_where_the_api_is(document):
    async with Upstream(reply(200, document(PET, servers=[{"url": "/v2"}]))) as upstream:
        server = remote(f"{upstream.url}/docs/openapi.json")
        assert server.endpoint == ""
        await server.start()
        try:
            assert server.endpoint == upstream.address
            assert server._api.base.path == "/v2"
        finally:
            await server.stop()
            await server.host.aclose()


async def test_until_it_is_there_requests_fail_and_it_is_tried_again(document, caplog):
    answers = iter([reply(500, {}), reply(200, {"swagger": "2.0"}), reply(200, document(PET))])
    async with Upstream(lambda request: next(answers)) as upstream:
        config = OpenApiConfig.model_validate({"schema": {"url": f"{upstream.url}/{CANARY}"}, "host": "api.test"})
        server = OpenApi(config, make_host(), Pace(retry=0.05))
        await server.start()
        try:
            with pytest.raises(ConnectFailed):
                await server.prepare(exchange_of(Ask("send", b"", {"id": 1, "method": "tools/list"}, LEGACY)))
            while server._api is None:
                await asyncio.sleep(0.01)
            await server.prepare(exchange_of(Ask("send", b"", {"id": 1, "method": "tools/list"}, LEGACY)))
        finally:
            await server.stop()
            await server.host.aclose()
    assert "status 500" in caplog.text
    assert "Swagger 2.0" in caplog.text
    assert CANARY not in caplog.text


async def test_a_start_that_is_cut_short_leaves_nothing_behind(document):
    async with Upstream([b"HTTP/1.1 200 OK\r\n"]) as upstream:
        config = OpenApiConfig.model_validate({"schema": {"url": upstream.url}, "host": "api.test"})
        server = OpenApi(config, make_host(), Pace(start=0.05))
        await server.start()
        await server.stop()
        await server.stop()
        await server.host.aclose()


def make_host():
    from agentgateway.testing import LoopbackHost

    return LoopbackHost("mcp.targets[0].openapi")


def exchange_of(ask):
    from agentgateway.testing import http

    exchange = http("POST", "/mcp")
    exchange.call = ask
    return exchange


async def test_a_file_is_watched(tmp_path, document):
    (tmp_path / "api.json").write_text(json.dumps(document(PET)))
    config = {"schema": {"file": "api.json"}, "host": "api.test"}
    server = make("agentgateway.mcp_targets", "openapi", config, folder=tmp_path)
    await server.start()
    await server.stop()
    assert server.host.watched == {tmp_path / "api.json"}
    assert isinstance(server, Server)
    assert server.resumable and not server.pipes
