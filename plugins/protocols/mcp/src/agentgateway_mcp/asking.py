"""What the gateway asks servers on behalf of one message of a client: in the sessions that they have with it, through
the policies of their targets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic_core import to_json

from agentgateway.errors import GatewayError, NoEndpoint, UpstreamError
from agentgateway.exchange import Exchange
from agentgateway.tasks import in_a_task
from agentgateway_mcp.bridging import SELF
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.door import gone
from agentgateway_mcp.envelope import member
from agentgateway_mcp.errors import METHOD_NOT_FOUND, McpError
from agentgateway_mcp.fan import first_of, gather
from agentgateway_mcp.known import without_id
from agentgateway_mcp.known_eras import says_expired
from agentgateway_mcp.listings import Part
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.replies import LISTS, Outward, read_message
from agentgateway_mcp.servers import Answer, Ask, Said, Server
from agentgateway_mcp.sessions import Opened
from agentgateway_mcp.tracing import traced

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend

logger = logging.getLogger("agentgateway.mcp")
T = TypeVar("T")
Question: TypeAlias = Callable[[], Awaitable[T]]
Asked = bytes | dict[str, Any]
"""A message as it came from the client, or made for one server."""
MISSED = frozenset((*LISTS, "logging/setLevel"))
"""Methods that a server may do without while others have them."""


class Servers:
    """The servers of one message."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._names = backend.names
        assert exchange.target is not None
        members, session = exchange.target.members, call.session
        if session is not None:  # whoever was not there when it was opened is not in it
            members = tuple(member for member in members if member.name in session.servers)
        self.members = {member.name: member for member in members}

    async def results(self, pages: Mapping[str, str | None], *, all_of_them: bool = False) -> dict[str, dict[str, Any]]:
        """The results of several servers for the client's request, each with a cursor of its own."""
        return await self._each(pages, self.result, all_of_them=all_of_them)

    async def parts(self, pages: Mapping[str, str | None]) -> dict[str, Part]:
        """The same of a list, in the words of clients, for whom there are no rules."""
        return await self._each(pages, self._part)

    async def _each(
        self, pages: Mapping[str, str | None], take: Callable[[str, Asked], Awaitable[T]], *, all_of_them: bool = False
    ) -> dict[str, T]:
        config, document = self._backend.config, self._call.document

        def asking(target: str, cursor: str | None) -> Callable[[], Awaitable[T]]:
            if cursor is None and "cursor" not in self._call.params:
                return partial(take, target, self._call.body())
            params = {key: value for key, value in self._call.params.items() if key != "cursor"}
            page = {"cursor": cursor} if cursor is not None else {}
            return partial(take, target, {**document, "params": {**params, **page}})

        asked = {target: asking(target, cursor) for target, cursor in pages.items()}
        fail_open = config.failure_mode == "failOpen" and not all_of_them
        found = await self.together(asked, fail_open=fail_open)
        return {target: found[target] for target in self._names.targets if target in found}

    async def together(self, asked: Mapping[str, Question[T]], *, fail_open: bool) -> dict[str, T]:
        """What each of several servers answers, as `gather` has it."""
        limit = self._backend.config.timeout
        return await gather(self._spared(asked), limit, fail_open=fail_open, late=self._late)

    async def first(self, asked: Mapping[str, Question[bool]], *, fail_open: bool) -> str | None:
        """Which server is the first that says yes, as `first_of` has it."""
        limit = self._backend.config.timeout
        return await first_of(self._spared(asked), limit, fail_open=fail_open, late=self._late)

    def _late(self, target: str) -> None:
        self._backend.wellness.failed(self.members[target])

    def _spared(self, asked: Mapping[str, Question[T]]) -> Mapping[str, Question[T]]:
        """The same questions, but that a server which is to be left alone fails at once."""
        resting = self._backend.wellness.left_alone(self.members, asked)
        return {name: partial(left_alone, name) if name in resting else one for name, one in asked.items()}

    async def _part(self, target: str, asked: Asked) -> Part:
        call, listings = self._call, self._backend.listings
        document = asked if isinstance(asked, dict) else call.document
        answer = await self.ask(target, asked)
        key = (target, call.method, call.version, member(document, "params").get("cursor"))
        raw = without_id(answer.whole, call.id) if answer.whole is not None and answer.status == 200 else None
        part = listings.get(key, raw) if raw is not None else None
        if part is None:
            result = await self._result_in(answer, target, document)
            Outward(self._exchange, call, self._names, target).result(result)
            listed, _, named = LISTS[call.method]
            part = Part.of(result, listed, named)
            if raw is not None:
                listings.keep(key, raw, part)
        return part

    async def result(self, target: str, asked: Asked) -> dict[str, Any]:
        """One server's result. What it cannot do it has none of. Raises `GatewayError`."""
        document = asked if isinstance(asked, dict) else self._call.document
        return await self._result_in(await self.ask(target, asked), target, document)

    async def _result_in(self, answer: Answer, target: str, document: dict[str, Any]) -> dict[str, Any]:
        message = await self.response_of(answer, document.get("id"))
        if isinstance(message.get("result"), dict):
            return dict(message["result"])
        error = message.get("error")
        if isinstance(error, dict) and error.get("code") == METHOD_NOT_FOUND and document.get("method") in MISSED:
            return {}
        if isinstance(error, dict) and isinstance(error.get("code"), int):
            raise McpError(error["code"], str(error.get("message", ""))[:512], status=200, data=error.get("data"))
        raise UpstreamError("the server's answer is no response", detail=f"target {target}")

    async def response_of(self, answer: Answer, wanted: Any) -> dict[str, Any]:
        try:
            if answer.whole is not None:
                if answer.status >= 400 and not answer.whole.lstrip().startswith(b"{"):
                    raise UpstreamError(detail=f"the server answered {answer.status}")
                return read_message(answer.whole)
            if answer.messages is not None:
                async for said in answer.messages:
                    message = read_message(said.data) if said.data else {}
                    if "method" not in message and message.get("id") == wanted:
                        return message
        finally:
            await answer.close()
        raise UpstreamError("the server ended without an answer", detail=f"status {answer.status}")

    async def ask(
        self, target: str, message: Asked, *, resume_from: str | None = None, fields: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Ask one server, in a version that it speaks; `fields` are headers besides."""
        call, session = self._call, self._call.session
        document = message if isinstance(message, dict) else call.document
        raw = to_json(message) if isinstance(message, dict) else message
        own, version = session.servers.get(target, (None, "")) if session is not None else (None, call.version)
        ask = Ask(call.purpose, raw, document if call.purpose == "send" else {}, version, own, resume_from, fields)
        about = session.asked if session is not None else {}
        return await self._backend.bridges[target].ask(Caller(self, self._exchange, target), ask, about)

    def again(self, exchange: Exchange) -> Servers:
        """The same for another exchange of the message."""
        return Servers(self._backend, exchange, self._call)

    @property
    def alone(self) -> bool:
        """Whether clients get no sessions."""
        return not self._backend.stateful

    async def direct(self, target: str, ask: Ask) -> Answer:
        """Ask one server as the client does. A session of its that has expired is opened anew, once."""
        call, session, own = self._call, self._call.session, ask.session
        if session is not None and own is not None and (renewed := self._backend.renewals.get(session, target)):
            own = renewed
            ask = replace(ask, session=own)
        if self.alone and not call.modern and call.method != "initialize":
            return await self._alone(target, ask)
        answer = await self.sent(target, ask)
        opened = session is None or own is None
        while says_expired(answer) and not opened:
            assert session is not None and own is not None
            renewed = self._backend.renewals.elsewhere(session, target, own)
            opened = renewed is None
            if opened and (call.purpose == "end" or not session.asked):
                break
            await answer.close()
            own = renewed or await self._reopen(target, session, own)
            answer = await self.sent(target, replace(ask, session=own))
        if session is not None and own is not None:
            self._backend.promises.note(session, target, ask, answer)
        return answer

    async def _alone(self, target: str, ask: Ask) -> Answer:
        """Ask a server in a session of this message's own, which ends with the answer."""
        own = await self.open(target, {**SELF, "protocolVersion": ask.version}, ask.version)
        answer = await self.sent(target, replace(ask, session=own))
        if own is not None:
            end = partial(self._ended, target, Ask("end", version=ask.version, session=own))
            if answer.messages is None:
                await end()
            else:
                answer.messages = Ending(answer, end)
        return answer

    async def _ended(self, target: str, ask: Ask) -> None:
        await (await self.sent(target, ask)).close()

    async def _reopen(self, target: str, session: Opened, lost: str) -> str:
        """Open a server's session as the client once did. Raises 404 where that fails: the client must do it."""
        version = session.servers[target][1]
        own = await self.open(target, session.asked, version)
        if own is None:
            raise gone()
        server: Server = self.members[target].facts
        kept = self._backend.renewals.put(session, target, own, lost, shared=not server.resumable)
        if kept != own:
            await self._ended(target, Ask("end", version=version, session=own))
        else:
            await self._repeat(target, session, version, own)
        return kept

    async def _repeat(self, target: str, session: Opened, version: str, own: str) -> None:
        """Ask a new session for what the client has asked of the one before it."""
        for document in self._backend.promises.of(session, target):
            try:
                answer = await self.sent(target, Ask("send", to_json(document), document, version, own))
                await self.response_of(answer, document["id"])
            except GatewayError as error:
                logger.info("%s: %s is not repeated: %s", target, document["method"], error.detail or error.message)

    async def open(self, target: str, params: dict[str, Any], version: str) -> str | None:
        """Open a session with a server: its id, None where it has none."""
        first = {"jsonrpc": "2.0", "id": "agw-initialize", "method": "initialize", "params": params}
        answer = await self.sent(target, Ask("send", to_json(first), first))
        if "result" not in await self.response_of(answer, first["id"]):
            raise gone()
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await (await self.sent(target, Ask("send", to_json(done), done, version, answer.session))).close()
        return answer.session

    async def sent(self, target: str, ask: Ask, *, again: bool = False) -> Answer:
        """One exchange of the gateway's own with a server, through that target's policies."""
        exchange, member = self._exchange, self.members[target]
        child = Exchange(exchange.request, exchange.source, parent=exchange)
        child.place, child.protocol, child.deadline = exchange.place, exchange.protocol, exchange.deadline
        child.principal, child.identities = exchange.principal, exchange.identities
        child.target, child.call = member, traced(ask, exchange.request.headers)
        reply = await self._backend.host.ready(child)
        if reply is not None:
            return Answer(
                reply.status, whole=reply.body if isinstance(reply.body, bytes) else b"", headers=reply.headers
            )
        server: Server = member.facts
        self._backend.wellness.ready(child)
        login = self._backend.logins.get(target)
        if login is not None:
            await in_a_task()
            await login.attach(child)
        try:
            answer = await server.send(child)
        except UpstreamError:
            self._backend.wellness.answered(child, None)
            raise
        self._backend.wellness.answered(child, answer)
        exchange.sent_at, exchange.answered_at = child.sent_at, child.answered_at
        if login is not None and answer.status in (401, 403):
            try:
                better = await login.refused(child, answer, again=again)
            except BaseException:
                await answer.close()
                raise
            if better:
                await answer.close()
                return await self.sent(target, ask, again=True)
        answer = await self._backend.screened(target, ask, answer)
        if ask.method == "tools/list" and answer.whole:
            self._backend.bridges[target].params.see(answer.whole)
        return answer


async def left_alone(target: str) -> Any:
    raise NoEndpoint(detail=f"target {target} is evicted")


class Ending:
    """The messages of an answer; behind them comes what `end` does, however they end."""

    def __init__(self, answer: Answer, end: Callable[[], Awaitable[object]]) -> None:
        assert answer.messages is not None
        self._messages = answer.messages
        self._end = end
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Said]:
        return self

    async def __anext__(self) -> Said:
        try:
            return await self._messages.__anext__()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        if self._ended:
            return
        self._ended = True
        close = getattr(self._messages, "aclose", None)
        if close is not None:
            await close()
        await self._end()
