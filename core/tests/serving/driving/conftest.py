"""The real HTTP backend behind chains of a test's own, and an upstream that does what the test says, when it says so.

Clients, gateway and upstream share one event loop, and what is written to a socket of this machine can be read at once:
"nobody has anything left to do" is a fact (`settled`), and no matter of waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h11
import pytest

from agentgateway._host.builtin.http import HostBackend, HostConfig, HttpProtocol
from agentgateway._host.chains import Chain, Placed, compile_chain
from agentgateway._host.gateway import Bind, BoundListener
from agentgateway._host.host import Lends, PluginHost
from agentgateway._host.load import parse
from agentgateway._host.metrics import Metrics
from agentgateway._host.routes import Listener, Match, Route, RouteTable
from agentgateway._host.transport import Transport
from agentgateway.exchange import Exchange, Place, Target
from agentgateway.hookspecs import hookimpl
from agentgateway.settings import PathMatch

IDLE_LOOKS = 3
"""How often in a row a loop must have nothing to do. Its own wake-ups may be one look late."""
BODY_LIMIT = 1 << 20
PLACE = Place("127.0.0.1:0", "default", "http", "everything")


async def settled() -> None:
    """Until neither callbacks nor sockets want anything of the loop; timers are far away."""
    loop: Any = asyncio.get_running_loop()
    looks = 0
    while looks < IDLE_LOOKS:
        await asyncio.sleep(0)
        looks = 0 if loop._ready or loop._selector.select(0) else looks + 1


@pytest.fixture(name="settled")
def _settled() -> Callable[[], Awaitable[None]]:
    return settled


class Peer(asyncio.Protocol):
    """The upstream's end of one connection."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.received = b""
        self.congested = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._upstream.peers.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self._upstream.answer is not None:
            self._upstream.answer(self)

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._upstream.goes_on is not None:
            self._upstream.goes_on(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True

    def requests(self) -> list[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]]:
        """What came: method, target, fields, body, as h11 reads them."""
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(self.received)
        found: list[Any] = []
        while not isinstance(event := parser.next_event(), type(h11.NEED_DATA) | type(h11.PAUSED)):
            if isinstance(event, h11.Request):
                found.append((event.method, event.target, tuple(event.headers), b""))
            elif isinstance(event, h11.Data):
                found[-1] = (*found[-1][:3], found[-1][3] + bytes(event.data))
        return found


@dataclass
class Upstream:
    """A server at a unix socket. `answer` is called with each peer that got bytes, `goes_on` when one may write on."""

    path: Path
    peers: list[Peer] = field(default_factory=list)
    answer: Callable[[Peer], None] | None = None
    goes_on: Callable[[Peer], None] | None = None


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Upstream]:
    one = Upstream(tmp_path / "upstream")
    server = await asyncio.get_running_loop().create_unix_server(lambda: Peer(one), one.path)
    yield one
    server.close()
    for peer in one.peers:
        peer.transport.abort()
    await settled()


class To:
    def __init__(self, target: Target) -> None:
        self._target = target

    @hookimpl
    def route(self, exchange: Exchange) -> None:
        exchange.target = self._target


@pytest.fixture
async def bind_to(upstream: Upstream) -> AsyncIterator[Callable[..., Bind]]:
    """A gateway of one route to the upstream, compiled as `assembly` does it, with these participants; each has
    connections of its own."""
    transports: list[Transport] = []

    def make(*participants: object) -> Bind:
        transports.append(Transport())
        lends = Lends(transports[-1], Metrics(), {})
        host = PluginHost(lends, parse("routes: []", environ={}), (), "backend", BODY_LIMIT)
        backend = HostBackend(HostConfig(f"unix:{upstream.path}"), host)
        placed = [Placed(one, f"test{number}", "route", "test") for number, one in enumerate(participants)]
        target = replace(backend.targets()[0], name="upstream", steps=compile_chain(placed).upstream)
        chain = compile_chain([*placed, Placed(To(target), "backends", "backend", "test")])
        route = Route("everything", "", replace(chain, upstream=()), HttpProtocol(host), PLACE)
        table = RouteTable([("*", Match(PathMatch(path_prefix="/")), route)])
        return Bind("default", 0, "127.0.0.1", (BoundListener(Listener("*", "*", PLACE, Chain(), table), None),))

    yield make
    for transport in transports:
        await transport.aclose()


class RawClient:
    """A socket without a buffer of its own: what is not read stays with the system."""

    def __init__(self, port: int, receive_buffer: int | None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        assert self.socket.send(data) == len(data)

    def received(self) -> bytes:
        """What has come and was not read yet."""
        parts = []
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while part := self.socket.recv(1 << 20):
                parts.append(part)
        return b"".join(parts)


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., RawClient]]:
    clients: list[RawClient] = []

    def to(running: Any, receive_buffer: int | None = None) -> RawClient:
        clients.append(RawClient(running.port, receive_buffer))
        return clients[-1]

    yield to
    for client in clients:
        client.socket.close()
    await settled()


@pytest.fixture
def driving() -> str:
    """The chains of these tests say it themselves."""
    return "task"
