"""Clients of a version with sessions in front of a server that knows only 2026-07-28, where each request stands for
itself: what a session would keep is kept here."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any

from pydantic_core import to_json

from agentgateway.tasks import in_a_task
from agentgateway_mcp import rpc
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import Json, enveloped, member
from agentgateway_mcp.errors import INVALID_PARAMS
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.modern_call import ModernCall
from agentgateway_mcp.modern_stream import ModernStream
from agentgateway_mcp.modern_words import LEVELS, initialized
from agentgateway_mcp.param_headers import ParamHeaders
from agentgateway_mcp.servers import Answer, Ask

REMEMBERED = 10_000
"""Sessions of which something is kept; the one that was asked for longest ago goes."""
LEVEL = "info"
"""What is logged while a client has not said what it wants to hear."""


class Talk:
    """What this process knows of one session. `asked` are requests under way, by id; `questions` what a client has been
    asked, by the id that it was asked with."""

    def __init__(self) -> None:
        self.level = LEVEL
        self.uris: set[str] = set()
        self.stream: ModernStream | None = None
        self.calls: dict[Any, ModernCall] = {}
        self.questions: dict[Any, ModernCall] = {}


class ModernServer:
    """`room` are the bytes that may wait for a reader."""

    def __init__(self, myself: Json, room: int) -> None:
        self._myself = myself
        self._room = room
        self._talks: OrderedDict[str, Talk] = OrderedDict()
        self._headers = ParamHeaders()

    def initialized(self, ask: Ask, discovery: Json) -> Answer:
        """The answer to `initialize`, from that to `server/discover`."""
        wanted = member(ask.document, "params").get("protocolVersion")
        told = {"jsonrpc": "2.0", "id": ask.document["id"], "result": initialized(discovery, wanted)}
        return Answer(200, whole=to_json(told), session=secrets.token_urlsafe(12), version=MODERN)

    async def ask(self, caller: Caller, ask: Ask, about: Json) -> Answer:
        """A message of a client's. `about` is what it said in its `initialize`. Raises `UpstreamError`."""
        await in_a_task()
        if ask.purpose == "end":
            self._end(self._talks.pop(ask.session or "", None))
            return Answer(200, whole=b"")
        talk = self._talk(ask.session)
        if ask.purpose == "listen":
            return await self._listen(caller, talk, about)
        if not ask.method:
            self._answered(talk, ask.document)
            return Answer(202, whole=b"")
        if not ask.wants_answer:
            if ask.method == "notifications/cancelled":
                self._cancelled(talk, member(ask.document, "params").get("requestId"))
            return Answer(202, whole=b"")
        if ask.method in LOCAL:
            return await self._here(caller, talk, ask, about)
        return await self._request(caller, talk, ask, about)

    async def _request(self, caller: Caller, talk: Talk, ask: Ask, about: Json) -> Answer:
        document = enveloped(ask.document, about or self._myself, talk.level)
        call = ModernCall(talk, document, member(about, "capabilities"), self._headers, self._room)
        return await call.start(caller)

    # --- what needs no server -----------------------------------------------------------------------------------------

    async def _here(self, caller: Caller, talk: Talk, ask: Ask, about: Json) -> Answer:
        """Requests that 2026-07-28 has no more."""
        params, wanted = member(ask.document, "params"), ask.document["id"]
        if ask.method == "logging/setLevel":
            if params.get("level") not in LEVELS:
                return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, "no such level"))
            talk.level = params["level"]
        elif ask.method != "ping":
            uri = params.get("uri")
            if not isinstance(uri, str):
                return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, "params.uri is missing"))
            (talk.uris.add if ask.method == "resources/subscribe" else talk.uris.discard)(uri)
            if talk.stream is not None:
                await talk.stream.renew(caller, talk.uris)
        return Answer(200, whole=to_json({"jsonrpc": "2.0", "id": wanted, "result": {}}))

    async def _listen(self, caller: Caller, talk: Talk, about: Json) -> Answer:
        """What the server says unasked: one stream for the session; it ends the one before."""
        if talk.stream is not None:
            talk.stream.end()
        stream = talk.stream = ModernStream(about or self._myself, self._room)
        return await stream.begin(caller, talk.uris)

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _talk(self, session: str | None) -> Talk:
        if session is None:
            return Talk()
        talk = self._talks.get(session)
        if talk is None:
            talk = self._talks[session] = Talk()
            if len(self._talks) > REMEMBERED:
                self._end(self._talks.popitem(last=False)[1])
        self._talks.move_to_end(session)
        return talk

    def _answered(self, talk: Talk, document: Json) -> None:
        call = talk.questions.pop(document.get("id"), None)
        if call is not None:
            call.answered(document)

    def _cancelled(self, talk: Talk, wanted: Any) -> None:
        call = talk.calls.get(wanted) if isinstance(wanted, str | int) else None
        if call is not None:
            call.cancel()

    def _end(self, talk: Talk | None) -> None:
        if talk is not None:
            for call in list(talk.calls.values()):
                call.cancel()
            if talk.stream is not None:
                talk.stream.end()

    def stop(self) -> None:
        """End every session."""
        while self._talks:
            self._end(self._talks.popitem()[1])


LOCAL = frozenset(("ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"))
