"""What stands behind the gateway: an MCP server, whatever carries its messages.

A class a kind of target (`mcp`, `sse`, `stdio`, `openapi`), found by name in the entry-point group
`agentgateway.mcp_targets`; its configuration is what stands below that key of an entry of `targets`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from agentgateway.exchange import Content, Exchange, Headers
from agentgateway.interfaces import Host, Segment
from agentgateway.settings import PluginConfig

Purpose = Literal["send", "listen", "end"]
"""A message is sent (POST); what the server says unasked is listened to (GET); the session ends (DELETE)."""


@dataclass(slots=True)
class Ask(Content):
    """What one server is asked: the `call` of the exchange that it gets.

    `message` is the JSON-RPC message as bytes, with the names that this server knows; `document` the same parsed.
    `version` is the protocol's (`2025-11-25`), empty in an `initialize`; from 2026-07-28 on there are no sessions.
    `session` is the server's own session id, None where there is none; `resume_from` the last event that the client
    has (`Last-Event-ID`), in the server's terms. `fields` are headers that this message has besides.
    """

    purpose: Purpose
    message: bytes = b""
    document: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    session: str | None = None
    resume_from: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    method: str = field(init=False, compare=False)
    """The JSON-RPC method, empty in a response."""

    def __post_init__(self) -> None:
        self.method = str(self.document.get("method", ""))

    @property
    def wants_answer(self) -> bool:
        """Whether it is a request, and neither a notification nor a response."""
        return "method" in self.document and "id" in self.document

    def segments(self) -> list[Segment]:
        return []

    @property
    def changed(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Said:
    """One JSON-RPC message from a server: its bytes, and the id of the event it came in, if it can be resumed from."""

    data: bytes
    event: str | None = None
    retry: int | None = None
    """Milliseconds after which the client should come back, if the server closes the stream here."""


@dataclass(slots=True)
class Answer:
    """What a server answers to an `Ask`, in the terms of Streamable HTTP.

    `status` is 200 with messages, 202 for what wants none, 404 for a session that is gone, 405 where nothing is to be
    listened to, any other error as the server has it. `messages` ends after the response to a request; whoever takes
    an answer closes it. `whole` is the only message, where no other can come. `session` is a new session's id, and
    `version` what is spoken in it, where that is another version than the message says. `resumable` says that the
    messages come with ids.
    """

    status: int
    messages: AsyncIterator[Said] | None = None
    whole: bytes | None = None
    session: str | None = None
    headers: Headers = field(default_factory=Headers)
    version: str = ""
    resumable: bool = False

    async def close(self) -> None:
        """Let go of what is still to come: the request is cancelled."""
        close = getattr(self.messages, "aclose", None)
        if close is not None:
            await close()


class Server:
    """One target. Constructors have no side effects; work starts in `start` and ends in `stop`.

    `resumable` says that a session is known by its id alone, so that any worker can go on with it; `pipes` says that
    the policies of a target have nothing to edit, since no HTTP request is made; `sessions_only` that the kind knows no
    version without sessions. Before its start a target is told its
    name, as `label`, and how many seconds sessions that live in this process outlast their last message.
    """

    Config: ClassVar[type[BaseModel]] = PluginConfig
    resumable: ClassVar[bool] = True
    pipes: ClassVar[bool] = False
    sessions_only: ClassVar[bool] = False

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host
        self.label = host.at
        self.session_ttl = 1800.0

    @property
    def endpoint(self) -> str:
        """`host:port`, or the command, for people."""
        raise NotImplementedError

    @property
    def url(self) -> str | None:
        """Where all of its messages go by HTTP, None for servers that have no such place."""
        return None

    @property
    def identity(self) -> str:
        """What tells it from every other server of its kind: a session is no other server's."""
        return self.url or self.endpoint

    async def prepare(self, exchange: Exchange) -> None:
        """Set `exchange.outgoing` for `exchange.call`, an `Ask`; the target's policies edit it then."""

    async def send(self, exchange: Exchange) -> Answer:
        """Send it. Raises `UpstreamError` when the server cannot be reached, or breaks off."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin background work."""

    async def stop(self) -> None:
        """End what `start` began, and every session."""
