"""Targets of kind `sse`: one stream a session, messages by POST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import pytest
from agentgateway_mcp.sse import joined, same_origin

from agentgateway.errors import ConnectFailed, InvalidRequest, UpstreamError
from agentgateway.testing.upstreams import LAST, Received, Upstream, chunk, reply, stream_head


def event(message, name="message"):
    data = message if isinstance(message, str) else json.dumps(message)
    return f"event: {name}\r\ndata: {data}\r\n\r\n".encode()


class LegacyServer:
    """What `Upstream` answers: a server of the legacy transport that does what it is asked."""

    def __init__(self, endpoint="/messages?session_id={}", pieces=lambda data: [data]):
        self.endpoint = endpoint
        self.pieces = pieces
        self.streams: dict[str, asyncio.Queue[bytes | None]] = {}
        self.seen: list[dict] = []
        self.status = 202
        self.closed: list[str] = []

    def __call__(self, request: Received) -> bytes | AsyncIterator[bytes]:
        if request.method == "GET":
            name = str(len(self.streams))
            self.streams[name] = asyncio.Queue()
            return self.stream(name)
        if self.status != 202:
            return reply(self.status, b"no", headers={"content-type": "text/plain", "www-authenticate": "Bearer"})
        self.handle(parse_qs(request.target.partition("?")[2])["session_id"][0], request.json())
        return reply(202, b"Accepted")

    async def stream(self, name):
        yield stream_head()
        yield chunk(event(self.endpoint.format(name), "endpoint"))
        while (data := await self.streams[name].get()) is not None:
            for piece in self.pieces(data):
                yield chunk(piece)
        self.closed.append(name)
        yield LAST

    def say(self, name, message):
        self.streams[name].put_nowait(event(message))

    def handle(self, name, message):
        self.seen.append(message)
        method, id = message.get("method"), message.get("id")
        params = message.get("params", {})
        if id is None or method in (None, "hold"):
            return
        if method == "progress":
            for number in range(3):
                note = {"progressToken": params["_meta"]["progressToken"], "progress": number}
                self.say(name, {"jsonrpc": "2.0", "method": "notifications/progress", "params": note})
        if method == "break":
            self.streams[name].put_nowait(None)
            return
        self.say(name, {"jsonrpc": "2.0", "id": id, "result": {"stream": name, "params": params}})


@pytest.fixture
async def upstream():
    async with Upstream(LegacyServer()) as upstream:
        yield upstream
        for queue in upstream.answer.streams.values():
            queue.put_nowait(None)


@pytest.fixture
async def client(sse, tools, upstream):
    client = tools.Client(await sse(upstream, "/sse"))
    await client.open()
    return client


async def test_initialize_opens_a_stream_and_a_session(client, tools, upstream):
    other = tools.Client(client.server)
    await other.open()
    assert len(client.session) >= 32 and client.session != other.session
    assert (await client.call("x"))["stream"] == "0" and (await other.call("x"))["stream"] == "1"
    get, post = upstream.received[0], upstream.received[1]
    assert (get.method, get.target, get.headers["accept"]) == ("GET", "/sse", "text/event-stream")
    assert (post.method, post.target, post.headers["content-type"]) == (
        "POST",
        "/messages?session_id=0",
        "application/json",
    )
    assert "accept" not in post.headers or post.headers["accept"] != "text/event-stream"


async def test_an_answer_finds_its_request(client, tools, upstream):
    held = await client.send("hold", {}, 1)
    assert (await client.call("echo", {"a": "ä"}, "1"))["params"] == {"a": "ä"}
    upstream.answer.say("0", {"jsonrpc": "2.0", "id": 1, "result": "late"})
    assert [message["result"] for message in await tools.read(held)] == ["late"]


async def test_progress_comes_with_the_answer(client, tools):
    *notes, last = await tools.read(await client.send("progress", {"_meta": {"progressToken": "t"}}, 1))
    assert [note["params"]["progress"] for note in notes] == [0, 1, 2] and last["id"] == 1


async def test_a_notification_is_accepted(client, upstream):
    assert (await client.send("notifications/initialized")).status == 202
    assert upstream.answer.seen[-1]["method"] == "notifications/initialized"


async def test_what_is_said_unasked_is_listened_to(client, upstream):
    listening = await client.ask(None, "listen")
    upstream.answer.say("0", {"jsonrpc": "2.0", "id": 5, "method": "roots/list"})
    assert json.loads((await anext(listening.messages)).data)["id"] == 5
    assert (await client.ask({"id": 5, "result": {"roots": []}})).status == 202
    assert upstream.answer.seen[-1] == {"jsonrpc": "2.0", "id": 5, "result": {"roots": []}}
    await listening.close()


async def test_a_client_that_leaves_cancels_its_request(client, tools, upstream):
    held = await client.send("hold", {}, 1)
    await held.close()
    await tools.until(lambda: upstream.answer.seen[-1].get("method") == "notifications/cancelled")
    assert upstream.answer.seen[-1]["params"]["requestId"] == 1


@pytest.mark.parametrize("size", range(1, 40))
async def test_a_stream_may_come_cut_anywhere(sse, tools, size):
    def pieces(data):
        return [data[start : start + size] for start in range(0, len(data), size)]

    server = LegacyServer(pieces=pieces)
    async with Upstream(server) as upstream:
        client = tools.Client(await sse(upstream, "/sse"))
        await client.open()
        assert (await client.call("echo", {"text": "häß€𝄞"}))["params"] == {"text": "häß€𝄞"}
        await client.server.stop()
        server.streams["0"].put_nowait(None)


async def test_the_end_of_the_stream_is_an_error_and_the_session_is_gone(client, tools):
    held = await client.send("hold", {}, 1)
    (broken,) = await tools.read(await client.send("break", {}, 2))
    assert broken["error"] == {"code": -32603, "message": "the server ended the stream"}
    assert [message["id"] for message in await tools.read(held)] == [1]
    assert (await client.send("echo", {}, 3)).status == 404


async def test_a_session_that_the_server_has_forgotten_is_not_found(client, upstream):
    upstream.answer.status = 404
    assert (await client.send("echo", {}, 1)).status == 404
    upstream.answer.status = 202
    assert (await client.send("echo", {}, 2)).status == 404


async def test_a_refused_message_is_told_and_the_session_goes_on(client, upstream):
    upstream.answer.status = 401
    answer = await client.send("echo", {}, 1)
    assert (answer.status, answer.whole, answer.headers.get("www-authenticate")) == (401, b"no", "Bearer")
    assert (await client.send("notifications/x")).status == 401
    upstream.answer.status = 202
    assert (await client.call("echo", {}, 1))["stream"] == "0"


async def test_the_end_of_a_session_closes_its_stream(client, upstream):
    assert (await client.ask(None, "end")).status == 200
    assert (await client.send("echo", {}, 1)).status == 404
    async with asyncio.timeout(10):
        while not upstream.gone.is_set():
            if upstream.answer.streams["0"].qsize() == 0:
                upstream.answer.say("0", {"jsonrpc": "2.0", "method": "notifications/x"})
            await asyncio.sleep(0.01)


async def test_an_idle_session_ends(sse, tools, upstream):
    client = tools.Client(await sse(upstream, "/sse", session_ttl=0.2))
    await client.open()
    await tools.until(lambda: not client.server._conversations)
    assert (await client.send("echo", {}, 1)).status == 404


async def test_an_id_in_use_is_refused(client):
    held = await client.send("hold", {}, 1)
    with pytest.raises(InvalidRequest):
        await client.send("echo", {}, 1)
    await held.close()


async def test_versions_without_sessions_are_refused(sse, tools, upstream):
    client = tools.Client(await sse(upstream, "/sse"), "2026-07-28")
    answer = await client.send("tools/list", {}, 1)
    assert answer.status == 400 and json.loads(answer.whole)["error"]["code"] == -32022
    assert upstream.received == []


async def test_garbage_is_logged_and_ignored(client, upstream, caplog):
    for garbage in ("hello", "[]", "{", '{"a": 1}'):
        upstream.answer.say("0", garbage)
    upstream.answer.streams["0"].put_nowait(b": ping\n\nevent: other\ndata: x\n\nevent: endpoint\ndata: /x\n\n")
    assert (await client.call("echo", {}, 1))["stream"] == "0"
    assert caplog.text.count("said what is no message") == 4


async def test_an_event_above_the_limit_ends_the_session(client, tools, upstream):
    held = await client.send("hold", {}, 1)
    upstream.answer.say("0", "x" * (3 * 2**20))
    (message,) = await tools.read(held)
    assert "too long" in message["error"]["message"]
    assert (await client.send("echo", {}, 2)).status == 404


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://evil.example/messages",
        "//evil.example/messages",
        "https://127.0.0.1/messages",
        "http://user@127.0.0.1/x",
        "\\\\evil.example/x",
        "file:///etc/passwd",
        "http://[",
        "/a b",
    ],
)
async def test_an_endpoint_elsewhere_is_refused(sse, tools, endpoint):
    server = LegacyServer(endpoint)
    async with Upstream(server) as upstream:
        with pytest.raises(UpstreamError, match="another origin"):
            await tools.Client(await sse(upstream, "/sse")).open()
        assert [request.method for request in upstream.received] == ["GET"]
        server.streams["0"].put_nowait(None)


@pytest.mark.parametrize(
    ("base", "reference", "target"),
    [
        ("http://h:1/sse", "/m?s=1", "/m?s=1"),
        ("http://h:1/a/sse", "m?s=1", "/a/m?s=1"),
        ("http://h:1/sse", "http://h:1/m", "/m"),
        ("http://h/sse", "http://H:80/m#x", "/m"),
        ("https://h/sse", "https://h:443/m", "/m"),
        ("http://h/sse?key=1", "?s=1", "/sse?s=1"),
        ("unix:/run/x/sse", "/m", "/m"),
    ],
)
def test_an_endpoint_is_resolved_against_the_stream(base, reference, target):
    assert same_origin(base, reference) == target


def test_what_a_policy_adds_to_the_query_is_added_to_the_post():
    assert joined("?key=1", "/m") == "?key=1" and joined("?key=1", "/m?s=1") == "&key=1"
    assert joined("&key=1", "/m?s=1") == "&key=1" and joined("", "/m") == ""


async def test_the_first_message_has_what_policies_gave_the_stream(sse, tools, upstream):
    server = await sse(upstream, "/sse")
    exchange = tools.asking({"id": 0, "method": "initialize", "params": {}})
    await server.prepare(exchange)
    exchange.outgoing.headers.set("authorization", "Bearer canary")
    exchange.outgoing.target += "?key=1"
    answer = await server.send(exchange)
    get, post = upstream.received
    assert get.headers["authorization"] == post.headers["authorization"] == "Bearer canary"
    assert (get.target, post.target) == ("/sse?key=1", "/messages?session_id=0&key=1")
    assert answer.session is not None


async def test_the_clients_own_credentials_stay_with_the_gateway(sse, tools, upstream):
    server = await sse(upstream, "/sse")
    exchange = tools.asking({"id": 0, "method": "initialize", "params": {}})
    for name in ("authorization", "cookie", "mcp-session-id"):
        exchange.request.headers.set(name, "canary")
    exchange.request.headers.set("x-tenant", "t")
    await server.prepare(exchange)
    await server.send(exchange)
    assert all("canary" not in str(request.headers) for request in upstream.received)
    assert all(request.headers["x-tenant"] == "t" for request in upstream.received)


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_stream_that_is_refused_is_told(sse, tools, status):
    async with Upstream(reply(status, b"{}", headers={"www-authenticate": "Bearer x"})) as upstream:
        client = tools.Client(await sse(upstream, "/sse"))
        answer = await client.send("initialize", {}, 0)
        assert (answer.status, answer.whole, answer.session) == (status, b"{}", None)
        assert answer.headers.get("www-authenticate") == "Bearer x"


async def test_what_is_no_event_stream_is_an_error(sse, tools):
    async with Upstream(reply(200, {})) as upstream:
        with pytest.raises(UpstreamError, match="no event stream"):
            await tools.Client(await sse(upstream, "/sse")).open()


async def test_a_stream_without_an_endpoint_is_an_error(sse, tools):
    async with Upstream([stream_head(), chunk(b": hello\n\n"), LAST]) as upstream:
        with pytest.raises(UpstreamError, match="named no endpoint"):
            await tools.Client(await sse(upstream, "/sse")).open()


async def test_a_server_that_is_not_there_is_an_error(sse, tools, upstream):
    server = await sse(upstream, "/sse")
    server._url = "http://127.0.0.1:1"
    with pytest.raises(ConnectFailed):
        await tools.Client(server).open()


async def test_a_client_that_leaves_before_there_is_an_endpoint_leaves_no_stream(sse, tools):
    async def silent():
        yield stream_head()
        for _ in range(1000):
            await asyncio.sleep(0.01)
            yield chunk(b": nothing yet\n\n")

    async with Upstream(lambda request: silent()) as upstream:
        opening = asyncio.ensure_future(tools.Client(await sse(upstream, "/sse")).open())
        await tools.until(lambda: bool(upstream.received))
        await asyncio.sleep(0.05)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(10):
            await upstream.gone.wait()
