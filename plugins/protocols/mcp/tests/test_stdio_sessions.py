"""Sessions of a `stdio` target: one child each."""

import asyncio
import os

import pytest
from pydantic_core import from_json

from agentgateway.errors import InvalidRequest, NoEndpoint, UpstreamError


@pytest.fixture
async def client(stdio, tools):
    client = tools.Client(await stdio())
    await client.open()
    return client


async def test_initialize_starts_a_child_and_opens_a_session(stdio, tools):
    one, two = tools.Client(server := await stdio()), tools.Client(server)
    assert (await one.open())["result"]["protocolVersion"] == "2025-11-25"
    await two.open()
    assert len(one.session) >= 32 and one.session != two.session
    assert one.opened["result"]["pid"] != two.opened["result"]["pid"]
    assert (await one.call("me"))["pid"] == one.opened["result"]["pid"]


async def test_a_request_gets_its_answer_and_keeps_its_id(client):
    for id in (1, "1", "a", 2**60):
        assert await client.call("echo", {"x": "ä\n"}, id) == {"x": "ä\n"}


async def test_an_error_is_passed_on(client, tools):
    (message,) = await tools.read(await client.send("nothing", id=1))
    assert message["error"] == {"code": -32601, "message": "Method not found"}


async def test_a_notification_is_accepted(client):
    assert (await client.send("notifications/initialized")).status == 202
    assert [note["method"] for note in await client.call("seen")] == ["notifications/initialized"]


async def test_answers_find_their_requests_whatever_their_order(client, tools):
    held = await client.send("hold", {"n": 1}, 1)
    assert await client.call("echo", {"n": 2}, 2) == {"n": 2}
    await client.send("notifications/release")
    assert (await tools.read(held))[0]["result"]["held"] == {"n": 1}


async def test_an_id_in_use_is_refused(client):
    held = await client.send("hold", {}, 1)
    with pytest.raises(InvalidRequest):
        await client.send("echo", {}, 1)
    await held.close()
    assert await client.call("echo", {}, 1) == {}


async def test_progress_goes_to_its_request(client, tools):
    other = await client.send("hold", {"_meta": {"progressToken": 1}}, 5)
    answer = await client.send("progress", {"times": 3, "_meta": {"progressToken": "1"}}, 6)
    *notes, last = await tools.read(answer)
    assert [note["params"]["progress"] for note in notes] == [0, 1, 2] and last["result"] == {"done": 6}
    await client.send("notifications/release")
    assert len(await tools.read(other)) == 1


async def test_what_is_said_unasked_goes_to_the_request_under_way(client, tools):
    note = {"method": "notifications/message", "level": "info", "data": "hi"}
    first, second = await tools.read(await client.send("tell", {"notes": [note]}, 1))
    assert first["params"] == {"level": "info", "data": "hi"} and second["id"] == 1


async def test_news_of_lists_goes_to_the_listener(client, tools):
    listening = await client.ask(None, "listen")
    notes = [{"method": "notifications/tools/list_changed"}, {"method": "notifications/message", "data": "x"}]
    mine = await tools.read(await client.send("tell", {"notes": notes}, 1))
    assert [message.get("method") for message in mine] == ["notifications/message", None]
    assert from_json((await anext(listening.messages)).data)["method"] == "notifications/tools/list_changed"
    await listening.close()


async def test_what_nobody_hears_is_kept_for_the_next_listener(client, tools):
    await client.call("ask-later", {"instead": 55}, 1)
    listening = await client.ask(None, "listen")
    asked = from_json((await anext(listening.messages)).data)
    assert asked == {"jsonrpc": "2.0", "id": 7, "method": "roots/list", "params": {}}


async def test_a_newer_listener_takes_over(client):
    first, second = await client.ask(None, "listen"), await client.ask(None, "listen")
    with pytest.raises(StopAsyncIteration):
        await anext(first.messages)
    await first.close()
    await client.call("ask-later", {"instead": 55}, 1)
    assert from_json((await anext(second.messages)).data)["id"] == 7


async def test_the_client_answers_the_servers_request(client, tools):
    answer = await client.send("ask", {"what": "sampling/createMessage"}, 1)
    asked = from_json((await anext(answer.messages)).data)
    assert (await client.ask({"id": asked["id"], "result": {"role": "user"}})).status == 202
    assert (await tools.read(answer))[0]["result"]["client_said"] == {"role": "user"}


async def test_a_client_that_leaves_cancels_its_request(client):
    held = await client.send("hold", {}, "h")
    await held.close()
    await held.close()
    (note,) = await client.call("seen")
    assert note["method"] == "notifications/cancelled" and note["params"]["requestId"] == "h"


async def test_a_reader_that_was_waiting_when_the_client_left_ends(client):
    held = await client.send("hold", {}, "h")
    reading = asyncio.ensure_future(anext(held.messages))
    await asyncio.sleep(0)
    reading.cancel()
    await held.close()
    assert await client.call("echo", {}, 2) == {}


async def test_a_cancelled_request_ends_its_stream(client, tools):
    held = await client.send("hold", {}, 9)
    await client.send("notifications/cancelled", {"requestId": 9})
    assert await tools.read(held) == []
    await held.close()
    assert len(await client.call("seen")) == 1


async def test_a_slow_reader_loses_the_oldest_notifications_and_nothing_else(client, tools):
    answer = await client.send("progress", {"times": 2000, "_meta": {"progressToken": 1}}, 1)
    assert await client.call("echo", {}, 2) == {}
    *notes, last = await tools.read(answer)
    assert len(notes) < 300 and notes[-1]["params"]["progress"] == 1999 and last["result"] == {"done": 1}


async def test_the_end_of_a_session_ends_its_child(client, tools):
    pid = client.opened["result"]["pid"]
    assert (await client.ask(None, "end")).status == 200
    assert (await client.send("echo", {}, 1)).status == 404
    await tools.gone(pid)


async def test_an_idle_session_ends(stdio, tools):
    client = tools.Client(await stdio(session_ttl=0.3))
    await client.open()
    await tools.gone(client.opened["result"]["pid"])
    assert (await client.send("echo", {}, 1)).status == 404


async def test_a_session_somebody_waits_in_is_not_idle(stdio, tools):
    client = tools.Client(await stdio(session_ttl=0.2))
    await client.open()
    held = await client.send("hold", {}, 1)
    await asyncio.sleep(0.6)
    await client.send("notifications/release")
    assert len(await tools.read(held)) == 1


@pytest.mark.parametrize("session", ["", "x", "../../etc", "0" * 32])
async def test_an_unknown_session_is_not_found(stdio, tools, session):
    client = tools.Client(await stdio())
    client.session = session
    assert (await client.send("echo", {}, 1)).status == 404
    assert (await client.ask(None, "listen")).status == 404
    assert (await client.ask(None, "end")).status == 404


async def test_a_message_without_a_session_is_refused(stdio, tools):
    client = tools.Client(await stdio())
    assert (await client.send("echo", {}, 1)).status == 400
    assert (await client.ask(None, "listen")).status == 405


async def test_a_server_that_refuses_to_initialize_opens_no_session(stdio, tools):
    client = tools.Client(await stdio("--refuse"))
    assert (await client.open())["error"]["code"] == -32602
    assert client.session is None


async def test_a_server_that_ends_in_initialize_is_an_error_and_is_left_alone(stdio, tools, host):
    client = tools.Client(server := await stdio("--crash"))
    with pytest.raises(UpstreamError, match="ended before"):
        await client.open()
    with pytest.raises(NoEndpoint) as caught:
        await client.open()
    assert dict(caught.value.headers)["retry-after"] == "1"
    assert host.counters["mcp_stdio_ends"].counts == {("targets[0].stdio", "failed"): 1}
    await server.stop()


async def test_sessions_are_bounded(stdio, tools):
    server = await stdio(maxSessions=1)
    one, two = tools.Client(server), tools.Client(server)
    await one.open()
    with pytest.raises(NoEndpoint):
        await two.open()
    await one.ask(None, "end")
    await two.open()


async def test_a_client_that_leaves_while_it_initializes_leaves_no_child(stdio, tools):
    server = await stdio()
    opening = asyncio.ensure_future(tools.Client(server).open())
    await tools.until(lambda: server._starting == 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await server.stop()
    assert not server._conversations and server._starting == 0


async def test_sessions_leave_nothing_behind(stdio, tools):
    server = await stdio()
    await (one := tools.Client(server)).open()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        clients = [tools.Client(server) for _ in range(5)]
        await asyncio.gather(*(client.open() for client in clients))
        for client in clients:
            await client.ask(None, "end")
            await tools.gone(client.opened["result"]["pid"])
    await tools.until(lambda: not server._tasks)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(server._conversations) == 1 and await one.call("echo", {}) == {}
