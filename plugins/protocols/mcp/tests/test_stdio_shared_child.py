"""The one child of all clients without sessions."""

import asyncio

import pytest
from agentgateway_mcp import restarts

from agentgateway.errors import NoEndpoint


@pytest.fixture
async def server(stdio):
    return await stdio()


@pytest.fixture
def clients(server, tools):
    return [tools.Client(server, "2026-07-28") for _ in range(3)]


async def test_all_clients_have_one_child_and_no_session(clients):
    pids = {(await client.call("me"))["pid"] for client in clients}
    assert len(pids) == 1 and all(client.session is None for client in clients)


async def test_it_starts_once_however_many_ask_first(clients):
    found = await asyncio.gather(*(client.call("me") for client in clients * 5))
    assert len({one["pid"] for one in found}) == 1


async def test_it_is_not_initialised(clients):
    assert await clients[0].call("seen") == []


async def test_clients_with_equal_ids_get_their_own_answers(clients):
    found = await asyncio.gather(*(client.call("echo", {"n": n}, 1) for n, client in enumerate(clients * 50)))
    assert found == [{"n": n} for n in range(150)]


async def test_progress_goes_to_who_asked_for_it(clients, tools):
    params = {"times": 5, "_meta": {"progressToken": 1}}
    held = await clients[0].send("hold", {"_meta": {"progressToken": 1}}, 1)
    answers = [await tools.read(await client.send("progress", params, 1)) for client in clients[1:]]
    for *notes, last in answers:
        assert [note["params"] for note in notes] == [{"progressToken": 1, "progress": n} for n in range(5)]
        assert last["id"] == 1
    await held.close()


async def test_a_client_that_leaves_cancels_its_own_request_alone(clients, tools):
    one, two = [await client.send("hold", {}, 1) for client in clients[:2]]
    await one.close()
    (note,) = await clients[2].call("seen")
    assert note["method"] == "notifications/cancelled" and note["params"]["requestId"] != 1
    await two.close()


async def test_notifications_are_nobodys_and_reach_no_child(clients):
    assert (await clients[0].send("notifications/cancelled", {"requestId": 1})).status == 202
    assert (await clients[0].ask({"id": 1, "result": {}})).status == 202
    assert (await clients[0].ask(None, "listen")).status == 405
    assert (await clients[0].ask(None, "end")).status == 200
    assert await clients[0].call("seen") == []


async def test_a_slow_reader_holds_nobody_up(clients, tools):
    slow = await clients[0].send("progress", {"times": 3000, "_meta": {"progressToken": 1}}, 1)
    assert await clients[1].call("echo", {}, 1) == {}
    assert len(await tools.read(slow)) < 300


async def test_a_crash_fails_what_is_under_way_and_the_next_request_starts_another(clients, tools, monkeypatch):
    monkeypatch.setattr(restarts, "SHORTEST", 0.05)
    held = await clients[0].send("hold", {}, "mine")
    first = (await clients[1].call("me"))["pid"]
    crashed = await clients[1].send("crash", {}, 1)
    for answer, id in ((held, "mine"), (crashed, 1)):
        (message,) = await tools.read(answer)
        assert message["id"] == id
        assert message["error"] == {"code": -32603, "message": "the server ended with exit code 9"}
    with pytest.raises(NoEndpoint):
        await clients[2].call("me")
    await asyncio.sleep(0.06)
    assert (await clients[2].call("me"))["pid"] != first


async def test_a_loop_of_crashes_is_left_alone_ever_longer(stdio, tools, host, caplog):
    client = tools.Client(await stdio("--die"), "2026-07-28")
    (message,) = await tools.read(await client.send("echo", {}, 1))
    assert message["error"]["message"] == "the server ended with exit code 4"
    for _ in range(20):
        with pytest.raises(NoEndpoint, match="keeps failing"):
            await client.send("echo", {}, 1)
    assert host.counters["mcp_stdio_ends"].counts == {("targets[0].stdio", "failed"): 1}
    assert "not started again for 0.5 s" in caplog.text


def test_waits_double_up_to_a_minute_and_are_forgotten_after_a_quiet_one():
    now = [1000.0]
    waits = restarts.Restarts(lambda: now[0])
    assert waits.wait == 0
    seen = []
    for _ in range(9):
        seen.append(waits.failed())
        assert waits.failed() == waits.wait  # others that end at the same time
        now[0] += waits.wait
    assert seen == [0.5, 1, 2, 4, 8, 16, 32, 60, 60] and waits.wait == 0
    now[0] += 61
    assert waits.failed() == 0.5
