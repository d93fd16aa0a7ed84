"""Sessions that live in one worker, through a gateway of several: every request comes by a connection of its own, and
so to any of them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from .mcp_eras import ABLE, QUESTION, Asking, Telling, multi_round
from .mcps import CAPABLE, ENVELOPE, LEGACY, MODERN, Client, Json, Legacy, answer_in, messages_in, said, streamed, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"
WORKERS = 3
TASKS = "io.modelcontextprotocol/tasks"


@pytest.fixture(scope="module")
def zygote() -> None:
    """The executable itself: workers are forks of it."""


@dataclass
class World:
    gateway: Any
    legacy: Legacy
    asking: Asking
    telling: Telling
    http: httpx.AsyncClient

    async def session(self, path: str = "/child", capabilities: Json | None = None) -> Client:
        client = Client(self.http, path)
        await client.open(capabilities)
        return client

    def stream(self) -> Any:
        return streamed(self.http, f"{self.gateway.url}/child/sse", {})

    async def sessions(self, count: int) -> list[Client]:
        """Some sessions, which do not all live in the same worker."""
        made = [await self.session() for _ in range(count)]
        while len({parent(await pid(client)) for client in made}) < 2:
            made.append(await self.session())
        return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(serve_all: Any) -> AsyncIterator[World]:
    legacy, asking, telling = Legacy(), Asking("sessions", modern=False), Telling("none", legacy=False)
    telling.answers["tools/call"] = multi_round
    extension = {"capabilities": {"tools": {}, "extensions": {TASKS: {}}}}
    telling.answers["server/discover"] = {**CAPABLE["server/discover"], **extension}
    working = {"taskId": "t", "status": "working", "createdAt": "", "lastUpdatedAt": "", "ttl": None}
    asking.answers = {
        "initialize": lambda params: {
            **CAPABLE["initialize"](params),
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}},
        },
        "tools/list": {"tools": [tool("ask"), tool("long", execution={"taskSupport": "required"})]},
        "tools/call": {"task": working},
        "tasks/get": working,
    }
    for server in (asking, telling):
        server.upstream.answer = server.answer
    async with legacy.upstream as upstream, asking.upstream, telling.upstream:
        targets = {
            "child": {"stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT)]}},
            "sessions": {"mcp": {"host": f"{asking.upstream.url}/mcp"}},
            "none": {"mcp": {"host": f"{telling.upstream.url}/mcp"}},
            "old": {"sse": {"host": f"{upstream.url}/sse"}, "policies": {"backendAuth": {"key": "of-the-server"}}},
        }
        config = {
            "config": {"workers": WORKERS, "adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"},
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "routes": [
                {
                    "matches": [{"path": {"pathPrefix": f"/{name}"}}],
                    "backends": [{"mcp": {"targets": [{"name": name, **of}]}}],
                }
                for name, of in targets.items()
            ],
        }
        gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        async with asyncio.timeout(20):
            while gateway.log.count(": ready") < WORKERS:
                await asyncio.sleep(0.02)
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20, limits=limits) as http:
            yield World(gateway, legacy, asking, telling, http)
        legacy.end()


async def pid(client: Client) -> int:
    """Of the child that answers."""
    answered = await client.old("me")
    assert "result" in answered, answered
    return int(answered["result"]["pid"])


def parent(process: int) -> int:
    """The worker that a child is of."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


async def gone(process: int) -> None:
    async with asyncio.timeout(20):
        while Path(f"/proc/{process}").exists():
            await asyncio.sleep(0.02)


def stream(client: Client, method: str = "POST", message: Json | None = None, **more: str) -> Any:
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-session-id": client.session or "",
        "mcp-protocol-version": LEGACY,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return client.http.stream(method, client.path, json=message, headers=headers)


async def next_message(lines: AsyncIterator[str]) -> Json:
    async for line in lines:
        if line.startswith("data: {"):
            return json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


async def test_a_session_keeps_its_state_whichever_worker_is_asked(world: World) -> None:
    clients = await world.sessions(3)
    first = [await pid(client) for client in clients]
    assert len(set(first)) == len(clients)
    for round in range(8):
        for client in clients:
            told = await client.send({"jsonrpc": "2.0", "method": "notifications/x", "params": {"round": round}})
            assert told.status_code == 202
    for client, process in zip(clients, first, strict=True):
        assert {await pid(client) for _ in range(4)} == {process}
        notes = (await client.old("seen"))["result"]
        assert [one["params"].get("round") for one in notes if one["method"] == "notifications/x"] == list(range(8))


async def test_many_messages_at_a_time_find_their_answers(world: World) -> None:
    clients = await world.sessions(2)
    big = "ä" * 300_000
    messages = [
        {
            "jsonrpc": "2.0",
            "id": number,
            "method": "echo",
            "params": {"n": number, "big": big if number % 10 == 0 else ""},
        }
        for number in range(40)
    ]
    got = await asyncio.gather(*(clients[number % 2].send(message) for number, message in enumerate(messages)))
    for message, answer in zip(messages, got, strict=True):
        assert messages_in(answer.text) == [{"jsonrpc": "2.0", "id": message["id"], "result": message["params"]}]


async def test_an_id_that_is_under_way_is_refused_there_too(world: World) -> None:
    (client, *_) = await world.sessions(1)
    held = {"jsonrpc": "2.0", "id": "same", "method": "hold", "params": {"tell": {"method": "notifications/message"}}}
    async with stream(client, message=held) as streamed:
        lines = streamed.aiter_lines()  # whose end is that of the request
        await next_message(lines)
        for _ in range(4):
            again = await client.send(held)
            assert (again.status_code, again.json()["error"]["message"]) == (
                400,
                "a request with this id is under way",
            )


async def test_a_server_asks_the_client_and_is_answered(world: World) -> None:
    for client in await world.sessions(3):
        ask = {"jsonrpc": "2.0", "id": "q", "method": "ask", "params": {"what": "elicitation/create"}}
        async with stream(client, message=ask) as streamed:
            lines = streamed.aiter_lines()
            asked = await next_message(lines)
            assert asked["method"] == "elicitation/create"
            answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}}
            assert (await client.send(answer)).status_code == 202
            assert (await next_message(lines))["result"]["client_said"] == {"action": "accept"}


async def test_a_request_is_cancelled_by_a_word_and_by_leaving(world: World) -> None:
    for client in await world.sessions(2):
        held = {"jsonrpc": "2.0", "id": "a", "method": "hold", "params": {"tell": {"method": "notifications/message"}}}
        async with stream(client, message=held) as streamed:
            lines = streamed.aiter_lines()
            await next_message(lines)
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}}
            assert (await client.send(cancel)).status_code == 202
            async with asyncio.timeout(10):
                assert [line async for line in lines if line.startswith("data:")] == []
        async with stream(client, message={**held, "id": "b"}) as streamed:
            await next_message(streamed.aiter_lines())
        async with asyncio.timeout(10):
            while True:
                notes = (await client.old("seen"))["result"]
                cancelled = [one["params"]["requestId"] for one in notes if one["method"] == "notifications/cancelled"]
                if cancelled == ["a", "b"]:
                    break


async def test_who_listens_hears_what_a_call_elsewhere_made_the_server_say(world: World) -> None:
    for client in await world.sessions(2):
        async with stream(client, "GET") as streamed:
            lines = streamed.aiter_lines()
            note = {"method": "notifications/tools/list_changed"}
            assert (await client.old("tell", notes=[note]))["result"] == {}
            assert (await next_message(lines))["method"] == "notifications/tools/list_changed"


async def test_a_session_ends_wherever_its_end_is_asked_for(world: World) -> None:
    for client in await world.sessions(2):
        process = await pid(client)
        headers = {"mcp-session-id": client.session or "", "mcp-protocol-version": LEGACY}
        assert (await client.http.delete(client.path, headers=headers)).status_code == 200
        await gone(process)
        ended = await client.send({"jsonrpc": "2.0", "id": 1, "method": "me"})
        assert ended.status_code == 404


async def test_a_stream_of_the_legacy_transport_is_asked_by_all(world: World) -> None:
    clients = [await world.session("/old") for _ in range(4)]
    texts = [
        [(await client.old("tools/call", name="say", arguments={}))["result"]["content"][0]["text"] for _ in range(6)]
        for client in clients
    ]
    assert [set(one) for one in texts] == [{f"stream {number}"} for number in range(len(clients))]
    received = world.legacy.upstream.received
    assert {one.headers["authorization"] for one in received} == {"Bearer of-the-server"}
    assert len([one for one in received if one.method == "GET"]) == len(clients)


async def test_a_crash_is_told_and_the_session_opened_anew_for_all(world: World) -> None:
    (client, *_) = await world.sessions(1)
    before = await pid(client)
    assert (await client.old("crash"))["error"]["message"] == "the server ended with exit code 9"
    asked = [{"jsonrpc": "2.0", "id": f"at once {number}", "method": "me"} for number in range(8)]
    got = await asyncio.gather(*map(client.send, asked))
    after = {answer_in(one)["result"]["pid"] for one in got}
    assert len({*after, *[await pid(client) for _ in range(8)]}) == 1 and before not in after


async def test_a_stream_gets_the_answers_of_all_workers(world: World) -> None:
    for _ in range(3):
        async with world.stream() as stream:
            process = (await stream.open())["pid"]
            assert {(await stream.ask("me"))["result"]["pid"] for _ in range(8)} == {process}
            await stream.send("ask", "q", what="elicitation/create")
            async with asyncio.timeout(20):
                asked = await stream.heard.get()
            await stream.post({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}})
            assert (await stream.answer("q"))["result"]["client_said"] == {"action": "accept"}
            big = await stream.ask("echo", big="ä" * 300_000)
            assert len(big["result"]["big"]) == 300_000
            assert (await stream.ask("tools/call"))["error"]["code"] == -32602
            for number in range(6):
                await stream.send("hold", number)
        await gone(process)
        late = await stream.send("me", 1)
        assert late.status_code == 404


# --- between the eras -------------------------------------------------------------------------------------------------


async def test_a_server_without_sessions_is_answered_through_any_worker(world: World) -> None:
    client = await world.session("/none", ABLE)
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "ask", "arguments": {}}}
    for name in ("Ada", "Bob", "Cy", "Di", "Ed"):
        async with stream(client, message=call) as streamed:
            lines = streamed.aiter_lines()
            question = await next_message(lines)
            assert {key: question[key] for key in QUESTION} == QUESTION
            given = {"action": "accept", "content": {"name": name}}
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": given}
            stranger = await world.session("/none", ABLE)
            assert (await stranger.send({**answer, "result": {"action": "cancel"}})).status_code == 202
            assert (await client.send(answer)).status_code == 202
            assert (await next_message(lines))["result"] == said(f"hello {name}")


async def test_a_level_holds_in_every_worker(world: World) -> None:
    client = await world.session("/none")
    for level in ("error", "debug"):
        assert (await client.old("logging/setLevel", level=level))["result"] == {}
        world.telling.upstream.received.clear()
        for _ in range(6):
            await client.old("tools/call", name="later", arguments={})
        metas = [one.json()["params"]["_meta"] for one in world.telling.asked("tools/call")]
        assert {one["io.modelcontextprotocol/logLevel"] for one in metas} == {level}


async def test_a_request_to_a_server_without_sessions_is_cancelled_through_any_worker(world: World) -> None:
    client = await world.session("/none")
    for number in range(4):
        world.telling.upstream.received.clear()
        world.telling.hangs = True
        held = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "x", "arguments": {}}}
        call = asyncio.create_task(client.send(held))
        async with asyncio.timeout(10):
            while not world.telling.asked("tools/call"):
                await asyncio.sleep(0.01)
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}
        assert (await client.send(cancel)).status_code == 202
        async with asyncio.timeout(10):
            assert messages_in((await call).text) == []
        world.telling.hangs = False


async def test_a_subscription_reaches_the_stream_of_another_worker(world: World) -> None:
    client = await world.session("/none")
    async with stream(client, "GET") as streamed:
        lines = streamed.aiter_lines()
        told = set()
        for number in range(4):
            assert (await client.old("resources/subscribe", uri=f"note://{number}"))["result"] == {}
            while f"note://{number}" not in told:
                message = await next_message(lines)
                assert (message["method"], "_meta" in message["params"]) == ("notifications/resources/updated", False)
                told.add(message["params"]["uri"])
        assert (await client.old("resources/unsubscribe", uri="note://0"))["result"] == {}
        last = world.telling.asked("subscriptions/listen")[-1].json()["params"]["notifications"]
        assert last["resourceSubscriptions"] == ["note://1", "note://2", "note://3"]
        async with stream(client, "GET") as other:
            assert (await next_message(other.aiter_lines()))["params"]["uri"] == "note://1"
            async with asyncio.timeout(10):
                assert [line async for line in lines if "note://0" in line] == []
        headers = {"mcp-session-id": client.session or "", "mcp-protocol-version": LEGACY}
        assert (await client.http.delete(client.path, headers=headers)).status_code == 200


async def test_a_stream_that_is_lost_goes_on_in_any_worker(world: World) -> None:
    client = await world.session("/none", ABLE)
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "ask", "arguments": {}}}
    for name in ("Ada", "Bob", "Cy", "Di"):
        async with stream(client, message=call) as streamed:
            primed, asked = await event_in(streamed.aiter_lines()), None
        assert primed[1] is None
        async with stream(client, "GET", last_event_id=primed[0]) as streamed:
            asked = await event_in(streamed.aiter_lines())
        assert asked[1] is not None and asked[1]["method"] == "elicitation/create"
        given = {"action": "accept", "content": {"name": name}}
        assert (await client.send({"jsonrpc": "2.0", "id": asked[1]["id"], "result": given})).status_code == 202
        for place, missed in ((asked[0], 1), (primed[0], 2)):
            async with stream(client, "GET", last_event_id=place) as streamed, asyncio.timeout(10):
                got = messages_in("\n".join([line async for line in streamed.aiter_lines()]))
            assert (len(got), got[-1]["id"], got[-1]["result"]) == (missed, 7, said(f"hello {name}"))
        stranger = await world.session("/none", ABLE)
        headers = {"accept": "text/event-stream", "mcp-session-id": stranger.session or "", "last-event-id": asked[0]}
        refused = await client.http.get(client.path, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32600)


async def test_what_a_server_says_unasked_is_kept_for_who_is_away(world: World) -> None:
    client = await world.session("/none")
    async with stream(client, "GET") as streamed:
        place, _ = await event_in(streamed.aiter_lines())
    assert (await client.old("resources/subscribe", uri="note://missed"))["result"] == {}
    for _ in range(3):
        async with stream(client, "GET", last_event_id=place) as streamed:
            _, message = await event_in(streamed.aiter_lines())
            assert message is not None and message["params"]["uri"] == "note://missed"


async def event_in(lines: AsyncIterator[str]) -> tuple[str, Json | None]:
    """The next event: its id, and its message if it has one."""
    place = ""
    async with asyncio.timeout(10):
        async for line in lines:
            name, _, value = line.partition(": ")
            place = value if name == "id" else place
            if name == "data":
                return place, json.loads(value) if value else None
    raise AssertionError("the stream ended")


async def test_a_question_of_a_server_with_sessions_is_answered_through_any_worker(world: World) -> None:
    client = Client(world.http, "/sessions")
    for name in ("Ada", "Bob", "Cy", "Di", "Ed"):
        asked = (await asking(client))["result"]
        answers = dict.fromkeys(asked["inputRequests"], {"action": "accept", "content": {"name": name}})
        done = await asking(client, inputResponses=answers, requestState=asked["requestState"])
        assert done["result"]["content"] == said(f"hello {name}")["content"]
        again = await asking(client, inputResponses=answers, requestState=asked["requestState"])
        assert again["error"]["code"] == -32602


async def test_a_task_is_found_in_the_session_that_it_was_begun_in(world: World) -> None:
    client = Client(world.http, "/sessions")
    for _ in range(3):
        world.asking.upstream.received.clear()
        task = (await asking(client, name="long"))["result"]["taskId"]
        for _ in range(4):
            meta = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": task, "_meta": meta}}
            given = {"mcp-protocol-version": MODERN, "mcp-method": "tasks/get", "mcp-name": task}
            state = answer_in(await client.send(message, **given))["result"]
            assert (state["taskId"], state["status"]) == (task, "working")
        about = [*world.asking.asked("tools/call"), *world.asking.asked("tasks/get")]
        assert (len(about), len({one.headers["mcp-session-id"] for one in about})) == (5, 1)


async def test_a_task_that_was_over_at_once_is_found_from_everywhere(world: World) -> None:
    client = await world.session("/none")
    made = await client.old("tools/call", name="later", arguments={}, task={})
    task = made["result"]["task"]
    for _ in range(5):
        assert (await client.old("tasks/get", taskId=task["taskId"]))["result"] == task
        assert (await client.old("tasks/result", taskId=task["taskId"]))["result"]["content"]
    stranger = await world.session("/none")
    assert "error" in await stranger.old("tasks/get", taskId=task["taskId"])


async def asking(client: Client, name: str = "ask", **more: Any) -> Json:
    """What comes of the tool that asks, or of another one, in 2026-07-28."""
    meta = {**ENVELOPE, "io.modelcontextprotocol/clientCapabilities": {**ABLE, "extensions": {TASKS: {}}}}
    given = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": name}
    params = {"name": name, "arguments": {}, **more, "_meta": meta}
    return answer_in(await client.send({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}, **given))


# --- workers that die -------------------------------------------------------------------------------------------------


async def test_a_killed_worker_leaves_no_request_of_a_stream_unanswered(world: World) -> None:
    """Near the last one: it kills a worker."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(world.stream()) for _ in range(4)]
        for stream in streams:
            await stream.open()
            for number in range(6):
                await stream.send("hold", f"held {number}")
        victim = parent((await streams[0].ask("me"))["result"]["pid"])
        os.kill(victim, signal.SIGKILL)
        await gone(victim)
        errors = 0
        for stream in streams:
            await asyncio.sleep(0.1)
            if stream.reading.done():
                assert (await stream.send("me", 1)).status_code == 404
                continue
            again = await stream.ask("me")
            assert "result" in again, again
            told = [one["error"]["code"] for one in stream.others if str(one.get("id")).startswith("held")]
            assert set(told) <= {-32603}
            errors += len(told)
        assert errors or all(stream.reading.done() for stream in streams)


async def test_a_killed_worker_takes_only_its_own_sessions_along(world: World) -> None:
    """Near the last one: it kills a worker."""
    clients = await world.sessions(5)
    before = {client.session: await pid(client) for client in clients}
    victim = parent(before[clients[0].session])
    taken = {session for session, process in before.items() if parent(process) == victim}
    os.kill(victim, signal.SIGKILL)
    await gone(victim)
    for client in clients:
        after = {await pid(client) for _ in range(6)}
        assert len(after) == 1
        assert (after == {before[client.session]}) is (client.session not in taken)
    for session in taken:
        await gone(before[session])
    notes = (await clients[0].old("seen"))["result"]
    assert [one["method"] for one in notes] == ["notifications/initialized"]
    again = await pid(clients[0])
    headers = {"mcp-session-id": clients[0].session or "", "mcp-protocol-version": LEGACY}
    assert (await world.http.delete("/child", headers=headers)).status_code == 200
    await gone(again)


async def test_nothing_is_left_behind(world: World) -> None:
    """The last one: it ends the gateway."""
    processes = [await pid(client) for client in await world.sessions(2)]
    folder = next(
        Path(line.split()[-1]).parent
        for line in Path("/proc/net/unix").read_text().splitlines()
        if line.endswith(".peer") and Path(line.split()[-1]).exists()
    )
    assert folder.stat().st_mode & 0o777 == 0o700
    assert await world.gateway.stop() == 0
    for process in processes:
        await gone(process)
    assert not folder.exists()
