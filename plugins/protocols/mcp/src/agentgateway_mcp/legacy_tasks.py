"""Tasks for clients with the extension of 2026-07-28, at a server that has them in the core of 2025-11-25.

A task is known in the session that it was begun in, and asks there. So the client knows it by a name that leads to that
session: an address (`Peers`) in front of the server's own. Where that session is gone, another one is asked.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from agentgateway.interfaces import Link, PeerGone, Peers
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.elsewhere import Way, expected, handed_over, taken
from agentgateway_mcp.envelope import Json, member, meta_of
from agentgateway_mcp.errors import INVALID_PARAMS, McpError
from agentgateway_mcp.known_eras import LACKS_CAPABILITY
from agentgateway_mcp.legacy_words import modern_response, status_of
from agentgateway_mcp.messages import CAPABILITIES_KEY
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.task_tools import TaskTools
from agentgateway_mcp.task_watch import TaskWatch
from agentgateway_mcp.task_words import EXTENSION, RELATED, TASK, TOLD, has_extension, modern_task, unrelated

if TYPE_CHECKING:
    from agentgateway_mcp.legacy_session import LegacySession

NAMED = re.compile(r"([0-9]{1,9}\.[A-Za-z0-9_-]{16,64})\.(.+)", re.DOTALL)
ASKED_WITHIN = 1.0
"""Seconds in which a task that wants to know something says what."""
PAGES = 64
WATCHED = 64
"""Tasks of one session that are watched at the same time."""


class LegacyTasks:
    """Those of one session with a server. `place` is the server's in the configuration."""

    def __init__(self, session: LegacySession, tools: TaskTools, peers: Peers, place: str, owner: str) -> None:
        self.address = ""
        self.owner = owner
        self._tools = tools
        self._session = session
        self._peers = peers
        self._place = place
        self._watches: dict[str, TaskWatch] = {}

    @property
    def watches(self) -> bool:
        """Whether a request for a result is open."""
        return any(one.open for one in self._watches.values())

    async def takes(self, caller: Caller, ask: Ask) -> bool:
        """Whether a call becomes a task: of a client that can be answered so, where the tool can. Raises `McpError` for
        one that cannot, where the tool must, `Expired`, `UpstreamError`."""
        name = member(ask.document, "params").get("name")
        if ask.method != "tools/call" or not isinstance(name, str):
            return False
        if not declared(ask):
            if self._tools.must(name):
                raise undeclared()
            return False
        if not self._tools.knows(name):
            await self._learn(caller)
        return self._tools.may(name)

    async def _learn(self, caller: Caller) -> None:
        """Read what the server's tools can be."""
        params: Json = {}
        for _ in range(PAGES):
            result = member(await self._session.simple(caller, "tools/list", params), "result")
            self._tools.learn(result)
            if not isinstance(result.get("nextCursor"), str):
                return
            params = {"cursor": result["nextCursor"]}

    def seen(self, document: Json, method: str) -> Json:
        """The response to any request: a call may have become a task."""
        result = member(document, "result")
        if method == "tools/list":
            self._tools.learn(result)
        elif method == "tools/call" and "taskId" in member(result, "task"):
            task = result["task"]
            return {**document, "result": {"resultType": TASK, **modern_task(task, self._named(task["taskId"]))}}
        return document

    def news(self, task: Json) -> Json:
        """A notification that a task is another one than it was."""
        return {"jsonrpc": "2.0", "method": TOLD, "params": modern_task(task, self._named(task.get("taskId")))}

    def _named(self, own: Any) -> str:
        """What clients call a task."""
        self.address = self.address or self._peers.open(self._called)
        return f"{self.address}.{own}"

    def asked(self, question: Json) -> bool:
        """The server asks something outside of any request. Whether that is about a task that is watched."""
        watch = self._watches.get(str(member(meta_of(question), RELATED).get("taskId")))
        return watch is not None and watch.ask(question)

    async def answer(self, caller: Caller, ask: Ask) -> Answer:
        """A request about a task. Raises `Expired`, `UpstreamError`."""
        given = member(ask.document, "params").get("taskId")
        own = own_name(given)
        if ask.method == "tasks/update":
            return await self._update(caller, ask, own)
        response = await self._session.simple(caller, "tasks/get", {"taskId": own})
        if ask.method == "tasks/cancel" and "result" in response:
            cancelled = await self._session.simple(caller, "tasks/cancel", {"taskId": own})
            over = member(cancelled, "error").get("code") == INVALID_PARAMS
            response = cancelled if "error" in cancelled and not over else {"result": {}}
        elif "result" in response:
            response = {"result": await self._state(caller, ask, own, response["result"])}
        return self._told(ask, response)

    def close(self) -> None:
        self._peers.close(self.address)
        while self._watches:
            self._watches.popitem()[1].close()

    # --- what becomes of one ------------------------------------------------------------------------------------------

    async def _state(self, caller: Caller, ask: Ask, own: str, task: Json) -> Json:
        """A task with what came of it, or what it wants to know."""
        told = modern_task(task, str(member(ask.document, "params").get("taskId")))
        status = told.get("status")
        if status in ("completed", "failed"):
            return {**told, **await self._end(caller, own)}
        if status != "input_required":
            return told
        watch = self._watch(own, member(meta_of(ask.document), CAPABILITIES_KEY))
        watch.news.clear()
        watch.begin(caller.later())
        if not watch.questions:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASKED_WITHIN):
                    await watch.news.wait()
        asked = watch.wanted
        return {**told, "inputRequests": asked} if asked else {**told, "status": "working"}

    async def _end(self, caller: Caller, own: str) -> Json:
        """Its result. One that says of itself that it is an error is a result here, and no failure."""
        watch = self._watches.pop(own, None)
        response = await watch.end(ASKED_WITHIN) if watch is not None else None
        response = response or await self._session.simple(caller, "tasks/result", {"taskId": own})
        if "result" in response:
            result = modern_response(response, "tools/call", None, None)["result"]
            return {"status": "completed", "result": unrelated(result)}
        return {"status": "failed", "error": member(response, "error")}

    async def _update(self, caller: Caller, ask: Ask, own: str) -> Answer:
        watch = self._watches.get(own)
        if watch is None:
            raise McpError(INVALID_PARAMS, "the task wants to know nothing")
        await watch.answer(member(member(ask.document, "params"), "inputResponses"), caller)
        return self._told(ask, {"result": {}})

    def _watch(self, own: str, capabilities: Json) -> TaskWatch:
        watch = self._watches.get(own)
        if watch is None:
            watch = self._watches[own] = TaskWatch(self._session, own, capabilities)
            while len(self._watches) > WATCHED:
                self._watches.pop(next(iter(self._watches))).close()
        return watch

    def _told(self, ask: Ask, response: Json) -> Answer:
        document = self._session.response(response, ask.method, ask.document["id"])
        return Answer(status_of(document), whole=to_json(document))

    async def _called(self, link: Link) -> None:
        """A request that came to another worker."""
        place, owner = from_json(await expected(link))

        async def take(ask: Ask, way: Way | None) -> Answer:
            if (place, owner) != (self._place, self.owner) or self._session.ended:
                return Answer(404)
            return await self._session.about_task(self._session.caller.later(), ask)

        await taken(link, take)


async def asked_elsewhere(peers: Peers, place: str, address: str, owner: str, ask: Ask) -> Answer | None:
    """The answer of a session in another worker; None where that is gone, or somebody else's. Raises `UpstreamError`,
    `McpError`."""
    try:
        link = await peers.call(address)
        await link.send(to_json([place, owner]))
    except PeerGone:
        return None
    answer = await handed_over(link, ask, None)
    return answer if answer.status != 404 or answer.whole is not None else None


def address_in(task: object) -> str:
    """The address of the session that a task was begun in; empty where there is none."""
    found = NAMED.fullmatch(task) if isinstance(task, str) else None
    return found[1] if found is not None else ""


def own_name(task: object) -> str:
    """What the server calls it."""
    found = NAMED.fullmatch(str(task))
    return found[2] if found is not None else str(task)


def declared(ask: Ask) -> bool:
    """Whether a client can be answered with a task."""
    return has_extension(member(meta_of(ask.document), CAPABILITIES_KEY))


def undeclared() -> McpError:
    data: Json = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    return McpError(LACKS_CAPABILITY, f"the client must declare the extension {EXTENSION}", data=data)
