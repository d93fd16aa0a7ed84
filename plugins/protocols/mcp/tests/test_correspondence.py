"""Who is meant by what a server says, without any channel."""

from __future__ import annotations

import json

import pytest
from agentgateway_mcp.correspondence import Correspondence
from agentgateway_mcp.inbox import ROOM, Inbox, Letter
from agentgateway_mcp.multiplexed import Multiplexed
from agentgateway_mcp.servers import Ask
from pydantic_core import from_json, to_json

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


class Line:
    """A correspondence, and what either side was told."""

    def __init__(self, kind=Correspondence, room=1 << 20):
        self.replies: list[bytes] = []
        self.cancels: list[bytes] = []
        self.one = kind(self.replies.append, room)

    def ask(self, id=1, method="tools/call", params=None):
        document = {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}
        return self.one.ask(Ask("send", to_json(document), document), self.cancels.append)

    def hear(self, **document):
        self.one.hear(to_json({"jsonrpc": "2.0", **document}))


async def all_of(inbox):
    return [from_json(said.data) async for said in inbox]


async def test_bytes_pass_as_they_are_where_ids_do():
    line = Line()
    message, inbox = line.ask(1)
    assert message == b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}'
    raw = b'{ "jsonrpc":"2.0", "id" : 1, "result": {"a": 1.10, "b": 1e400, "c": "\\ud83d"} }'
    line.one.hear(raw)
    assert [said.data async for said in inbox] == [raw]


@pytest.mark.parametrize(
    "garbage", [b"", b"hello", b"[]", b"[1]", b"3", b"null", b'{"a": 1}', b'{"method": 3}', b"\xff"]
)
async def test_what_is_no_message_is_an_error(garbage):
    with pytest.raises(ValueError):
        Line().one.hear(garbage)


async def test_a_batch_is_several_messages():
    line = Line()
    (_, one), (_, two) = line.ask(1), line.ask(2)
    line.one.hear(b'[{"jsonrpc":"2.0","id":2,"result":{}},{"jsonrpc":"2.0","id":1,"result":{"x":1}}]')
    assert [await all_of(one), await all_of(two)] == [
        [{"jsonrpc": "2.0", "id": 1, "result": {"x": 1}}],
        [{"jsonrpc": "2.0", "id": 2, "result": {}}],
    ]


async def test_an_answer_nobody_waits_for_is_dropped():
    line = Line()
    line.hear(id=3, result={})
    line.hear(id=None, error={"code": -32700, "message": "?"})
    assert not line.one.busy


async def test_one_and_true_and_the_text_one_are_three_ids():
    line = Line()
    (_, number), (_, text) = line.ask(1), line.ask("1")
    line.hear(id="1", result="text")
    line.hear(id=1, result="number")
    assert [(await all_of(number))[0]["result"], (await all_of(text))[0]["result"]] == ["number", "text"]


async def test_the_end_of_the_server_is_an_error_for_whoever_waits():
    line = Line()
    (_, one), listening = line.ask("a"), line.one.listen()
    line.one.fail("the server ended")
    assert await all_of(one) == [
        {"jsonrpc": "2.0", "id": "a", "error": {"code": -32603, "message": "the server ended"}}
    ]
    assert await all_of(listening) == []
    await one.aclose()
    assert line.cancels == []


async def test_a_request_of_the_server_that_nobody_can_read_any_more_is_refused():
    line = Line()
    _, inbox = line.ask(1)
    line.hear(id=77, method="sampling/createMessage", params={})
    await inbox.aclose()
    assert [json.loads(reply)["id"] for reply in line.replies] == [77]
    assert json.loads(line.replies[0])["error"]["code"] == -32603
    assert [json.loads(cancel)["params"]["requestId"] for cancel in line.cancels] == [1]


async def test_what_a_listener_leaves_behind_is_kept():
    line = Line()
    listening = line.one.listen()
    line.hear(method="notifications/message", params={"n": 1})
    await listening.aclose()
    line.hear(method="notifications/message", params={"n": 2})
    again = line.one.listen()
    assert [from_json((await anext(again)).data)["params"]["n"] for _ in range(2)] == [1, 2]


async def test_initialize_is_not_cancelled_and_gets_nothing_but_its_answer():
    line = Line()
    _, inbox = line.ask(0, "initialize")
    line.hear(method="notifications/message", params={})
    line.hear(id=0, result={})
    assert len(await all_of(inbox)) == 1
    _, inbox = line.ask(0, "initialize")
    await inbox.aclose()
    assert line.cancels == []


async def test_an_inbox_holds_so_many_messages_and_bytes_and_always_the_last():
    lost = []
    inbox = Inbox(1000, lost.append)
    for number in range(ROOM + 10):
        inbox.put(Letter(b"%d" % number, owed=number < 5, request=number))
    assert inbox.dropped == 10 and [letter.request for letter in lost] == [0, 1, 2, 3, 4]
    inbox.put(Letter(b"x" * 5000))
    inbox.end()
    assert [said.data async for said in inbox] == [b"x" * 5000]


# Many clients.


def named(message):
    return json.loads(message)["id"]


async def test_equal_ids_of_several_clients_are_told_apart():
    line = Line(Multiplexed)
    (one, first), (two, second) = line.ask(1), line.ask(1)
    assert named(one) != named(two)
    line.hear(id=named(two), result={"for": "two"})
    line.hear(id=named(one), result={"for": "one"})
    assert (await all_of(first), await all_of(second)) == (
        [{"jsonrpc": "2.0", "id": 1, "result": {"for": "one"}}],
        [{"jsonrpc": "2.0", "id": 1, "result": {"for": "two"}}],
    )


@pytest.mark.parametrize("id", [0, 1, -1, 2**70, "a", "", 'q"\\\n', "ä"])
async def test_ids_come_back_as_they_were(id):
    line = Line(Multiplexed)
    message, inbox = line.ask(id)
    line.hear(id=named(message), result={})
    assert (await all_of(inbox))[0]["id"] == id


async def test_only_the_id_changes_in_an_answer():
    line = Line(Multiplexed)
    message, inbox = line.ask(7)
    line.one.hear(b'{ "result": {"n": 1.10},\t"id" :%b }' % to_json(named(message)))
    assert [said.data async for said in inbox] == [b'{ "result": {"n": 1.10},\t"id" :7 }']


async def test_our_id_elsewhere_in_an_answer_stays():
    line = Line(Multiplexed)
    message, inbox = line.ask(7)
    line.hear(result={"text": named(message)}, id=named(message))
    assert await all_of(inbox) == [{"jsonrpc": "2.0", "result": {"text": named(message)}, "id": 7}]


@pytest.mark.parametrize("token", [1, "t", 0])
async def test_progress_tokens_are_ours_and_come_back(token):
    line = Line(Multiplexed)
    asked = {"name": "x", "_meta": {"progressToken": token, "other": 1}}
    (one, first), (_, other) = line.ask(1, params=asked), line.ask(1, params=asked)
    assert json.loads(one)["params"] == {"name": "x", "_meta": {"progressToken": named(one), "other": 1}}
    line.hear(method="notifications/progress", params={"progressToken": named(one), "progress": 1})
    line.hear(method="notifications/progress", params={"progressToken": token, "progress": 1})
    line.hear(method="notifications/progress", params={"progressToken": [], "progress": 1})
    line.hear(id=named(one), result={})
    note, _ = await all_of(first)
    assert note["params"] == {"progressToken": token, "progress": 1}
    line.one.fail("over")
    assert len(await all_of(other)) == 1
    assert asked["_meta"]["progressToken"] == token


async def test_subscriptions_are_told_by_the_clients_id():
    line = Line(Multiplexed)
    (one, first), (_, other) = line.ask(4, "subscriptions/listen"), line.ask(4, "subscriptions/listen")
    meta = {"_meta": {SUBSCRIPTION: named(one)}}
    line.hear(method="notifications/subscriptions/acknowledged", params=meta)
    line.hear(method="notifications/tools/list_changed", params=meta)
    line.hear(id=named(one), result={"resultType": "complete", **meta})
    told = await all_of(first)
    assert [one["params"]["_meta"] for one in told[:2]] == [{SUBSCRIPTION: 4}] * 2
    assert told[2] == {
        "jsonrpc": "2.0",
        "id": 4,
        "result": {"resultType": "complete", "_meta": {SUBSCRIPTION: 4}},
    }
    line.one.fail("over")
    assert len(await all_of(other)) == 1


async def test_what_names_nobody_is_nobodys():
    line = Line(Multiplexed)
    (_, one), (_, two) = line.ask(1), line.ask(2)
    line.hear(method="notifications/tools/list_changed", params={})
    line.hear(method="notifications/message", params={"level": "info", "data": "of whom?"})
    line.hear(method="notifications/cancelled", params={"requestId": 1})
    line.one.fail("over")
    assert [len(await all_of(inbox)) for inbox in (one, two)] == [1, 1]


async def test_a_log_message_belongs_to_the_only_request_there_is_if_it_asked_for_any():
    line = Line(Multiplexed)
    _, one = line.ask(1, params={"_meta": {"io.modelcontextprotocol/logLevel": "info"}})
    line.hear(method="notifications/message", params={"level": "info", "data": "mine"})
    _, two = line.ask(2)
    line.hear(method="notifications/message", params={"level": "info", "data": "whose?"})
    line.one.fail("over")
    assert [len(await all_of(inbox)) for inbox in (one, two)] == [2, 1]


async def test_a_servers_request_is_refused_where_nobody_can_be_asked():
    line = Line(Multiplexed)
    _, inbox = line.ask(1)
    line.hear(id="s", method="elicitation/create", params={})
    assert json.loads(line.replies[0])["error"]["code"] == -32601 and json.loads(line.replies[0])["id"] == "s"
    await inbox.aclose()


async def test_a_cancellation_names_our_id_and_a_clients_own_cancels_nothing():
    line = Line(Multiplexed)
    message, inbox = line.ask(1)
    document = {"method": "notifications/cancelled", "params": {"requestId": named(message)}}
    line.one.withdraw(Ask("send", to_json(document), document))
    assert line.one.busy
    await inbox.aclose()
    assert json.loads(line.cancels[0])["params"]["requestId"] == named(message)
    line.hear(id=named(message), result={})
