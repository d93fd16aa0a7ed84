"""A gateway of a few lines behind the real server, and clients that say exactly what a test wants to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import h11
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from agentgateway._host.chains import Chain, Placed, compile_chain
from agentgateway._host.config import DownstreamTls, HttpFrontend
from agentgateway._host.gateway import Bind, BoundListener
from agentgateway._host.metrics import Metrics
from agentgateway._host.routes import Listener, Match, Route, RouteTable
from agentgateway._host.server import Server, serve
from agentgateway._host.sockets import OwnSockets
from agentgateway._host.static_config import StaticConfig
from agentgateway.exchange import Exchange, Place, Reply, Target
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Backend, Protocol
from agentgateway.settings import PathMatch

Answer = Callable[[Exchange], Awaitable[Reply]]


class Answering:
    """Answers every request with one function, and keeps what the log phase saw."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.logged: list[Exchange] = []
        self.settled = asyncio.Event()

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


class Hooks(Answering):
    """By a coroutine function, which gives each request a task."""

    protocol: Protocol = Protocol()

    @hookimpl
    async def pre_request(self, exchange: Exchange) -> Reply:
        return await self.answer(exchange)


class InlineProtocol(Protocol):
    inline = True


class InlineBackend(Backend):
    """Sends requests to a function."""

    inline = True

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def prepare(self, exchange: Exchange) -> None: ...

    async def send(self, exchange: Exchange) -> Reply:
        return await self.answer(exchange)


class InlineHooks(Answering):
    """By a backend, in a chain of plain functions: nobody asks for a task, unless the function waits for something that
    is not the gateway's own."""

    protocol: Protocol = InlineProtocol()

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.target = Target(InlineBackend(answer), "function")

    @hookimpl
    def route(self, exchange: Exchange) -> None:
        exchange.target = self.target


DRIVING: dict[str, type[Hooks | InlineHooks]] = {"task": Hooks, "inline": InlineHooks}


@dataclass
class FakeGateway:
    binds: dict[int, Bind]
    settings: StaticConfig = field(default_factory=StaticConfig)
    http: HttpFrontend = field(default_factory=HttpFrontend)
    active: int = 0

    def with_binds(self, binds: dict[int, Bind]) -> FakeGateway:
        return replace(self, binds=binds, active=0)

    def dump(self) -> dict[str, Any]:
        return {"config": {"ports": sorted(self.binds)}}


@dataclass
class FakeRuntime:
    gateway: FakeGateway
    metrics: Metrics = field(default_factory=Metrics)
    ready: bool = False
    draining: bool = False
    cutting: bool = False
    on_swap: list[Callable[[Any], None]] = field(default_factory=list)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def reload(self) -> bool:
        return True


def bind_of(
    answer: Answer | Hooks | InlineHooks,
    port: int = 0,
    *,
    driving: str = "task",
    tls: dict[str, DownstreamTls] | None = None,
    address: str | None = "127.0.0.1",
) -> Bind:
    hooks = answer if isinstance(answer, Hooks | InlineHooks) else DRIVING[driving](answer)
    chain = compile_chain([Placed(hooks, "test", "route", "test")])
    place = Place(f"{address}:{port}", "default", "http")
    route = Route("everything", "", chain, hooks.protocol, replace(place, route="everything"))
    table = RouteTable([("*", Match(PathMatch(path_prefix="/")), route)])
    early = Chain(log=chain.log)
    hosts: dict[str, DownstreamTls | None] = dict(tls) if tls else {"*": None}
    listeners = tuple(
        BoundListener(Listener(host, host, place, early, table), settings) for host, settings in hosts.items()
    )
    return Bind("default", port, address, listeners)


@pytest.fixture
def make_bind(driving: str) -> Callable[..., Bind]:
    return partial(bind_of, driving=driving)


@pytest.fixture
def make_runtime() -> Callable[[], FakeRuntime]:
    async def answer(exchange: Exchange) -> Reply:
        return Reply.text(200, "")

    return lambda: FakeRuntime(FakeGateway({0: bind_of(answer)}))


@dataclass
class Running:
    runtime: FakeRuntime
    hooks: Hooks | InlineHooks
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


@pytest.fixture(params=["edge", "twin"])
def face(request: pytest.FixtureRequest) -> str:
    """Who reads HTTP/1.1: the edge, or Hypercorn for the ASGI twin."""
    return str(request.param)


@pytest.fixture(params=["task", "inline"])
def driving(request: pytest.FixtureRequest) -> str:
    """What runs the pipeline of a request, as far as the hooks of a test decide it: a task, or the callbacks of the
    connections (on the edge; the twin has a task anyway)."""
    return str(request.param)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Behind ASGI everything is in a task: once is enough."""
    again = [item for item in items if twice(getattr(getattr(item, "callspec", None), "params", {}))]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if not twice(getattr(getattr(item, "callspec", None), "params", {}))]


def twice(parameters: dict[str, object]) -> bool:
    return parameters.get("face") == "twin" and parameters.get("driving") == "inline"


@pytest.fixture
async def serving(face: str, driving: str) -> AsyncIterator[Serving]:
    """Starts the real server around one answering function; drains it at the end."""
    running: list[Running] = []

    async def start(
        answer: Answer,
        *,
        http: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        tls: dict[str, DownstreamTls] | None = None,
        binds: dict[int, Bind] | None = None,
    ) -> Running:
        hooks = DRIVING[driving](answer)
        own = {"connectionTerminationDeadline": "1s", "server": {"edge": face == "edge"}}
        static = StaticConfig(**{**own, **(settings or {})})
        gateway = FakeGateway(binds or {0: bind_of(hooks, tls=tls)}, static, HttpFrontend(**(http or {})))
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
    await asyncio.gather(*(one.stop() for one in running))


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

    async def to(running: Running, *, port: int | None = None, **options: Any) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", port or running.port, **options)))
        return clients[-1]

    yield to
    for client in clients:
        await client.close()


HUFFMAN = [f"{code:0{length}b}" for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)]


class HuffmanEncoder:
    """Writes what hpack's own one does (RFC 7541 section 5.2), whose time grows with the square of the length."""

    def encode(self, text: bytes) -> bytes:
        bits = "".join([HUFFMAN[byte] for byte in text])
        size = -(-len(bits) // 8)
        return int(bits.ljust(size * 8, "1") or "0", 2).to_bytes(size, "big")


class H2Client:
    """One HTTP/2 connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.h2 = H2Connection()
        self.h2.encoder.huffman_coder = HuffmanEncoder()
        self.h2.initiate_connection()
        self.events: list[Any] = []
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def request(self, method: str = "GET", path: str = "/", *, end: bool = True, more: Any = ()) -> int:
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "gateway.test"), *more]
        self.h2.send_headers(stream, head, end_stream=end)
        self.flush()
        return int(stream)

    async def upload(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """Send a body, as far as windows allow and the server wants it."""
        while data and not any(getattr(event, "stream_id", 0) == stream for event in self.ended()):
            size = min(len(data), self.h2.local_flow_control_window(stream), 16384)
            if size == 0:
                await self.read()
                continue
            self.h2.send_data(stream, data[:size])
            data = data[size:]
            self.flush()
        if end and not data:
            self.h2.end_stream(stream)
            self.flush()

    def ended(self) -> list[Any]:
        return [event for event in self.events if isinstance(event, StreamEnded | StreamReset)]

    async def read(self) -> None:
        async with asyncio.timeout(10):
            data = await self.reader.read(65536)
        if not data:
            raise ConnectionResetError
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()

    async def until(self, kind: Any, stream: int | None = None) -> Any:
        """The next event of that kind, on that stream if it is one of a stream; earlier ones are forgotten."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and (stream is None or event.stream_id == stream):
                    self.events.remove(event)
                    return event
            await self.read()

    async def reply(self, stream: int) -> tuple[int, bytes]:
        head = await self.until(ResponseReceived, stream)
        await self.until(StreamEnded, stream)
        body = b"".join(e.data for e in self.events if isinstance(e, DataReceived) and e.stream_id == stream)
        return int(dict(head.headers)[b":status"]), body


@pytest.fixture
async def connect_h2() -> AsyncIterator[Connecting]:
    clients: list[H2Client] = []

    async def to(running: Running) -> H2Client:
        clients.append(H2Client(*await asyncio.open_connection("127.0.0.1", running.port)))
        return clients[-1]

    yield to
    for client in clients:
        client.writer.close()
        with contextlib.suppress(OSError):
            await client.writer.wait_closed()
