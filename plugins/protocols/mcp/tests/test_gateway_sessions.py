"""Sessions that the gateway opens with a server for clients of 2026-07-28: what they keep, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.legacy_server import HELD_FOR, LegacyServer
from agentgateway_mcp.servers import Answer, Ask, Said
from agentgateway_mcp.task_watch import ASKED, TaskWatch
from pydantic_core import from_json, to_json

from agentgateway.errors import NoEndpoint
from agentgateway.exchange import Headers
from agentgateway.peers import LocalPeers

MODERN = "2026-07-28"
SELF = {"capabilities": {}, "clientInfo": {"name": "gateway", "version": "1"}}
ROOTS = {"jsonrpc": "2.0", "id": "q", "method": "roots/list"}
Json = dict[str, Any]


class Peer:
    """A server with sessions, and whoever asks it: `calls` says what a call streams, `unasked` what is said outside."""

    def __init__(self, calls: Callable[[Any], AsyncIterator[Said]]) -> None:
        self.calls = calls
        self.sent: list[Ask] = []
        self.unasked: asyncio.Queue[bytes] = asyncio.Queue()
        self.resumed: dict[str, list[Said]] = {}
        self.full = False
        self.whole: asyncio.Event | None = None
        self.owner = "jwt:ada"
        self.capabilities: Json = {}
        self.headers = Headers()

    def key(self, about: Json, *, wide: bool = False) -> bytes:
        return to_json([self.owner, about])

    async def response_of(self, answer: Answer, wanted: Any) -> Json:
        found: Json = from_json(answer.whole or b"")
        return found

    def later(self) -> Peer:
        return self

    def count(self, method: str) -> int:
        return len([ask for ask in self.sent if ask.method == method])

    async def send(self, ask: Ask) -> Answer:
        self.sent.append(ask)
        if ask.purpose == "listen":
            return Answer(200, messages=self._listened(ask.resume_from))
        if ask.method == "initialize":
            if self.full:
                self.full = False
                raise NoEndpoint("too many sessions")
            about = {
                "protocolVersion": "2025-11-25",
                "capabilities": self.capabilities,
                "serverInfo": {"name": "s", "version": "1"},
            }
            whole = to_json({"jsonrpc": "2.0", "id": ask.document["id"], "result": about})
            return Answer(200, whole=whole, session=f"s{len(self.sent)}")
        if ask.method == "tools/call" and self.whole is not None:
            await self.whole.wait()
            return Answer(200, whole=result(ask.document["id"], "whole").data)
        if ask.method == "tools/call":
            return Answer(200, messages=self.calls(ask.document["id"]))
        return Answer(200 if ask.purpose == "end" else 202)

    async def _listened(self, place: str | None) -> AsyncIterator[Said]:
        for said in self.resumed.get(place or "", ()):
            yield said
        while place is None:
            yield Said(await self.unasked.get())


async def nothing(wanted: Any) -> AsyncIterator[Said]:
    return
    yield


def result(wanted: Any, text: str) -> Said:
    return Said(to_json({"jsonrpc": "2.0", "id": wanted, "result": {"content": [{"type": "text", "text": text}]}}))


def calling(**params: Any) -> Ask:
    meta = {"io.modelcontextprotocol/clientCapabilities": {"roots": {}}, "progressToken": "mine"}
    given = {"name": "tool", "arguments": {}, **params, "_meta": meta}
    document = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": given}
    return Ask("send", to_json(document), document, MODERN)


async def said_in(answer: Answer) -> list[Json]:
    if answer.messages is None:
        return [from_json(answer.whole or b"")]
    return [from_json(said.data) async for said in answer.messages]


def serving(idle: float = 60.0, peers: LocalPeers | None = None, place: str = "targets[0].mcp") -> LegacyServer:
    """As one worker has it; those of the same `peers` are its colleagues."""
    return LegacyServer("server", SELF, 5.0, idle, 1 << 20, peers or LocalPeers(), place, 60.0)


async def test_a_stream_that_closes_before_the_answer_is_taken_up_where_it_was() -> None:
    async def calls(wanted: Any) -> AsyncIterator[Said]:
        peer.resumed["7"] = [result(wanted, "at last")]
        yield Said(b"", "7", 20)

    peer, server = Peer(calls), serving()
    (response,) = await said_in(await server.ask(peer, calling()))
    assert response["result"]["content"][0]["text"] == "at last"
    await server.stop()


async def test_what_is_asked_outside_of_calls_waits_for_the_next_one() -> None:
    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield result(wanted, "done")

    peer, server = Peer(calls), serving()
    await server.ask(peer, calling())
    peer.unasked.put_nowait(to_json(ROOTS))
    while not peer.unasked.empty():
        await asyncio.sleep(0)
    (asked,) = await said_in(await server.ask(peer, calling()))
    ((key, question),) = asked["result"]["inputRequests"].items()
    assert question["method"] == "roots/list"
    back = calling(inputResponses={key: {"roots": []}}, requestState=asked["result"]["requestState"])
    assert (await said_in(await server.ask(peer, back)))[-1]["result"]["content"][0]["text"] == "done"
    assert [ask.document["id"] for ask in peer.sent if "result" in ask.document] == ["q"]
    await server.stop()


async def test_a_question_may_come_before_the_answer_begins() -> None:
    peer, server = Peer(nothing), serving()
    peer.whole = asyncio.Event()
    peer.unasked.put_nowait(to_json(ROOTS))
    (asked,) = await said_in(await server.ask(peer, calling()))
    peer.whole.set()
    answers = {key: {"roots": []} for key in asked["result"]["inputRequests"]}
    back = calling(inputResponses=answers, requestState=asked["result"]["requestState"])
    (response,) = await said_in(await server.ask(peer, back))
    assert response["result"]["content"][0]["text"] == "whole"
    await server.stop()


async def test_what_is_told_while_the_client_is_away_is_kept_for_it() -> None:
    told = asyncio.Event()

    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield Said(to_json(ROOTS))
        await told.wait()
        params = {"progressToken": wanted, "progress": 1}
        yield Said(to_json({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
        yield result(wanted, "done")

    peer, server = Peer(calls), serving()
    (asked,) = await said_in(await server.ask(peer, calling()))
    told.set()
    await asyncio.sleep(0.01)
    answers = {key: {"roots": []} for key in asked["result"]["inputRequests"]}
    back = calling(inputResponses=answers, requestState=asked["result"]["requestState"])
    progress, last = await said_in(await server.ask(peer, back))
    assert (progress["params"]["progressToken"], last["result"]["resultType"]) == ("mine", "complete")
    await server.stop()


async def test_a_client_that_does_not_come_back_is_answered_for() -> None:
    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield Said(to_json(ROOTS))
        await asyncio.Event().wait()

    peer, server = Peer(calls), serving(idle=0.04)
    (asked,) = await said_in(await server.ask(peer, calling()))
    (held,) = [call for session in server._opened() for _, call in session.held.items()]
    held.since -= HELD_FOR
    async with asyncio.timeout(5):
        while not peer.count("notifications/cancelled"):
            await asyncio.sleep(0.01)
    assert [ask.document["id"] for ask in peer.sent if "error" in ask.document] == ["q"]
    with pytest.raises(McpError):
        await server.ask(peer, calling(requestState=asked["result"]["requestState"]))
    async with asyncio.timeout(5):
        while peer.sent[-1].purpose != "end":
            await asyncio.sleep(0.01)
    await server.stop()


async def test_a_fault_in_what_is_said_unasked_does_not_deafen_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, server = Peer(nothing), serving()
    answer = await server.ask(peer, listening())
    assert answer.messages is not None
    await anext(aiter(answer.messages))
    (session,) = server._opened()

    def fault(*_: object) -> None:
        raise OverflowError

    monkeypatch.setattr(session, "heard", fault)
    peer.unasked.put_nowait(to_json(ROOTS))
    async with asyncio.timeout(5):
        assert [said async for said in answer.messages] == []  # its end is the listener's
    monkeypatch.undo()
    listens = [ask.purpose for ask in peer.sent].count("listen")
    again = await server.ask(peer, listening())
    assert [ask.purpose for ask in peer.sent].count("listen") == listens + 1
    await again.close()
    await server.stop()


async def test_a_server_asks_so_much_of_a_task_and_no_more() -> None:
    peer, server = Peer(nothing), serving()
    await server.ask(peer, listening())
    (session,) = server._opened()
    watch = TaskWatch(session, "task", {"roots": {}})
    assert [watch.ask(ROOTS) for _ in range(ASKED + 2)] == [True] * ASKED + [False] * 2
    (first, *_) = watch.wanted
    await watch.answer({first: {"roots": []}}, peer)
    assert watch.ask(ROOTS)
    await server.stop()


async def test_an_idle_session_makes_room_where_there_are_too_many() -> None:
    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield result(wanted, "done")

    peer, server = Peer(calls), serving()
    await server.ask(peer, calling())
    peer.owner, peer.full = "jwt:bob", True
    (response,) = await said_in(await server.ask(peer, calling()))
    assert "result" in response
    assert [ask.purpose for ask in peer.sent].count("end") == 1
    await server.stop()
    assert [ask.purpose for ask in peer.sent].count("end") == 2


# --- several workers --------------------------------------------------------------------------------------------------


def listening() -> Ask:
    meta = {"io.modelcontextprotocol/clientCapabilities": {"roots": {}}}
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    document = {"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen", "params": params}
    return Ask("send", to_json(document), document, MODERN)


async def test_a_client_that_comes_back_to_another_worker_finds_its_request() -> None:
    told = asyncio.Event()

    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield Said(to_json(ROOTS))
        await told.wait()
        params = {"progressToken": wanted, "progress": 1}
        yield Said(to_json({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
        yield result(wanted, "done")

    peers, peer = LocalPeers(), Peer(calls)
    first, second, other = serving(peers=peers), serving(peers=peers), serving(peers=peers, place="targets[1].mcp")
    (asked,) = await said_in(await first.ask(peer, calling()))
    answers = {key: {"roots": []} for key in asked["result"]["inputRequests"]}
    back = calling(inputResponses=answers, requestState=asked["result"]["requestState"])
    changed = calling(inputResponses=answers, requestState=asked["result"]["requestState"], name="another")
    bob = Peer(calls)
    bob.owner = "jwt:bob"
    for server, who, ask in ((second, bob, back), (second, peer, changed), (other, peer, back)):
        with pytest.raises(McpError, match="requestState is unknown") as refused:
            await server.ask(who, ask)
        assert refused.value.rpc == -32602
    answer = await second.ask(peer, back)
    told.set()
    progress, last = await said_in(answer)
    assert (progress["params"]["progressToken"], last["result"]["resultType"]) == ("mine", "complete")
    assert [ask.document["id"] for ask in peer.sent if "result" in ask.document] == ["q"]
    with pytest.raises(McpError):
        await second.ask(peer, back)
    for server in (first, second, other):
        await server.stop()
    await peers.stop()


async def test_a_client_that_leaves_another_worker_cancels_its_request_where_it_is() -> None:
    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield Said(to_json(ROOTS))
        await asyncio.Event().wait()

    peers, peer = LocalPeers(), Peer(calls)
    first, second = serving(peers=peers), serving(peers=peers)
    (asked,) = await said_in(await first.ask(peer, calling()))
    answers = {key: {"roots": []} for key in asked["result"]["inputRequests"]}
    answer = await second.ask(peer, calling(inputResponses=answers, requestState=asked["result"]["requestState"]))
    await answer.close()
    async with asyncio.timeout(5):
        while not peer.count("notifications/cancelled"):
            await asyncio.sleep(0.01)
    await first.stop()
    await second.stop()
    await peers.stop()


@pytest.mark.parametrize("forged", ["0.", "99999999999999.x", "²." + "x" * 32, "0." + "x" * 32, "../../x", 7, {}])
async def test_a_forged_ticket_leads_nowhere(forged: Any) -> None:
    peer, server = Peer(nothing), serving()
    with pytest.raises(McpError, match="requestState is unknown"):
        await server.ask(peer, calling(requestState=forged))
    await server.stop()


async def test_who_listens_hears_what_a_call_in_another_worker_changed() -> None:
    async def calls(wanted: Any) -> AsyncIterator[Said]:
        yield Said(to_json({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        yield result(wanted, "done")

    peers, peer = LocalPeers(), Peer(calls)
    peer.capabilities = {"tools": {"listChanged": True}}
    first, second, third = (serving(peers=peers) for _ in range(3))
    heard = (await first.ask(peer, listening())).messages
    assert heard is not None
    assert from_json((await anext(heard)).data)["method"] == "notifications/subscriptions/acknowledged"
    bob = Peer(calls)
    bob.owner, bob.capabilities = "jwt:bob", peer.capabilities
    await said_in(await third.ask(bob, calling()))
    await said_in(await second.ask(peer, calling()))
    async with asyncio.timeout(5):
        assert from_json((await anext(heard)).data)["method"] == "notifications/tools/list_changed"
    await heard.aclose()
    for server in (first, second, third):
        await server.stop()
    await peers.stop()
