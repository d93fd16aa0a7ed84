"""Targets of kind `sse`: servers that speak the transport of 2024-11-05, "HTTP with SSE". A GET opens a stream, whose
first event names the place to POST messages to; whatever the server says comes on that stream.

One stream a session. Its headers are those of the `initialize` that opened it, the target's policies included; every
message has its own. What a policy signs is not right for the first POST, which goes out with the headers of the GET.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from urllib.parse import SplitResult, urljoin, urlsplit

from pydantic import Field

from agentgateway.errors import GatewayError, InternalError, UpstreamError
from agentgateway.exchange import Exchange, Headers, Outgoing, Reply, Stream
from agentgateway.interfaces import Host
from agentgateway.llm.sse import Parser
from agentgateway.streams import aclose
from agentgateway_mcp import rpc
from agentgateway_mcp.conversations import Conversation, LiveServer
from agentgateway_mcp.correspondence import Correspondence
from agentgateway_mcp.elsewhere import Way, bytes_of
from agentgateway_mcp.errors import UNSUPPORTED_VERSION
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.streamable import StreamableHttpConfig, asked, carried, read

PORTS = {"http": 80, "https": 443}
LONGEST = 2048
"""Characters of a reference to where messages go: ids of sessions have to carry it."""
TAKEN = frozenset((200, 201, 202, 204))

logger = logging.getLogger("agentgateway.mcp")


class SseConfig(StreamableHttpConfig):
    """Where the server is."""

    path: str = Field("/sse", pattern="^/")
    """The path of the stream, where `host` has none."""


class LegacySse(LiveServer):
    """A server behind one URL, listened to by GET and asked by POST."""

    Config = SseConfig
    sessions_only = True

    def __init__(self, config: SseConfig, host: Host) -> None:
        super().__init__(config, host)
        self._url, self.target = config.address

    @property
    def endpoint(self) -> str:
        return self._url.partition("://")[2]

    @property
    def identity(self) -> str:
        return self._url + self.target

    async def prepare(self, exchange: Exchange) -> None:
        ask = asked(exchange)
        headers = carried(exchange)
        post_to = (ask.session or "").partition(" ")[2]
        if ask.purpose == "send" and post_to:
            headers.add("content-type", "application/json")
            exchange.outgoing = Outgoing("POST", self._url, post_to, headers, ask.message)
        else:
            headers.add("accept", "text/event-stream")
            exchange.outgoing = Outgoing("GET", self._url, self.target, headers)

    async def unbound(self, ask: Ask, exchange: Exchange) -> Answer:
        if ask.version >= MODERN:
            refusal = "this server speaks versions with sessions only"
            return Answer(400, whole=rpc.failure(ask.document.get("id"), UNSUPPORTED_VERSION, refusal))
        return await super().unbound(ask, exchange)

    async def begin(self, exchange: Exchange) -> Conversation | Answer:
        opening = exchange.outgoing
        if opening is None:
            raise InternalError(detail="nothing to send")
        reply = await self.host.send(sub_exchange(exchange, opening), stream=True)
        kind = (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if reply.status != 200:
            return Answer(reply.status, whole=await read(reply, self.host.body_limit), headers=reply.headers)
        if isinstance(reply.body, bytes) or kind != "text/event-stream":
            await aclose_reply(reply)
            raise UpstreamError("the server opened no event stream", detail=f"{self.label}: {kind or 'no type'}")
        session = SseSession(self, opening, reply.body)
        try:
            session.post_to = await session.endpoint(f"{opening.url}{self.target}")
        except BaseException:
            await session.close()
            raise
        extra = opening.target.removeprefix(self.target) if opening.target.startswith(self.target) else ""
        target = session.post_to + joined(extra, session.post_to)
        headers = opening.headers.copy()
        headers.remove("accept")
        headers.set("content-type", "application/json")
        message = asked(exchange).message
        exchange.outgoing = replace(opening, method="POST", target=target, headers=headers, body=message)
        return session


class SseSession(Conversation):
    """The stream of one client, and where its messages go, which its id says, too: any worker may have to know."""

    def __init__(self, server: LegacySse, opening: Outgoing, stream: Stream) -> None:
        super().__init__()
        self._opening = opening
        self.post_to = "/"
        self.correspondence = Correspondence(self._reply, 2 * server.host.body_limit)
        self._server = server
        self._stream = stream
        self._named: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._last: Exchange | None = None
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def id(self) -> str:
        return f"{self.address} {self.post_to}"

    def outgoing(self, way: Way) -> Outgoing:
        return replace(
            self._opening,
            method="POST",
            target=way.target,
            headers=Headers(bytes_of(way.headers)),
            authority=way.authority,
            head_timeout=way.head_timeout,
        )

    async def endpoint(self, base: str) -> str:
        """The path and query that messages go to. Raises `UpstreamError`."""
        return same_origin(base, await self._named)

    async def deliver(self, message: bytes, exchange: Exchange) -> Answer | None:
        outgoing = exchange.outgoing
        if outgoing is None:
            raise InternalError(detail="nothing to send")
        outgoing.body = message
        self._last = exchange
        reply = await self._server.host.send(exchange, stream=False)
        body = await read(reply, self._server.host.body_limit)
        if reply.status in TAKEN:
            return None
        if reply.status == 404:
            self._server.retire(self)
        elif reply.status < 400:
            raise UpstreamError("the server did not take a message", detail=f"status {reply.status}")
        return Answer(reply.status, whole=body, headers=reply.headers)

    def cancel(self, notification: bytes, exchange: Exchange) -> None:
        if not self.ended:
            self._server.run(self._post(notification, exchange))

    def _reply(self, message: bytes) -> None:
        if self._last is not None and not self.ended:
            self._server.run(self._post(message, self._last))

    async def _post(self, message: bytes, like: Exchange) -> None:
        """Send a message that nobody waits for, as that one went."""
        assert like.outgoing is not None
        outgoing = replace(like.outgoing, headers=like.outgoing.headers.copy(), body=message)
        try:
            await self._server.host.send(sub_exchange(like, outgoing), stream=False)
        except GatewayError as error:
            logger.debug("%s: a message of the gateway's is lost: %s", self._server.label, error.detail)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.wait((self._reading,))

    async def _read(self) -> None:
        """Hand on what the server says, until it or the session ends."""
        reason, parser = "the server ended the stream", Parser(self._server.host.body_limit)
        try:
            async for chunk in self._stream:
                for event in parser.feed(chunk):
                    self._take(event.name, event.data)
        except GatewayError as error:
            reason = error.message
        finally:
            self._over(reason)
            await aclose(self._stream)

    def _take(self, name: str | None, data: bytes | None) -> None:
        if not data:
            return
        if name == "endpoint":
            if not self._named.done():
                self._named.set_result(data.decode("utf-8", "replace"))
        elif name in (None, "message"):
            try:
                self.correspondence.hear(data)
            except ValueError:
                logger.warning("%s: said what is no message", self._server.label)

    def _over(self, reason: str) -> None:
        self.ended = True
        if not self._named.done():
            self._named.set_exception(UpstreamError("the server named no endpoint", detail=reason))
            self._named.exception()  # somebody may have stopped waiting for it
        self.correspondence.fail(reason)
        self._server.lost(self)


def sub_exchange(exchange: Exchange, outgoing: Outgoing) -> Exchange:
    """One more request for the same cause."""
    child = Exchange(exchange.request, exchange.source, parent=exchange)
    child.outgoing = outgoing
    return child


def joined(extra: str, target: str) -> str:
    """What a policy has added to the query, for another target."""
    return f"{'&' if '?' in target else '?'}{extra[1:]}" if extra[:1] in ("?", "&") else ""


def same_origin(base: str, reference: str) -> str:
    """Path and query of a reference, resolved against the stream's URL. Raises `UpstreamError` for another origin: the
    client's credentials would go there."""
    plain = reference.isascii() and reference.isprintable() and " " not in reference and "\\" not in reference
    base = base if not base.startswith("unix:") else "http://localhost/"
    try:
        parts = urlsplit(urljoin(base, reference))
        same = plain and parts.username is None and origin(parts) == origin(urlsplit(base))
    except ValueError:
        same = False
    if not same or not parts.path.startswith("/"):
        raise UpstreamError("the server named an endpoint of another origin")
    if len(reference) > LONGEST:
        raise UpstreamError("the server named an endpoint that is too long")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


async def aclose_reply(reply: Reply) -> None:
    if not isinstance(reply.body, bytes):
        await aclose(reply.body)
