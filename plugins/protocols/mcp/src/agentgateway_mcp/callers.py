"""One message of a client on its way to one server: whoever speaks with the server in its place needs to know this."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from agentgateway.exchange import Exchange
from agentgateway_mcp.envelope import CLIENT_KEY, Json, member, meta_of
from agentgateway_mcp.messages import CAPABILITIES_KEY
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.sessions import owner_of

if TYPE_CHECKING:
    from agentgateway_mcp.asking import Servers


class Caller:
    """`direct` asks as the client does, `send` says anything else in its name."""

    __slots__ = ("_exchange", "_servers", "_target")

    def __init__(self, servers: Servers, exchange: Exchange, target: str) -> None:
        self._servers = servers
        self._exchange = exchange
        self._target = target

    async def direct(self, ask: Ask) -> Answer:
        return await self._servers.direct(self._target, ask)

    async def send(self, ask: Ask) -> Answer:
        return await self._servers.sent(self._target, ask)

    async def response(self, ask: Ask) -> Json:
        """The response to a request. Raises `UpstreamError`."""
        return await self._servers.response_of(await self.send(ask), ask.document["id"])

    async def response_of(self, answer: Answer, wanted: Any) -> Json:
        return await self._servers.response_of(answer, wanted)

    def later(self) -> Caller:
        """The same when the message has been answered, whatever becomes of its deadline."""
        exchange = repeated(self._exchange)
        return Caller(self._servers.again(exchange), exchange, self._target)

    def key(self, about: Mapping[str, Any], *, wide: bool = False) -> bytes:
        """Equal for messages that may share a session: of one client of one principal with one credential. Where nobody
        says who asks, those that come by one connection, or, when it is `wide`, from one address."""
        exchange = self._exchange
        owner, source = owner_of(exchange), exchange.source
        who = owner or [source.address, None if wide else source.port]
        credentials = [*exchange.request.headers.all("authorization"), *exchange.request.headers.all("cookie")]
        return sha256(to_json([who, credentials, about])).digest()

    @property
    def alone(self) -> bool:
        """Whether clients get no sessions, also if their version has some."""
        return self._servers.alone

    @property
    def owner(self) -> str:
        return owner_of(self._exchange)


def client_of(document: Json, otherwise: Json) -> Json:
    """Who asks, by a request of 2026-07-28: what an `initialize` would say."""
    meta = meta_of(document)
    client = member(meta, CLIENT_KEY)
    return {
        "capabilities": member(meta, CAPABILITIES_KEY),
        "clientInfo": client if client else otherwise["clientInfo"],
    }


def repeated(exchange: Exchange) -> Exchange:
    """One more exchange of the same caller's with the same target, whatever becomes of the first one's deadline."""
    child = Exchange(exchange.request, exchange.source, parent=exchange)
    child.place, child.protocol, child.target = exchange.place, exchange.protocol, exchange.target
    child.principal, child.identities = exchange.principal, exchange.identities
    return child
