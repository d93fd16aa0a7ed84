"""Clients of a version with sessions in front of a server that knows only 2026-07-28, where each request stands for
itself: what a session would keep is kept here."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from pydantic_core import to_json

from agentgateway.interfaces import Peers
from agentgateway.tasks import in_a_task
from agentgateway_mcp import rpc
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import Json, enveloped, member
from agentgateway_mcp.errors import INVALID_PARAMS
from agentgateway_mcp.finished import Finished
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.modern_call import ModernCall
from agentgateway_mcp.modern_stream import ModernStream
from agentgateway_mcp.modern_tasks import Tasks, is_about_tasks
from agentgateway_mcp.modern_words import LEVELS, initialized, spoken
from agentgateway_mcp.param_headers import ParamHeaders
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.shelf import Shelf
from agentgateway_mcp.talks import Talk, Talks
from agentgateway_mcp.tape import Tape
from agentgateway_mcp.task_words import METHODS, with_extension

SUBSCRIBED = 64 * 1024
"""Characters of all resources of a session that the server is to tell of."""


class ModernServer:
    """`room` are the bytes that may wait for a reader, `lifetime` the seconds that a session lasts at most."""

    def __init__(self, myself: Json, room: int, peers: Peers, lifetime: float) -> None:
        self._myself = myself
        self._room = room
        self._talks = Talks(peers, lifetime)
        self._shelf = Shelf(peers)
        self._tasks = Tasks(self._talks, Finished(peers))
        self._headers = ParamHeaders()

    def initialized(self, ask: Ask, discovery: Json) -> Answer:
        """The answer to `initialize`, from that to `server/discover`."""
        wanted = member(ask.document, "params").get("protocolVersion")
        result = initialized(discovery, wanted)
        told = {"jsonrpc": "2.0", "id": ask.document["id"], "result": result}
        session = secrets.token_urlsafe(12) + (WITH_TASKS if "tasks" in result["capabilities"] else "")
        return Answer(200, whole=to_json(told), session=session, version=MODERN)

    async def ask(self, caller: Caller, ask: Ask, about: Json) -> Answer:
        """A message of a client's. `about` is what it said in its `initialize`. Raises `UpstreamError`."""
        await in_a_task()
        if ask.purpose == "end":
            await self._talks.end(ask.session)
            return Answer(200, whole=b"")
        talk = self._talks.of(ask.session)
        if ask.purpose == "listen":
            return await self._listen(caller, talk, ask, about)
        if not ask.method:
            await self._talks.answered(talk, ask.document)
            return Answer(202, whole=b"")
        if not ask.wants_answer:
            if ask.method == "notifications/cancelled":
                await self._talks.cancelled(talk, member(ask.document, "params").get("requestId"))
            return Answer(202, whole=b"")
        if ask.method in LOCAL:
            return await self._here(talk, ask)
        return await self._request(caller, talk, ask, about)

    async def _request(self, caller: Caller, talk: Talk, ask: Ask, about: Json) -> Answer:
        about = about or self._myself
        kind: Callable[..., ModernCall] = ModernCall
        document = enveloped(ask.document, about, talk.level)
        if (ask.session or "").endswith(WITH_TASKS) and is_about_tasks(ask):
            document = enveloped(ask.document, with_extension(about), talk.level)
            if ask.method in METHODS and (answer := await self._tasks.answer(caller, talk, document)) is not None:
                return answer
            kind = self._tasks.kind(talk, ask, document)
        tape, keep = Tape(self._room, primed=is_primed(about)), partial(self._shelf.keep, talk.name, kind="a")
        call = kind(talk, document, member(about, "capabilities"), self._headers, tape, keep)
        return await call.start(caller)

    # --- what needs no server -----------------------------------------------------------------------------------------

    async def _here(self, talk: Talk, ask: Ask) -> Answer:
        """Requests that 2026-07-28 has no more."""
        params, wanted = member(ask.document, "params"), ask.document["id"]
        if ask.method == "logging/setLevel":
            if params.get("level") not in LEVELS:
                return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, "no such level"))
            await self._talks.set_level(talk, params["level"])
        elif ask.method != "ping":
            uri = params.get("uri")
            if not isinstance(uri, str):
                return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, "params.uri is missing"))
            if len(uri) + sum(map(len, talk.uris)) > SUBSCRIBED:
                return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, "too many subscriptions"))
            await self._talks.subscribe(talk, uri, wanted=ask.method == "resources/subscribe")
        return Answer(200, whole=to_json({"jsonrpc": "2.0", "id": wanted, "result": {}}))

    async def _listen(self, caller: Caller, talk: Talk, ask: Ask, about: Json) -> Answer:
        """What the server says unasked: one stream for the session; it ends the one before. Or the rest of a stream
        that the client has lost."""
        if ask.resume_from is not None:
            rest = await self._shelf.resumed(talk.name, ask.resume_from)
            if rest is not None:
                return rest
        await self._talks.listens(talk)
        tape = Tape(self._room, primed=is_primed(about))
        stream = talk.stream = ModernStream(about or self._myself, tape, partial(self._shelf.keep, talk.name, kind="g"))
        return await stream.begin(caller, talk.uris, talk.tasks)

    def stop(self) -> None:
        """End every session that is here."""
        self._talks.stop()
        self._shelf.stop()
        self._tasks.stop()


PRIMED = "2025-11-25"
WITH_TASKS = ".tasks"
"""How the id of a session ends whose server has tasks, and whose client may have them: so every worker knows."""
LOCAL = frozenset(("ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"))


def is_primed(about: Json) -> bool:
    """Whether a client's version begins streams with an event that has nothing but an id."""
    return spoken(about.get("protocolVersion")) >= PRIMED
