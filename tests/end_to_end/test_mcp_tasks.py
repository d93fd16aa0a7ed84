"""Tasks: those of the core of 2025-11-25, and those of the extension of 2026-07-28, for clients of either era."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received
from agentgateway.testing.upstreams import chunk, stream_head

from .mcp_eras import ABLE, QUESTION
from .mcps import CAPABLE, ENVELOPE, LEGACY, MODERN, Client, Json, Server, answer_in, messages_in, said, tool

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
TIMES = {"createdAt": "2026-11-21T00:00:00Z", "lastUpdatedAt": "2026-11-21T00:00:01Z"}


@dataclass
class Extended(Server):
    """A server of 2026-07-28 with the extension. `tasks` are what has become of them; the tool `slow` makes one, `ask`
    one that wants to know a name."""

    tasks: dict[str, Json] = field(default_factory=dict)
    told: list[Json] = field(default_factory=list)

    def answer(self, request: Received) -> Any:
        message = request.json()
        params = message.get("params", {})
        self.able = EXTENSION in params.get("_meta", {}).get(CAPABILITIES, {}).get("extensions", {})
        if message["method"] == "subscriptions/listen":
            return self._tells(message["id"], params["notifications"])
        return super().answer(request)

    def call(self, params: Json) -> Json:
        if not self.able or params["name"] == "fast":
            return {"resultType": "complete", **said("at once")}
        task = f"t{len(self.tasks) + 1}"
        self.tasks[task] = {"status": "working"}
        if params["name"] == "ask":
            self.tasks[task] = {"status": "input_required", "inputRequests": {"who": QUESTION}}
        return {
            "resultType": "task",
            "taskId": task,
            **TIMES,
            "ttlMs": 60_000,
            "pollIntervalMs": 50,
            "status": "working",
        }

    def get(self, params: Json) -> Json:
        if not self.able:
            return {"error": {"code": -32021, "message": "Missing required client capability"}}
        if params["taskId"] not in self.tasks:
            return {"error": {"code": -32602, "message": "no such task"}}
        task = {"taskId": params["taskId"], **TIMES, "ttlMs": 60_000, "pollIntervalMs": 50}
        return {"resultType": "complete", **task, **self.tasks[params["taskId"]]}

    def update(self, params: Json) -> Json:
        name = params["inputResponses"]["who"]["content"]["name"]
        self.tasks[params["taskId"]] = {"status": "completed", "result": said(f"hello {name}")}
        return {"resultType": "complete"}

    def cancel(self, params: Json) -> Json:
        self.tasks[params["taskId"]] = {"status": "cancelled"}
        return {"resultType": "complete"}

    async def _tells(self, wanted: Any, asked: Json) -> AsyncIterator[bytes]:
        yield stream_head()
        meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": wanted}}
        begun = {"method": "notifications/subscriptions/acknowledged", "params": {"notifications": asked, **meta}}
        messages = [begun]
        for task in asked.get("taskIds", ()):
            state = {"taskId": task, **TIMES, "ttlMs": 60_000, "status": "working", **meta}
            messages.append({"method": "notifications/tasks", "params": state})
        for message in messages:
            yield chunk(b"data: " + json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n\n")
        while True:
            await asyncio.sleep(0.05)
            yield chunk(b": waiting\n\n")


def old_call(params: Json) -> Json:
    """Of a server of 2025-11-25: every call is a task if its client wants that."""
    task = {"taskId": "one", "status": "completed", **TIMES, "ttl": 1000}
    return {"task": task} if "task" in params else said("at once")


@dataclass
class World:
    new: Extended
    old: Server
    http: httpx.AsyncClient

    async def client(self, path: str, version: str = LEGACY) -> tuple[Client, Json]:
        client = Client(self.http, path)
        about = {"protocolVersion": version, "capabilities": ABLE, "clientInfo": {"name": "t", "version": "1"}}
        got = await client.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about})
        client.session = got.headers["mcp-session-id"]
        return client, answer_in(got)["result"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    new, old = Extended("new", legacy=False), Server("old", modern=False)
    new.answers = {
        "server/discover": {**CAPABLE["server/discover"], "capabilities": {"tools": {}, "extensions": {EXTENSION: {}}}},
        "tools/list": {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": [tool("slow")]},
        "tools/call": new.call,
        "tasks/get": new.get,
        "tasks/update": new.update,
        "tasks/cancel": new.cancel,
    }
    state = {"taskId": "one", "status": "completed", **TIMES, "ttl": 1000}
    old.answers = {
        "initialize": lambda params: {
            **CAPABLE["initialize"](params),
            "capabilities": {"tools": {}, "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}},
        },
        "tools/call": old_call,
        "tasks/get": lambda params: state if params["taskId"] == "one" else {"error": {"code": -32602, "message": "?"}},
        "tasks/result": {**said("done"), "_meta": {RELATED: {"taskId": "one"}}},
        "tasks/list": {"tasks": [state]},
    }
    async with AsyncExitStack() as stack:
        for server in (new, old):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        target = {one.name: {"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in (new, old)}
        again = {**target["old"], "name": "again"}
        routes = {"new": [target["new"]], "old": [target["old"], again], "both": [target["new"], target["old"]]}
        config: Json = {
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {"matches": [{"path": {"exact": f"/{name}"}}], "backends": [{"mcp": {"targets": targets}}]}
                for name, targets in routes.items()
            ],
        }
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url, timeout=20))
        yield World(new, old, http)


@pytest.fixture
def world(running: World) -> World:
    for server in (running.new, running.old):
        server.upstream.received.clear()
    running.new.tasks.clear()
    return running


async def begun(client: Client, name: str = "slow", **more: Any) -> Json:
    """The task that a call becomes."""
    answered = await client.old("tools/call", name=name, arguments={}, task={"ttl": 60_000, **more})
    task: Json = answered["result"]["task"]
    return task


# --- clients of 2025-11-25, a server with the extension ---------------------------------------------------------------


async def test_a_server_with_the_extension_has_tasks_for_clients_that_know_them(world: World) -> None:
    client, told = await world.client("/new")
    assert told["capabilities"]["tasks"] == {"cancel": {}, "requests": {"tools": {"call": {}}}}
    (listed,) = (await client.old("tools/list"))["result"]["tools"]
    assert listed["execution"] == {"taskSupport": "optional"}
    older, told = await world.client("/new", "2025-06-18")
    assert "tasks" not in told["capabilities"]
    (listed,) = (await older.old("tools/list"))["result"]["tools"]
    assert "execution" not in listed


async def test_a_task_is_followed_to_its_end(world: World) -> None:
    client, _ = await world.client("/new")
    task = await begun(client)
    assert task == {"taskId": "t1", "status": "working", **TIMES, "ttl": 60_000, "pollInterval": 50}
    (call,) = world.new.asked("tools/call")
    assert "task" not in call.json()["params"]
    assert (await client.old("tasks/get", taskId="t1"))["result"] == task
    waiting = asyncio.create_task(client.old("tasks/result", taskId="t1"))
    async with asyncio.timeout(10):
        while len(world.new.asked("tasks/get")) < 3:
            await asyncio.sleep(0.01)
    world.new.tasks["t1"] = {"status": "completed", "result": said("done")}
    assert (await waiting)["result"] == {**said("done"), "_meta": {RELATED: {"taskId": "t1"}}}
    headers = [one.headers["mcp-name"] for one in world.new.asked("tasks/get")]
    assert set(headers) == {"t1"}
    assert (await client.old("tasks/get", taskId="t1"))["result"]["status"] == "completed"


async def test_what_a_task_wants_to_know_is_asked_where_its_result_is_waited_for(world: World) -> None:
    client, _ = await world.client("/new")
    await begun(client, "ask")
    assert (await client.old("tasks/get", taskId="t1"))["result"]["status"] == "input_required"
    headers = {"accept": "application/json, text/event-stream", "mcp-session-id": client.session or ""}
    message = {"jsonrpc": "2.0", "id": 9, "method": "tasks/result", "params": {"taskId": "t1"}}
    async with client.http.stream("POST", "/new", json=message, headers=headers) as stream:
        lines = stream.aiter_lines()
        (question,) = messages_in(await anext(line async for line in lines if line.startswith("data: {")))
        assert (question["method"], question["params"]["message"]) == ("elicitation/create", "who?")
        assert question["params"]["_meta"] == {RELATED: {"taskId": "t1"}}
        answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}
        assert (await client.send(answer)).status_code == 202
        (response,) = messages_in(await anext(line async for line in lines if line.startswith("data: {")))
    assert (response["id"], response["result"]["content"]) == (9, said("hello Ada")["content"])
    (update,) = world.new.asked("tasks/update")
    assert update.headers["mcp-name"] == "t1"


async def test_a_task_that_fails_or_is_cancelled_says_so(world: World) -> None:
    client, _ = await world.client("/new")
    await begun(client)
    world.new.tasks["t1"] = {"status": "failed", "error": {"code": -32050, "message": "out of order"}}
    assert (await client.old("tasks/result", taskId="t1"))["error"] == {"code": -32050, "message": "out of order"}
    await begun(client)
    assert (await client.old("tasks/cancel", taskId="t2"))["result"]["status"] == "cancelled"
    assert (await client.old("tasks/result", taskId="t2"))["error"]["message"] == "the task was cancelled"
    assert (await client.old("tasks/cancel", taskId="t2"))["error"] == {"code": -32602, "message": "the task is over"}
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        assert (await client.old(method, taskId="nothing"))["error"]["code"] == -32602
    assert (await client.old("tasks/list"))["error"]["code"] == -32601


async def test_a_call_that_is_answered_at_once_is_a_task_all_the_same(world: World) -> None:
    client, _ = await world.client("/new")
    task = await begun(client, "fast", ttl=5_000)
    assert (task["status"], task["ttl"]) == ("completed", 5_000)
    assert (await client.old("tasks/get", taskId=task["taskId"]))["result"] == task
    result = (await client.old("tasks/result", taskId=task["taskId"]))["result"]
    assert result == {**said("at once"), "_meta": {RELATED: {"taskId": task["taskId"]}}}
    assert (await client.old("tasks/cancel", taskId=task["taskId"]))["error"]["message"] == "the task is over"
    stranger, _ = await world.client("/new")
    assert "error" in await stranger.old("tasks/get", taskId=task["taskId"])
    assert (await client.old("tools/call", name="slow", arguments={}))["result"] == said("at once")


async def test_news_of_a_task_come_on_the_general_stream(world: World) -> None:
    client, _ = await world.client("/new")
    headers = {"accept": "text/event-stream", "mcp-session-id": client.session or ""}
    async with client.http.stream("GET", "/new", headers=headers) as stream:
        await begun(client)
        async with asyncio.timeout(10):
            (news,) = messages_in(await anext(line async for line in stream.aiter_lines() if "taskId" in line))
    state = {"taskId": "t1", "status": "working", **TIMES, "ttl": 60_000}
    assert news == {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": state}


# --- several servers --------------------------------------------------------------------------------------------------


async def test_tasks_of_several_servers_are_told_apart(world: World) -> None:
    client, _ = await world.client("/old")
    assert (await begun(client, "again_x"))["taskId"] == "again+one"
    assert (await client.old("tasks/get", taskId="again+one"))["result"]["taskId"] == "again+one"
    result = (await client.old("tasks/result", taskId="again+one"))["result"]
    assert result["_meta"] == {RELATED: {"taskId": "again+one"}}
    listed = (await client.old("tasks/list"))["result"]["tasks"]
    assert [one["taskId"] for one in listed] == ["old+one", "again+one"]
    client, _ = await world.client("/both")
    assert (await begun(client, "new_slow"))["taskId"] == "new+t1"
    world.new.tasks["t1"] = {"status": "completed", "result": said("done")}
    result = (await client.old("tasks/result", taskId="new+t1"))["result"]
    assert result == {**said("done"), "_meta": {RELATED: {"taskId": "new+t1"}}}
    assert [one["taskId"] for one in (await client.old("tasks/list"))["result"]["tasks"]] == ["old+one"]


async def test_the_header_of_a_task_says_what_its_body_says(world: World) -> None:
    client = Client(world.http, "/new")
    meta = {**ENVELOPE, CAPABILITIES: {"extensions": {EXTENSION: {}}}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "t9", "_meta": meta}}
    given = {"mcp-protocol-version": MODERN, "mcp-method": "tasks/get"}
    for name in ({"mcp-name": "t8"}, {}):
        refused = await client.send(call, **given, **name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020)
    assert answer_in(await client.send(call, **given, **{"mcp-name": "t9"}))["error"]["message"] == "no such task"
    for method in ("tasks/list", "tasks/result"):
        removed = await client.modern(method, {"taskId": "t9"})
        assert (removed.status_code, removed.json()["error"]["code"]) == (404, -32601)
