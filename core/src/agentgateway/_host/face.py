"""What the server and the data plane tell each other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from agentgateway._host.suspension import Suspension
from agentgateway.errors import Drained

if TYPE_CHECKING:
    from agentgateway._host.config import DownstreamTls
    from agentgateway._host.gateway import Gateway
    from agentgateway._host.metrics import Metrics
    from agentgateway.exchange import Exchange

Message: TypeAlias = dict[str, Any]
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Coroutine[Any, Any, None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PEER = "agentgateway.peer"
"""Key of `scope["extensions"]` under which the server tells what it knows of the connection, a `Peer`."""
INTAKE = "agentgateway.intake"
"""The same for what comes of this one request, an `Intake`. Without it a departure is noticed only by who reads."""

TARGET = "agentgateway.target"
"""The same for the request's target as it came, bytes; what ASGI makes of it loses the mark of an empty query."""


class Runtime(Protocol):
    """What lives as long as the process. `gateway` is the current snapshot: a request keeps the one it began with."""

    @property
    def gateway(self) -> Gateway: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def on_swap(self) -> list[Callable[[Gateway], None]]: ...

    ready: bool
    draining: bool
    cutting: bool
    """The drain is at its end: who leaves now is sent away."""
    prepare: Callable[[Gateway], Awaitable[None]] | None


def note_departure(runtime: Runtime, exchange: Exchange | None) -> None:
    """Say on an exchange whose client is gone when that is the drain's doing."""
    if runtime.cutting and exchange is not None and exchange.error is None and not exchange.finished:
        exchange.error = Drained()


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection: its verified certificate, and the listener whose TLS the handshake was made with,
    by the server name that the client asked for."""

    certificate: Mapping[str, Any] | None = None
    hostname: str = ""
    tls: DownstreamTls | None = None

    def may_ask(self, hostname: str, tls: DownstreamTls | None) -> bool:
        """Whether requests for a listener may come by this connection, or belong on one of their own (421)."""
        if tls is None or self.tls is None:
            return tls is self.tls
        return tls.root == self.tls.root and (hostname == self.hostname or tls.cert == self.tls.cert)


UNKNOWN = Peer()


MOST_MESSAGES = 10
"""That wait for one who takes them, each at most what was read at once."""


class Intake:
    """The queue of what comes of a request. Body that nobody takes makes its sender wait; word that the client left
    does not wait in line, and calls `left`. Of a WebSocket, the end that the client announces waits in line.

    `dismiss` is called when the server ends, before the connection is cut; `ping` sends a ping to a WebSocket's client.
    """

    __slots__ = ("_abandoned", "_arrival", "_messages", "_space", "dismiss", "left", "ping")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._messages: deque[Message] = deque()
        self._arrival = Suspension(loop)
        self._space = Suspension(loop)
        self._abandoned = False
        self.left: Callable[[], None] | None = None
        self.dismiss: Callable[[], None] | None = None
        self.ping: Callable[[], Awaitable[None]] | None = None

    def put_first(self, message: Message) -> None:
        """Put what cannot have to wait, since nothing was put before."""
        self._messages.append(message)

    async def put(self, message: Message) -> None:
        if message["type"] != "http.disconnect" and (message["type"] != "websocket.disconnect" or "reason" in message):
            while len(self._messages) >= MOST_MESSAGES and not self._abandoned:
                await self._space.suspend()
            if not self._abandoned:
                self._messages.append(message)
                self._arrival.wake()
            return
        self._messages.append(message)
        self._arrival.wake()
        if self.left is not None:
            self.left()

    async def get(self) -> Message:
        while not self._messages:
            await self._arrival.suspend()
        self._space.wake()
        return self._messages.popleft()

    def here(self) -> Message | None:
        """The next message if it has come already."""
        if not self._messages:
            return None
        self._space.wake()
        return self._messages.popleft()

    def abandon(self) -> None:
        """Nobody will take anything any more: let the sender go on."""
        self._abandoned = True
        self._messages.clear()
        self._space.wake()
