"""Sessions that the gateway opens with a server for clients of 2026-07-28: what they keep, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.legacy_server import HELD_FOR, LegacyServer
from agentgateway_mcp.servers import Answer, Ask, Said
from pydantic_core import from_json, to_json

from agentgateway.errors import NoEndpoint
from agentgateway.exchange import Headers

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
        self.headers = Headers()

    def key(self, about: Json, *, wide: bool = False) -> bytes:
        return to_json([self.owner, about])

    async def response_of(self, answer: Answer, wanted: Any) -> Json:
        found: Json = from_json(answer.whole or b"")
        return found

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
            about = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
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


def serving(idle: float = 60.0) -> LegacyServer:
    return LegacyServer("server", SELF, 5.0, idle, 1 << 20)


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
    (held,) = [call for session in server._opened() for call in session.held.values()]
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
