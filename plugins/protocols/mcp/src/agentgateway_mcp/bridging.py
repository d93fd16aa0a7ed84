"""Between clients and one server: what both speak passes as it is, and where they have no version in common, somebody
stands in between. A server is asked once which of the two it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from agentgateway.errors import UpstreamTimeout
from agentgateway.tasks import in_a_task
from agentgateway_mcp.callers import Caller, client_of
from agentgateway_mcp.door import gone
from agentgateway_mcp.envelope import Json, enveloped, member
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.known_eras import Era, Known, is_discovery, is_named, may_refuse, says_nothing
from agentgateway_mcp.legacy_server import LegacyServer, readdressed
from agentgateway_mcp.merging import NAME, VERSION
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.modern_call import Stale, document_in
from agentgateway_mcp.modern_server import ModernServer
from agentgateway_mcp.servers import Answer, Ask, Server

if TYPE_CHECKING:
    from agentgateway_mcp.config import McpConfig

SELF: Json = {"capabilities": {}, "clientInfo": {"name": NAME, "version": VERSION}}
"""What the gateway says of itself where nobody else is there to be named."""
PATIENCE = 5.0
"""Seconds after which a program that does not answer `server/discover` is taken not to know it."""


class Bridge:
    """One server, as all clients see it."""

    def __init__(self, server: Server, label: str, era: Era, config: McpConfig) -> None:
        self._server = server
        self._label = label
        self._limit = config.timeout
        self.known = Known(era)
        peers, room, lifetime = server.host.peers, 2 * server.host.body_limit, config.session_lifetime
        self._legacy = LegacyServer(
            label, SELF, config.timeout, config.session_idle, room, peers, server.host.at, lifetime
        )
        self.params = self._legacy.headers
        self._modern = ModernServer(SELF, room, peers, lifetime)
        self._finding = asyncio.Lock()
        self._asked = 0

    async def ask(self, caller: Caller, ask: Ask, about: Json) -> Answer:
        """A message of a client's, in the version that it speaks. `about` is what it has said of itself, where it has a
        session. Raises `UpstreamError`, `McpError`."""
        if ask.method == "initialize":
            return await self._initialize(caller, ask)
        if ask.version >= MODERN:
            return await (self._stateless(caller, ask) if ask.session is None else self._kept(caller, ask, about))
        return await (self._alone(caller, ask) if caller.alone else caller.direct(ask))

    async def stop(self) -> None:
        self._modern.stop()
        await self._legacy.stop()

    # --- clients of 2026-07-28 ----------------------------------------------------------------------------------------

    async def _stateless(self, caller: Caller, ask: Ask) -> Answer:
        known = self.known
        if known.stateless is None and ask.wants_answer:
            answer = await self._find_out(caller, ask)
            if answer is not None:
                return answer
        speaks = known.stateless is not False
        answer = await (caller.direct(ask) if speaks else self._legacy.ask(caller, ask))
        if not may_refuse(answer) or not ask.wants_answer or not await self._has_changed(caller, ask, speaks):
            return answer
        await answer.close()
        return await (self._legacy.ask(caller, ask) if speaks else caller.direct(ask))

    async def _has_changed(self, caller: Caller, ask: Ask, spoke: bool) -> bool:
        """Whether a server that did, or did not, speak 2026-07-28 has become another."""
        self.known.forget()
        await self._find_out(caller, ask)
        return self.known.stateless is (not spoke)

    async def _find_out(self, caller: Caller, ask: Ask) -> Answer | None:
        """Find out whether a server speaks 2026-07-28. An answer is that to the client's own `server/discover`, where
        there is nothing to translate. Who waits for somebody else's question does not ask again when that fails."""
        before = self._asked
        async with self._finding:
            if self.known.stateless is not None or self._asked != before:
                return None
            try:
                return await self._found(caller, ask)
            finally:
                self._asked += 1

    async def _found(self, caller: Caller, ask: Ask) -> Answer | None:
        own = ask.method == "server/discover"
        answer = await self._discovery(caller, ask if own else discovering(client_of(ask.document, SELF)))
        if says_nothing(answer.status):
            return answer if own else None
        document = document_in(answer)
        speaks = is_discovery(document) or is_named(document)
        self.known.found(stateless=speaks)
        return answer if speaks and own else None

    # --- clients with sessions ----------------------------------------------------------------------------------------

    async def _initialize(self, caller: Caller, ask: Ask) -> Answer:
        refusal: Answer | None = None
        if self.known.sessions is not False:
            answer = await self._whole(caller, await caller.direct(ask), ask.document["id"])
            if "result" in (document_in(answer) or {}):
                self.known.found(sessions=True)
                return answer
            if says_nothing(answer.status) or self.known.fixed:
                return answer
            refusal = answer
        discovery = await self._discovery(caller, discovering(member(ask.document, "params")))
        document = document_in(discovery)
        if is_discovery(document):
            self.known.found(stateless=True, sessions=False)
            return self._modern.initialized(ask, member(document, "result"))
        self.known.forget()
        return refusal or readdressed(discovery, ask)

    async def _kept(self, caller: Caller, ask: Ask, about: Json) -> Answer:
        """In a session that only the gateway knows of. It ends when the server is another one than it was."""
        try:
            return await self._modern.ask(caller, ask, about)
        except Stale:
            self.known.forget()
            raise gone() from None

    async def _alone(self, caller: Caller, ask: Ask) -> Answer:
        """A message that is to stand alone: in a session for itself, or in none where the server knows none."""
        if self.known.sessions is not False:
            try:
                return await caller.direct(ask)
            except McpError:
                discovery = await self._discovery(caller, discovering(SELF))
                if not is_discovery(document_in(discovery)):
                    raise
                self.known.found(stateless=True, sessions=False)
        return await self._modern.ask(caller, ask, SELF)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _discovery(self, caller: Caller, ask: Ask) -> Answer:
        """The answer to `server/discover`, whole. Raises `UpstreamError`."""
        program = self._server.pipes and not self._server.resumable
        limit = min(PATIENCE, self._limit) if program else self._limit
        await in_a_task()
        try:
            async with asyncio.timeout(limit):
                answer = await self._whole(caller, await caller.send(ask), ask.document["id"])
        except TimeoutError:
            if not program:
                raise UpstreamTimeout("the server did not answer in time", detail=self._label) from None
            answer = Answer(400, whole=b"")
        if program and not is_discovery(document_in(answer)):
            await caller.send(Ask("end", version=MODERN))  # of what was started for this question alone
        return answer

    async def _whole(self, caller: Caller, answer: Answer, wanted: Any) -> Answer:
        if answer.messages is None:
            return answer
        document = await caller.response_of(answer, wanted)
        return Answer(answer.status, whole=to_json(document), session=answer.session, headers=answer.headers)


def discovering(about: Json) -> Ask:
    """The question what a server speaks, of a client that has said this of itself."""
    asked = {"jsonrpc": "2.0", "id": "agw-discover", "method": "server/discover"}
    document = enveloped(asked, about)
    return Ask("send", to_json(document), document, MODERN)
