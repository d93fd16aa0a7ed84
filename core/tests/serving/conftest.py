"""A gateway of a few lines behind the real server, and clients that say exactly what a test wants to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import h11
import pytest
from agentgateway._host.assembly import Bind, BoundListener
from agentgateway._host.chains import Chain, Placed, compile_chain
from agentgateway._host.config import DownstreamTls, HttpFrontend, StaticConfig
from agentgateway._host.metrics import Metrics
from agentgateway._host.routes import Listener, Match, Route, RouteTable
from agentgateway._host.server import Server, serve
from agentgateway._host.sockets import OwnSockets
from agentgateway.exchange import Exchange, Place, Reply
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Protocol
from agentgateway.settings import PathMatch

Answer = Callable[[Exchange], Awaitable[Reply]]


class Hooks:
    """Answers every request with one function, and keeps what the log phase saw."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.logged: list[Exchange] = []
        self.settled = asyncio.Event()

    @hookimpl
    async def pre_request(self, exchange: Exchange) -> Reply:
        return await self.answer(exchange)

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        self.logged.append(exchange)
        self.settled.set()

    async def next_logged(self) -> Exchange:
        async with asyncio.timeout(5):
            while not self.logged:
                self.settled.clear()
                await self.settled.wait()
        return self.logged.pop(0)


@dataclass
class FakeGateway:
    binds: dict[int, Bind]
    settings: StaticConfig = field(default_factory=StaticConfig)
    http: HttpFrontend = field(default_factory=HttpFrontend)
    active: int = 0

    def dump(self) -> dict[str, Any]:
        return {"config": {"ports": sorted(self.binds)}}


@dataclass
class FakeRuntime:
    gateway: FakeGateway
    metrics: Metrics = field(default_factory=Metrics)
    ready: bool = False
    draining: bool = False
    on_swap: list[Callable[[Any], None]] = field(default_factory=list)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def reload(self) -> bool:
        return True


def bind_of(
    answer: Answer | Hooks, port: int = 0, *, tls: dict[str, DownstreamTls] | None = None, address: str = "127.0.0.1"
) -> Bind:
    hooks = answer if isinstance(answer, Hooks) else Hooks(answer)
    chain = compile_chain([Placed(hooks, "test", "route", "test")])
    place = Place(f"{address}:{port}", "default", "http")
    route = Route("everything", "", chain, Protocol(), replace(place, route="everything"))
    table = RouteTable([("*", Match(PathMatch(path_prefix="/")), route)])
    early = Chain(log=chain.log)
    hosts: dict[str, DownstreamTls | None] = dict(tls) if tls else {"*": None}
    listeners = tuple(
        BoundListener(Listener(host, host, place, early, table), settings) for host, settings in hosts.items()
    )
    return Bind("default", port, address, listeners)


@dataclass
class Running:
    runtime: FakeRuntime
    hooks: Hooks
    server: Server
    shutdown: asyncio.Event
    task: asyncio.Task[None]

    @property
    def port(self) -> int:
        return int(self.server.sockets()[0].getsockname()[1])

    async def stop(self) -> None:
        self.shutdown.set()
        async with asyncio.timeout(20):
            await self.task


Serving = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    """Starts the real server around one answering function; drains it at the end."""
    running: list[Running] = []

    async def start(
        answer: Answer,
        *,
        http: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        tls: dict[str, DownstreamTls] | None = None,
    ) -> Running:
        hooks = Hooks(answer)
        static = StaticConfig(**{"connectionTerminationDeadline": "1s", **(settings or {})})
        gateway = FakeGateway({0: bind_of(hooks, tls=tls)}, static, HttpFrontend(**(http or {})))
        runtime = FakeRuntime(gateway)
        shutdown = asyncio.Event()
        opened: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(runtime, OwnSockets(), shutdown=shutdown, started=opened.set_result))
        await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        running.append(Running(runtime, hooks, opened.result(), shutdown, task))
        return running[-1]

    yield start
    for one in running:
        await one.stop()


class Client:
    """One connection, written to in bytes and read with h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.parser = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def event(self) -> Any:
        async with asyncio.timeout(10):
            while (event := self.parser.next_event()) is h11.NEED_DATA:
                self.parser.receive_data(await self.reader.read(65536))
        return event

    async def head(self, method: str = "GET") -> h11.Response:
        """The next reply's head."""
        self.parser = h11.Connection(h11.CLIENT)
        self.parser.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("content-length", "0")]))
        self.parser.send(h11.EndOfMessage())
        while isinstance(event := await self.event(), h11.InformationalResponse):
            pass
        assert isinstance(event, h11.Response)
        return event

    async def reply(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The next reply whole."""
        head = await self.head(method)
        body = b""
        while isinstance(event := await self.event(), h11.Data):
            body += event.data
        fields = {name.decode(): value.decode() for name, value in head.headers}
        return head.status_code, fields, body

    async def at_end(self) -> bool:
        """Whether the server closed the connection, having sent nothing more."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


Connecting = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connecting]:
    clients: list[Client] = []

    async def to(running: Running, **options: Any) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", running.port, **options)))
        return clients[-1]

    yield to
    for client in clients:
        await client.close()
