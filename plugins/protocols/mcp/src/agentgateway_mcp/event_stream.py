"""Streams of the transport of 2024-11-05, "HTTP with SSE" (specification 2024-11-05, "Transports"): a client opens one
by GET, learns from its first event where to post messages to, and gets everything that servers say on it.

A stream lives in one worker, and messages come to any. Each opens a link to the stream for as long as it is under way.
There the stream says which session it has, and whether there is room for another message; then come frames of several
kinds, and the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from agentgateway.errors import GatewayError
from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.interfaces import Link, PeerGone
from agentgateway.llm.sse import Parser, encode
from agentgateway.peers import pipe
from agentgateway.streams import aclose
from agentgateway_mcp import rpc
from agentgateway_mcp.callers import repeated
from agentgateway_mcp.errors import INTERNAL_ERROR
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.passing import EVENTS, judged
from agentgateway_mcp.relay import Relay
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.sessions import opened
from agentgateway_mcp.tickets import reference

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend

ASKED, OPENED, SAID, ANSWERED = b"?", b"=", b"!", b"."
"""Kinds of frames: the id of the request that the link is for, a new session (sealed), a message for the client, and
the one that answers the request."""
UNDER_WAY = 64
"""Messages of one stream at the same time."""
KEEP_ALIVE = 15.0
"""Seconds of silence before a comment shows that the stream is alive."""


def opened_stream(backend: McpBackend, exchange: Exchange, call: McpCall) -> Reply:
    return Reply(200, Headers(list(EVENTS)), EventStream(backend, exchange, call), upstream=True)


class EventStream:
    """The body of a reply that ends when the client leaves, and takes with it what is under way and the session."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall) -> None:
        self._backend = backend
        self._exchange = repeated(exchange)
        self._call = call
        self._letters, self._reader = pipe()
        self._links: set[Link] = set()
        self._session = ""
        self._listening: asyncio.Task[None] | None = None
        self._deaf = False
        self._over = False
        self._address = backend.host.peers.open(self._called)
        ticket = replace(opened("", {}, {}, exchange), stream=self._address)
        self._first: str | None = reference(exchange.request.query, backend.seal.close(ticket))

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return encode(first.encode(), "endpoint")
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                message = await self._reader.receive()
        except TimeoutError:
            return b": keep-alive\n\n"
        except PeerGone:
            raise StopAsyncIteration from None
        return encode(message or b"", "message")

    async def aclose(self) -> None:
        if self._over:
            return
        self._over = True
        self._backend.host.peers.close(self._address)
        self._letters.abort()
        for link in self._links:
            link.abort()
        listening, self._listening = self._listening, None  # which refers to this stream, also when it has ended
        if listening is not None:
            listening.cancel()
        if self._session:
            self._backend.run(self._end())

    async def _end(self) -> None:
        """End the session, at the servers too."""
        call = McpCall("end")
        call.session = self._backend.seal.open(self._session)
        await Relay(self._backend, self._exchange, call).answer()

    async def _called(self, link: Link) -> None:
        """A message is under way, here or in another worker."""
        request: bytes | None = None
        self._links.add(link)
        try:
            await link.send(to_json([self._session, len(self._links) <= UNDER_WAY]))
            while (frame := await link.receive()) is not None:
                kind, content = frame[:1], frame[1:]
                if kind == ASKED:
                    request = content
                elif kind == OPENED:
                    self._session = content.decode()
                else:
                    request = request if kind == SAID else None
                    await self._letters.send(content)
        except PeerGone:
            if request is not None:
                reason = "the gateway's worker ended before the answer came"
                await self._letters.send(rpc.failure(from_json(request), INTERNAL_ERROR, reason))
            raise
        finally:
            self._links.discard(link)
        self._listen()

    def _listen(self) -> None:
        """Hear what servers say unasked, from when the session is open."""
        idle = self._listening is None or self._listening.done()
        if self._session and idle and not (self._deaf or self._over):
            self._listening = self._backend.run(self._hear())

    async def _hear(self) -> None:
        self._call.session = self._backend.seal.open(self._session)
        try:
            reply = await Relay(self._backend, self._exchange, self._call).answer()
            if isinstance(reply.body, bytes):
                self._deaf = True  # they have nothing to say
            else:
                await divert(reply, self._call, self._backend.host.body_limit, self._letters.send)
        except GatewayError as error:
            self._deaf = error.status == 405
        except PeerGone:
            pass


async def divert(reply: Reply, call: McpCall, limit: int, put: Callable[[bytes], Awaitable[None]]) -> None:
    """Put every message of a reply elsewhere. Raises `UpstreamError`, `GuardRejected`, `GuardFailed`."""
    try:
        if isinstance(reply.body, bytes):
            document = read_message(reply.body)
            if "method" not in document:
                document["id"] = call.id
            await judged(call, document)
            await put(to_json(document))
            return
        parser = Parser(limit)
        async for chunk in reply.body:
            for event in parser.feed(chunk):
                if event.data:
                    await put(event.data)
    finally:
        if not isinstance(reply.body, bytes):
            await aclose(reply.body)
