"""Streams of what servers say unasked, to one client: of all of them, or the rest of one that it has lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from agentgateway.errors import GatewayError
from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.streams import OwnedStream
from agentgateway_mcp.asking import Servers
from agentgateway_mcp.callers import repeated
from agentgateway_mcp.errors import METHOD_NOT_FOUND, McpError
from agentgateway_mcp.fan import Merged
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.passing import EVENTS, failure, judged, note, passed
from agentgateway_mcp.replies import Outward, read_message
from agentgateway_mcp.resumption import of_all, read
from agentgateway_mcp.servers import Answer, Said
from agentgateway_mcp.streamable import event
from agentgateway_mcp.subscribing import asked_of, begun

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend


class Listening:
    """One such stream."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall, servers: Servers) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._names = backend.names
        self._servers = servers
        self._members = servers.members

    async def subscribe(self) -> Reply:
        """`subscriptions/listen`: one stream of everything that the servers tell; one word that it has begun."""
        config, names, call = self._backend.config, self._names, self._call
        asked = {
            target: partial(self._servers.ask, target, asked_of(self._exchange, names, target, call))
            for target in self._members
        }
        answers = await self._servers.together(asked, fail_open=True)
        streams = {target: one for target, one in answers.items() if one.messages is not None}
        if not streams:
            raise McpError(METHOD_NOT_FOUND, "Method not found: subscriptions/listen", status=404)
        first = await begun(names, streams, call, config.timeout)
        return self._stream(Merged(streams), first)

    def _stream(
        self, merged: Merged, first: dict[str, Any] | None = None, places: dict[str, str] | None = None
    ) -> Reply:
        body = OwnedStream(self._told(merged, first, places), Closing(merged))
        return Reply(200, Headers(list(EVENTS)), body, upstream=True)

    async def _told(
        self, merged: Merged, first: dict[str, Any] | None, places: dict[str, str] | None
    ) -> AsyncGenerator[bytes, None]:
        """The messages of several streams, and what comes before them. `places` are those reached in each, which events
        say then."""
        if first is not None:
            yield event(Said(to_json(first)))
        async for target, said in merged:
            if places is not None and said.event is not None:
                places[target] = said.event
            if not said.data:
                continue
            document = read_message(said.data)
            try:
                Outward(self._exchange, self._call, self._names, target).message(document)
                note(self._call, document)
                await judged(self._call, document)
            except GatewayError as error:
                self._exchange.error = error
                yield failure(self._call, error)
                return
            yield event(Said(to_json(document), of_all(places) if places else None))

    async def listen(self) -> Reply:
        """What servers say unasked. Those that say nothing so are left out. A client that comes back gets what it has
        missed: of the stream of one server, or of all of them."""
        given = self._exchange.request.headers.get("last-event-id")
        if len(self._members) == 1:
            return await self._heard(next(iter(self._members)), given)
        found = read(given, tuple(self._members)) if given else {}
        if isinstance(found, tuple):
            return await self._heard(*found)
        asked = {
            target: partial(self._servers.ask, target, b"", resume_from=found.get(target)) for target in self._members
        }
        answers = await self._servers.together(asked, fail_open=True)
        streams = {target: one for target, one in answers.items() if one.messages is not None}
        if not streams:
            raise McpError(METHOD_NOT_FOUND, "Method not allowed", status=405, headers=(("allow", "POST, DELETE"),))
        return self._stream(Merged(streams, self._again), places=dict(found))

    async def _heard(self, target: str, place: str | None) -> Reply:
        """A stream of one server, from the beginning or from there."""
        answer = await self._servers.ask(target, b"", resume_from=place)
        return passed(self._exchange, self._call, answer, Outward(self._exchange, self._call, self._names, target))

    async def _again(self, target: str, place: str) -> Answer:
        """The same for one that has ended, while the client still listens to the others."""
        return await self._servers.again(repeated(self._exchange)).ask(target, b"", resume_from=place)


class Closing:
    """Closes what a stream is made from."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def __aiter__(self) -> Closing:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._merged.aclose()
