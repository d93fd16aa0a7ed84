"""Tasks: those of the core of 2025-11-25, and those of the extension of 2026-07-28, for clients of either era."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received
from agentgateway.testing.upstreams import LAST, chunk, stream_head

from .mcp_eras import ABLE, QUESTION
from .mcps import ACCEPT, CAPABLE, ENVELOPE, LEGACY, MODERN, Client, Json, Server, answer_in, messages_in, said, tool

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER = "io.modelcontextprotocol/serverInfo"
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
            yield chunk(event(message))
        while True:
            await asyncio.sleep(0.05)
            yield chunk(b": waiting\n\n")


def old_call(params: Json) -> Json:
    """Of a server of 2025-11-25: every call is a task if its client wants that."""
    task = {"taskId": "one", "status": "completed", **TIMES, "ttl": 1000}
    return {"task": task} if "task" in params else said("at once")


@dataclass
class Core(Server):
    """A server of 2025-11-25 with tasks, which are those of a session. The tool `ask` wants to know a name, where its
    result is waited for, or, when it asks `elsewhere`, on the general stream of that session."""

    tasks: dict[str, Json] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    elsewhere: bool = False
    asking: str = ""

    def answer(self, request: Received) -> Any:
        self.session = request.headers.get("mcp-session-id", "")
        message = request.json() if request.method == "POST" else {}
        if request.method == "GET":
            return self._tells(self.session)
        if "result" in message:
            name = message["result"]["content"]["name"]
            self.tasks[f"{self.session} ask"] |= {"status": "completed", "content": said(f"hello {name}")}
            self.heard.set()
        if message.get("method") == "tasks/result" and message["params"]["taskId"] == "ask":
            self.asking = self.session
            return self._asks(message["id"], f"{self.session} ask")
        return super().answer(request)

    def call(self, params: Json) -> Json:
        if "task" not in params:
            return said("at once")
        name, status = params["name"], "input_required" if params["name"] == "ask" else "working"
        self.tasks[f"{self.session} {name}"] = {
            "taskId": name,
            "status": status,
            **TIMES,
            "ttl": None,
            "pollInterval": 9,
        }
        return {"task": self.tasks[f"{self.session} {name}"]}

    def get(self, params: Json) -> Json:
        known = self.tasks.get(f"{self.session} {params['taskId']}")
        return known or {"error": {"code": -32602, "message": "no such task"}}

    def result(self, params: Json) -> Json:
        content = self.get(params)["content"]
        return content if "error" in content else {**content, "_meta": {RELATED: {"taskId": params["taskId"]}}}

    def cancel(self, params: Json) -> Json:
        task = self.get(params)
        if task.get("status") == "cancelled":
            return {"error": {"code": -32602, "message": "it is over"}}
        if "error" not in task:
            task["status"] = "cancelled"
        return task

    async def _asks(self, wanted: Any, task: str) -> AsyncIterator[bytes]:
        yield stream_head()
        if not self.elsewhere:
            yield self._question()
        while not self.heard.is_set():
            await asyncio.sleep(0.01)
            yield chunk(b": waiting\n\n")
        yield chunk(event({"id": wanted, "result": self.tasks[task]["content"]}))
        yield LAST

    def _question(self) -> bytes:
        params = {**QUESTION["params"], "_meta": {RELATED: {"taskId": "ask"}}}
        return chunk(event({"id": "q", **QUESTION, "params": params}))

    async def _tells(self, session: str) -> AsyncIterator[bytes]:
        yield stream_head()
        told: set[bytes] = set()
        while True:
            news = {event({"method": "notifications/tasks/status", "params": task}) for task in self.tasks.values()}
            for one in news - told:
                yield chunk(one)
            if self.elsewhere and self.asking == session:
                self.asking = ""
                yield self._question()
            told |= news
            await asyncio.sleep(0.01)
            yield chunk(b": waiting\n\n")


def event(message: Json) -> bytes:
    return b"data: " + json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n\n"


@dataclass
class World:
    new: Extended
    core: Core
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
    core = Core("core", modern=False)
    tools = [tool(name, execution={"taskSupport": "optional"}) for name in ("slow", "ask")]
    core.answers = {
        **old.answers,
        "tools/list": {"tools": [*tools, tool("must", execution={"taskSupport": "required"}), tool("plain")]},
        "tools/call": core.call,
        "tasks/get": core.get,
        "tasks/result": core.result,
        "tasks/cancel": core.cancel,
    }
    async with AsyncExitStack() as stack:
        for server in (new, old, core):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        target = {one.name: {"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in (new, old, core)}
        again = {**target["old"], "name": "again"}
        routes = {"new": [target["new"]], "old": [target["old"], again], "both": [target["new"], target["old"]]}
        routes |= {"core": [target["core"]], "three": [target["core"], target["new"]]}
        config: Json = {
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {"matches": [{"path": {"exact": f"/{name}"}}], "backends": [{"mcp": {"targets": targets}}]}
                for name, targets in routes.items()
            ],
        }
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        each = httpx.Limits(max_keepalive_connections=0)  # each request comes by a connection of its own
        client = httpx.AsyncClient(base_url=gateway.url, timeout=20, limits=each)
        yield World(new, core, old, await stack.enter_async_context(client))


@pytest.fixture
def world(running: World) -> World:
    for server in (running.new, running.old, running.core):
        server.upstream.received.clear()
    running.core.tasks.clear()
    running.core.heard.clear()
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


async def test_a_real_client_follows_them(world: World) -> None:
    script = Path(__file__).parent / "mcp_clients/python_sdk_1_tasks.py"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, script, str(world.http.base_url.join("/new"))),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(sys.prefix) / "beside/mcp-1")},
    )
    told, _ = await process.communicate()
    assert json.loads(told) == [
        ["optional"],
        ["input_required", "hello Ada", "completed"],
        ["completed", "at once", "completed"],
        "cancelled",
        "the task was cancelled",
    ]


# --- clients with the extension, a server of 2025-11-25 ---------------------------------------------------------------


async def declaring(client: Client, method: str, **params: Any) -> Json:
    """The response to a client that knows the extension."""
    meta = {**ENVELOPE, CAPABILITIES: {**ABLE, "extensions": {EXTENSION: {}}}}
    named = {"mcp-name": params.get("taskId") or params["name"]} if params else {}
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}
    given = {"mcp-protocol-version": MODERN, "mcp-method": method, **named}
    return answer_in(await client.send(message, **given))


async def test_a_server_with_tasks_has_the_extension(world: World) -> None:
    client = Client(world.http, "/core")
    assert EXTENSION in (await declaring(client, "server/discover"))["result"]["capabilities"]["extensions"]
    task = (await declaring(client, "tools/call", name="slow", arguments={}))["result"]
    name = task.pop("taskId")
    timing = {"ttlMs": None, "pollIntervalMs": 9, **TIMES}
    meta = task.pop("_meta")
    assert (task, list(meta)) == ({"resultType": "task", "status": "working", **timing}, [SERVER])
    (call,) = world.core.asked("tools/call")
    assert call.json()["params"]["task"] == {}
    state = (await declaring(client, "tasks/get", taskId=name))["result"]
    assert (state["resultType"], state["taskId"], state["status"]) == ("complete", name, "working")
    (known,) = world.core.tasks.values()
    known |= {"status": "failed", "content": {**said("no"), "isError": True}}
    state = (await declaring(client, "tasks/get", taskId=name))["result"]
    assert (state["status"], state["result"]) == (
        "completed",
        {"resultType": "complete", **said("no"), "isError": True},
    )
    known |= {"content": {"error": {"code": -32050, "message": "out of order"}}}
    state = (await declaring(client, "tasks/get", taskId=name))["result"]
    assert (state["status"], state["error"]["code"], "result" in state) == ("failed", -32050, False)
    sessions = {one.headers["mcp-session-id"] for one in (call, *world.core.asked("tasks/get"))}
    assert len(sessions) == 1  # though each request came by another connection, and nobody says who asks


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_a_task_wants_to_know_is_told_and_answered_where_its_state_is(world: World, elsewhere: bool) -> None:
    client, world.core.elsewhere = Client(world.http, "/core"), elsewhere
    name = (await declaring(client, "tools/call", name="ask", arguments={}))["result"]["taskId"]
    state = (await declaring(client, "tasks/get", taskId=name))["result"]
    ((key, question),) = state["inputRequests"].items()
    assert (state["status"], question) == ("input_required", QUESTION)
    assert (await declaring(client, "tasks/get", taskId=name))["result"]["inputRequests"] == state["inputRequests"]
    answers = {key: {"action": "accept", "content": {"name": "Ada"}}, "other": {}}
    done = (await declaring(client, "tasks/update", taskId=name, inputResponses=answers))["result"]
    assert (done["resultType"], "taskId" in done) == ("complete", False)
    state = (await declaring(client, "tasks/get", taskId=name))["result"]
    assert (state["status"], state["result"]["content"]) == ("completed", said("hello Ada")["content"])
    assert len(world.core.asked("tasks/result")) == 1
    assert (await declaring(client, "tasks/update", taskId=name, inputResponses={}))["error"]["code"] == -32602


async def test_a_task_is_cancelled_as_often_as_one_likes(world: World) -> None:
    client = Client(world.http, "/core")
    name = (await declaring(client, "tools/call", name="slow", arguments={}))["result"]["taskId"]
    for _ in range(2):
        done = (await declaring(client, "tasks/cancel", taskId=name))["result"]
        assert (done["resultType"], "taskId" in done) == ("complete", False)
    assert (await declaring(client, "tasks/get", taskId=name))["result"]["status"] == "cancelled"
    for wrong in (f"{name}x", "slow", name[2:], f"0.{'x' * 32}.slow"):
        for method in ("tasks/get", "tasks/cancel"):
            assert (await declaring(client, method, taskId=wrong))["error"]["code"] == -32602


async def test_who_does_not_know_the_extension_gets_no_task(world: World) -> None:
    client = Client(world.http, "/core")
    await client.new("tools/list")
    assert (await client.new("tools/call", name="slow", arguments={}, task={}))["result"]["content"]
    refused = await client.modern("tools/call", {"name": "must", "arguments": {}})
    asked = await client.modern("tasks/get", {"taskId": "slow"}, **{"mcp-name": "slow"})
    for got in (refused, asked):
        assert (got.status_code, got.json()["error"]["code"]) == (400, -32021)
        assert got.json()["error"]["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    assert "task" not in world.core.asked("tools/call")[-1].json()["params"]
    assert (await declaring(client, "tools/call", name="plain", arguments={}))["result"]["content"]
    assert (await declaring(client, "tools/call", name="must", arguments={}))["result"]["resultType"] == "task"


async def test_news_of_a_task_come_by_the_subscription_that_names_it(world: World) -> None:
    client = Client(world.http, "/three")
    name = (await declaring(client, "tools/call", name="core_slow", arguments={}))["result"]["taskId"]
    assert name.startswith("core+")
    other = (await declaring(client, "tools/call", name="new_slow", arguments={}))["result"]["taskId"]
    meta = {**ENVELOPE, CAPABILITIES: {**ABLE, "extensions": {EXTENSION: {}}}}
    params = {"notifications": {"taskIds": [name, other]}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 8, "method": "subscriptions/listen", "params": params}
    given = {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen", "accept": ACCEPT}
    async with client.http.stream("POST", "/three", json=message, headers=given) as stream, asyncio.timeout(10):
        lines = (line async for line in stream.aiter_lines() if line.startswith("data: {"))
        (begun,) = messages_in(await anext(lines))
        assert begun["params"]["notifications"] == {"taskIds": [name, other]}
        (known,) = world.core.tasks.values()
        known["statusMessage"] = "half of it"
        told = set()
        while told != {name, other}:
            (news,) = messages_in(await anext(lines))
            assert news["method"] == "notifications/tasks"
            told.add(news["params"]["taskId"])


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
