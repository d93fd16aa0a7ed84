"""What travels through the eight phases: one `Exchange` a request, each of its fields with one writer.

The face that accepted the connection writes `request` and `source`; each phase writes the field that is its purpose
(see the comments on `Exchange`); everybody may read everything. Nothing here knows ASGI or sockets. Header fields are
`agentgateway.headers`, where an exchange may go is `agentgateway.targets`; both are imported from here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pydantic_core import to_json

from agentgateway.errors import BodyTooLarge, GatewayError
from agentgateway.headers import HOP_BY_HOP, NAME, Headers
from agentgateway.targets import Attempt, RetryRule, Target

if TYPE_CHECKING:
    from agentgateway.endpoints import Proxy, TlsSettings
    from agentgateway.interfaces import Protocol, Segment
    from agentgateway.settings import Secret


Receive = Callable[[], Awaitable[bytes | None]]
"""The next chunk of a body, or None at its end. Raises `ClientGone` when the client leaves first."""


class ClientGone(Exception):
    """The client left before its request was answered. Nobody is there to get a reply."""


class Body:
    """A request's body: read whole once, or passed on chunk by chunk, as its reader decides.

    `data` holds the whole of it once it has been read; `length` is the announced size in bytes, when there is one.
    """

    __slots__ = ("_receive", "data", "length")

    def __init__(self, data: bytes | None = b"", *, receive: Receive | None = None, length: int | None = None) -> None:
        self.data = None if receive is not None else data
        self.length = length if data is None or receive is not None else len(data)
        self._receive = receive

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises `BodyTooLarge` above `limit` bytes, before reading when the length is announced."""
        if self.data is not None:
            if len(self.data) > limit:
                raise BodyTooLarge(detail=f"{len(self.data)} bytes, limit {limit}")
            return self.data
        if self.length is not None and self.length > limit:
            raise BodyTooLarge(detail=f"{self.length} bytes announced, limit {limit}")
        chunks: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge(detail=f"over {limit} bytes")
            chunks.append(chunk)
        self.data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return self.data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.data is not None:
            if self.data:
                yield self.data
            return
        receive, self._receive = self._receive, None
        if receive is None:
            raise RuntimeError("the body was already passed on")
        while (chunk := await receive()) is not None:
            if chunk:
                yield chunk


@dataclass(slots=True)
class Request:
    """The client's request. `target` is as received; `path` is its part before `?`, undecoded and unnormalised."""

    method: str
    target: str
    headers: Headers
    body: Body
    scheme: str = "http"
    authority: str = ""
    version: str = "HTTP/1.1"
    path: str = field(init=False)
    query: str = field(init=False)
    upgrade: ClassVar[bool] = False
    """Whether a WebSocket is asked for; it is an `UpgradeRequest` then."""

    def __post_init__(self) -> None:
        self.path, _, self.query = self.target.partition("?")

    @property
    def host(self) -> str:
        """The authority's host name, lower-case, without its port."""
        host = self.authority.lower()
        if host.startswith("["):
            return host.partition("]")[0] + "]"
        return host.partition(":")[0]


@dataclass(slots=True)
class UpgradeRequest(Request):
    """A request for a WebSocket (RFC 6455). Its headers say nothing of the handshake; `subprotocols` are those that the
    client offers, without what stands for a credential. A reply of status 101 has a `sockets.Duplex` as its body."""

    upgrade: ClassVar[bool] = True
    subprotocols: tuple[str, ...] = ()


class Source(NamedTuple):
    """The peer: its address, and its certificate when it showed one that verified (`source.*` in expressions)."""

    address: str = ""
    port: int = 0
    certificate: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the configuration an exchange found its way; the labels of metrics and log lines."""

    bind: str = "unknown"
    gateway: str = "unknown"
    listener: str = "unknown"
    route: str = "unknown"
    route_rule: str = "unknown"


NOWHERE = Place()


class Principal(NamedTuple):
    """Who is asking, as one authenticator sees it.

    `kind` is the authenticator (`jwt`, `apiKey`), `name` its subject, `claims` what expressions read, `models` the
    patterns of models it may call (None: all), `credential` what the client presented, removed from the request.
    """

    kind: str
    name: str
    claims: Mapping[str, Any] = MappingProxyType({})
    models: tuple[str, ...] | None = None
    credential: Secret | None = None


class Usage(NamedTuple):
    """Tokens of a call. Whatever the vendor's convention, `input_tokens` includes cached ones and audio,
    `output_tokens` reasoning and audio; `estimated` says that the vendor never reported and the gateway counted
    characters instead."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def provider_input_tokens(self) -> int:
        """The input as vendors count that leave cached tokens out (Anthropic, Bedrock)."""
        return self.input_tokens - self.cached_input_tokens - self.cache_creation_input_tokens


@dataclass(slots=True)
class Outgoing:
    """The request about to go upstream; the upstream phase edits it, signing comes last.

    `url` is scheme and authority (`https://api.openai.com`), `target` path and query, `body` whole or the client's own
    stream. `authority`, when set, is sent as Host in place of the url's. `pinned` names headers that the configuration
    put where they are, so that a provider leaves them there. `scope` is what a signature is good for, where the
    provider knows: a service and its region.
    """

    method: str
    url: str
    target: str
    headers: Headers
    body: bytes | Body = b""
    authority: str | None = None
    tls: TlsSettings | None = None
    proxy: Proxy | None = None
    connect_timeout: float | None = None
    head_timeout: float | None = None
    call: Any = None
    """The call in the upstream's own terms, when the protocol has calls."""
    pinned: set[str] = field(default_factory=set)
    scope: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Outgoing {self.method} {self.url}{self.target.partition('?')[0]}>"


Stream = AsyncIterator[bytes]


class Reply:
    """What the client gets. `body` is whole, or a stream whose owner closes it (`aclose`); behind a 101 it is the other
    end of a WebSocket.

    `content` is the protocol's reading of the body, filled on demand by `Protocol.content`; `upstream` says that the
    reply came from the other side and not from a participant.
    """

    __slots__ = ("body", "content", "headers", "status", "upstream")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body: bytes | Stream = b"",
        *,
        upstream: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers if headers is not None else Headers()
        self.body = body
        self.upstream = upstream
        self.content: Content | None = None

    @classmethod
    def text(cls, status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> Reply:
        return cls(status, _fields("text/plain; charset=utf-8", headers), message.encode())

    @classmethod
    def json(cls, status: int, document: Any, headers: Iterable[tuple[str, str]] = ()) -> Reply:
        return cls(status, _fields("application/json", headers), to_json(document))

    @property
    def streaming(self) -> bool:
        return not isinstance(self.body, bytes)

    def __repr__(self) -> str:
        return f"<Reply {self.status}{' streaming' if self.streaming else ''}>"


def _fields(content_type: str, more: Iterable[tuple[str, str]]) -> Headers:
    headers = Headers([(b"content-type", content_type.encode())])
    for name, value in more:
        headers.add(name.lower(), value)
    return headers


Judge = Callable[["Sequence[Segment]"], Awaitable[None]]
"""Looks at texts and edits them. Raises `GuardRejected`, `GuardFailed`."""


class Content:
    """A message as guards and limits see it: segments to read and replace. Protocols subclass it."""

    def segments(self) -> list[Segment]:
        """Every text of the message that a guard may read, in order; replacing one changes the message."""
        raise NotImplementedError(type(self))

    @property
    def changed(self) -> bool:
        """Whether somebody replaced a segment or edited the document, so that the bytes must be made anew."""
        raise NotImplementedError(type(self))

    def attend(self, judge: Judge) -> bool:
        """Have the texts of whatever answers this message looked at, one message of them after the other, as they come.
        False says that the reply is to be looked at instead."""
        return False

    def told(self) -> Mapping[str, Any]:
        """What the access log says of it; where it is a model call that is known anyway."""
        return {}

    def copy(self) -> Self:
        """One that can be edited without this one noticing."""
        raise NotImplementedError(type(self))


class Exchange:
    """One request on its way through the phases. Whoever is named behind a field writes it, and nobody else."""

    __slots__ = (
        "answered_at",
        "attempt",
        "call",
        "deadline",
        "ended",
        "error",
        "finished",
        "first_token_at",
        "identities",
        "outgoing",
        "parent",
        "place",
        "priced",
        "principal",
        "protocol",
        "reply",
        "reply_headers",
        "request",
        "response_model",
        "retry",
        "sent_at",
        "sent_bytes",
        "source",
        "started",
        "started_at",
        "target",
        "unread",
        "usage",
    )

    def __init__(self, request: Request, source: Source | None = None, *, parent: Exchange | None = None) -> None:
        self.request = request  # the face
        self.source = source or Source()  # the face
        self.parent = parent  # the face: the exchange whose stream or fan-out started this one
        self.started = time.monotonic()
        self.started_at = time.time()
        self.place = NOWHERE  # accept: the route match
        self.protocol: Protocol | None = None  # accept: the route match
        self.call: Content | None = None  # accept: Protocol.decode
        self.unread: GatewayError | None = None  # accept: why there is no call; raised once identity is settled
        self.deadline: float | None = None  # accept: `timeout`; on the monotonic clock
        self.retry: RetryRule | None = None  # accept: `retry`
        self.principal: Principal | None = None  # authn: the last identity that was established
        self.identities: dict[str, Principal] = {}  # authn: by kind
        self.target: Target | None = None  # route
        self.attempt = Attempt()  # upstream: the attempts
        self.outgoing: Outgoing | None = None  # upstream: the backend, then its participants
        self.reply: Reply | None = None  # the pipeline
        self.reply_headers: list[tuple[str, str]] = []  # anybody: fields for whatever reply there will be
        self.error: GatewayError | None = None  # the pipeline: why the reply is the gateway's own
        self.usage: Usage | None = None  # the protocol, at the end of the reply
        self.priced: Any = None  # llm.prices: what the call cost, once somebody asked
        self.sent_at: float | None = None  # upstream: when the attempt that counts was sent
        self.answered_at: float | None = None  # upstream: when its head came
        self.response_model: str | None = None  # the protocol: the model that the vendor says answered
        self.first_token_at: float | None = None  # the protocol
        self.finished = False  # the protocol: its own end of a stream has been handed on
        self.sent_bytes = 0  # the face
        self.ended: float | None = None  # the pipeline, before the log phase; on the monotonic clock

    def establish(self, principal: Principal) -> None:
        """Record who is asking; for authenticators."""
        self.principal = principal
        self.identities[principal.kind] = principal

    @property
    def status(self) -> int:
        """The status the client got; 499 when it left before there was one."""
        return self.reply.status if self.reply is not None else (self.error.status if self.error is not None else 499)

    def __repr__(self) -> str:
        return f"<Exchange {self.request.method} {self.request.path} {self.place.route}>"


__all__ = [
    "HOP_BY_HOP",
    "NAME",
    "NOWHERE",
    "Attempt",
    "Body",
    "ClientGone",
    "Content",
    "Exchange",
    "Headers",
    "Judge",
    "Outgoing",
    "Place",
    "Principal",
    "Receive",
    "Reply",
    "Request",
    "RetryRule",
    "Source",
    "Stream",
    "Target",
    "UpgradeRequest",
    "Usage",
]
