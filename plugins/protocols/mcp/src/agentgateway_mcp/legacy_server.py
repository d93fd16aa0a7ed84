"""Clients of 2026-07-28 in front of a server that knows sessions only.

The gateway opens the sessions: one for each principal and client, kept while it is used, so that what one request sets
off another one hears of. While the server asks the client something, the request stays open here, and who comes back
to another worker is brought here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import NoEndpoint, UpstreamError, UpstreamTimeout
from agentgateway.interfaces import Peers
from agentgateway.tasks import in_a_task
from agentgateway_mcp.callers import Caller, client_of
from agentgateway_mcp.envelope import INTERACTIVE, Json, member
from agentgateway_mcp.families import Families
from agentgateway_mcp.held import Held, resumed_elsewhere
from agentgateway_mcp.legacy_session import Expired, LegacySession
from agentgateway_mcp.legacy_tasks import LegacyTasks, address_in, asked_elsewhere, declared, undeclared
from agentgateway_mcp.legacy_words import discovered, modern_response
from agentgateway_mcp.messages import LEGACY
from agentgateway_mcp.param_headers import ParamHeaders
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.task_tools import TaskTools
from agentgateway_mcp.task_words import has_tasks

ABOUT_TASKS = frozenset(("tasks/get", "tasks/update", "tasks/cancel"))
SESSIONS = 1024
"""Sessions with one server at the same time."""
HELD = 1024
"""Requests at one server, at most, whose clients are asked something."""
HELD_FOR = 600.0
"""Seconds that a client has to come back with an answer."""
ENDED_WITHIN = 2.0
"""Seconds for servers to be told that sessions end, when the gateway does."""
IDLE = 300.0
"""Seconds that a session outlasts its last request, unless `sessionIdle` is less."""

logger = logging.getLogger("agentgateway.mcp")


class Refused(Exception):
    """The server opened no session."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class LegacyServer:
    """`limit` are the seconds in which a session must have opened, `room` the bytes that may wait for a reader; `place`
    is the server's in the configuration, `lifetime` the seconds that a client listens at most."""

    def __init__(
        self, label: str, myself: Json, limit: float, idle: float, room: int, peers: Peers, place: str, lifetime: float
    ) -> None:
        self._label = label
        self._myself = myself
        self._limit = limit
        self._idle = min(idle, IDLE)
        self._room = room
        self._sessions: OrderedDict[bytes, asyncio.Task[LegacySession]] = OrderedDict()
        self._peers = peers
        self._place = place
        self._families = Families(peers, place, lifetime)
        self.headers = ParamHeaders()
        self._task_tools = TaskTools()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None

    async def ask(self, caller: Caller, ask: Ask) -> Answer:
        """A message of a client's. Raises `UpstreamError`, `McpError`."""
        if not ask.wants_answer:
            return Answer(202, whole=b"")
        await in_a_task()
        ticket = member(ask.document, "params").get("requestState")
        if ask.method in INTERACTIVE and ticket is not None:
            return await self._resumed(caller, ask, ticket)
        if ask.method in ABOUT_TASKS and (answer := await self._about_task(caller, ask)) is not None:
            return answer
        about = client_of(ask.document, self._myself)
        key = caller.key(about)
        try:
            for _ in range(2):
                session = await self._session(caller, key, about)
                try:
                    return await self._in(session, caller, ask)
                except Expired:
                    if opened_by(self._sessions.get(key)) is session:
                        del self._sessions[key]
                        session.leave()
        except Refused as refused:
            return readdressed(refused.answer, ask)
        raise UpstreamError("the server ends sessions at once", detail=self._label)

    async def _in(self, session: LegacySession, caller: Caller, ask: Ask) -> Answer:
        if ask.method == "server/discover":
            told = {"jsonrpc": "2.0", "id": ask.document["id"], "result": discovered(session.initialized)}
            return Answer(200, whole=to_json(told))
        if ask.method == "subscriptions/listen":
            return await session.subscribe(caller, ask)
        if ask.method in ABOUT_TASKS:
            return await session.about_task(caller, ask)
        return await session.request(caller, ask)

    async def _resumed(self, caller: Caller, ask: Ask, ticket: Any) -> Answer:
        """The answer to a client that comes back to a request. Raises `McpError` for what is none, or somebody else's,
        `UpstreamError`."""
        for session in self._opened():
            call = session.held.claim(ticket, caller.owner, ask)
            if call is not None:
                return await call.resume(caller, ask)
        return await resumed_elsewhere(self._peers, self._place, ticket, caller.owner, ask)

    async def _about_task(self, caller: Caller, ask: Ask) -> Answer | None:
        """The answer of the session that a task was begun in; None where that is gone. Raises `McpError` for a client
        that does not know tasks."""
        if not declared(ask):
            raise undeclared()
        address = address_in(member(ask.document, "params").get("taskId"))
        if not address:
            return None
        for session in self._opened():
            tasks = session.tasks
            if tasks is not None and tasks.address == address and tasks.owner == caller.owner:
                with suppress(Expired):
                    return await session.about_task(caller, ask)
                return None
        return await asked_elsewhere(self._peers, self._place, address, caller.owner, ask)

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def _session(self, caller: Caller, key: bytes, about: Json) -> LegacySession:
        """The session of a client, opened if there is none. Raises `Refused`, `UpstreamError`."""
        if key not in self._sessions and len(self._sessions) >= SESSIONS and not await self._make_room():
            raise NoEndpoint("the server has too many sessions", detail=f"{self._label}: {SESSIONS}")
        opening = self._sessions.get(key)
        if opening is None:
            opening = self._sessions[key] = asyncio.get_running_loop().create_task(self._open(caller, about))
            opening.add_done_callback(lambda done: self._failed(key, done))
        self._sessions.move_to_end(key)
        session = await asyncio.shield(opening)
        session.used = time.monotonic()
        return session

    async def _open(self, caller: Caller, about: Json) -> LegacySession:
        params = {"protocolVersion": LEGACY[-1], **about}
        first = {"jsonrpc": "2.0", "id": "agw-initialize", "method": "initialize", "params": params}
        try:
            async with asyncio.timeout(self._limit):
                answer = await self._initialize(caller, Ask("send", to_json(first), first))
                if answer.status >= 400:
                    raise Refused(answer)
                document = await caller.response_of(answer, first["id"])
                result = member(document, "result")
                if result.get("protocolVersion") not in LEGACY:
                    raise Refused(Answer(200, whole=to_json(document)))
                held, family = Held(self._peers, self._place), self._families.of(caller.key(about, wide=True))
                session = LegacySession(caller, answer, result, about, self._room, self._run, held, family)
                session.headers = self.headers
                if has_tasks(session.capabilities):
                    session.tasks = LegacyTasks(session, self._task_tools, self._peers, self._place, caller.owner)
                await session.reply({"jsonrpc": "2.0", "method": "notifications/initialized"})
        except TimeoutError:
            raise UpstreamTimeout("the server did not answer in time", detail=f"{self._label}: initialize") from None
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().create_task(self._reap())
        return session

    async def _initialize(self, caller: Caller, ask: Ask) -> Answer:
        """Once more, where a server says that it has too many sessions already: some may be idle."""
        try:
            return await caller.send(ask)
        except NoEndpoint:
            if not await self._make_room():
                raise
        return await caller.send(ask)

    def _failed(self, key: bytes, opening: asyncio.Task[LegacySession]) -> None:
        if (opening.cancelled() or opening.exception() is not None) and self._sessions.get(key) is opening:
            del self._sessions[key]

    def _opened(self) -> list[LegacySession]:
        return [session for one in self._sessions.values() if (session := opened_by(one)) is not None]

    def _drop(self, key: bytes) -> None:
        session = opened_by(self._sessions.pop(key, None))
        if session is not None:
            self._run(session.close())

    async def _make_room(self) -> bool:
        """End the session that has been idle for longest. False when every one is in use."""
        for key, opening in self._sessions.items():
            session = opened_by(opening)
            if session is not None and not session.busy:
                del self._sessions[key]
                await session.close()
                return True
        return False

    # --- time ---------------------------------------------------------------------------------------------------------

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(15.0, self._idle / 4))
            self._end_what_waits()
            limit = time.monotonic() - self._idle
            for key, opening in list(self._sessions.items()):
                session = opened_by(opening)
                if session is not None and not session.busy and session.used < limit:
                    self._drop(key)

    def _end_what_waits(self) -> None:
        """Let go of requests whose clients do not come back."""
        held = sorted(
            ((call.since, ticket, session) for session in self._opened() for ticket, call in session.held.items()),
            key=lambda one: one[0],
        )
        limit = time.monotonic() - HELD_FOR
        for place, (since, ticket, session) in enumerate(held):
            if since < limit or place < len(held) - HELD:
                session.held.take(ticket).cancel()

    async def stop(self) -> None:
        """End every session."""
        if self._reaper is not None:
            self._reaper.cancel()
        self._families.stop()
        for key in list(self._sessions):
            self._sessions[key].cancel()
            self._drop(key)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=ENDED_WITHIN)
            for task in late:
                task.cancel()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: %r", self._label, error)


def opened_by(opening: asyncio.Task[LegacySession] | None) -> LegacySession | None:
    """The session, once there is one."""
    done = opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None
    return opening.result() if opening is not None and done else None


def readdressed(answer: Answer, ask: Ask) -> Answer:
    """The server's refusal of a session, as the answer to the request that it was for."""
    try:
        document = from_json(answer.whole or b"")
    except ValueError:
        return answer
    if isinstance(document, dict):
        answer.whole = to_json(modern_response(document, ask.method, ask.document["id"], None))
    return answer
