"""Scripted upstreams on loopback. Every test of this folder runs on asyncio's event loop and on uvloop; those that use
`ask` run in a task, and driven without one."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme
import uvloop

from agentgateway._host import suspension
from agentgateway._host.transport import Origin, PoolLimits, TlsSettings, Transport, UpstreamResponse, encode_head


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Peer:
    """The server's end of one accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()

    async def request(self) -> bytes:
        """Read one whole request, head and body; chunked bodies come as they are on the wire."""
        head = await self.head()
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            return head + await self.reader.readuntil(b"0\r\n\r\n")
        if b"content-length: " in lowered:
            length = int(lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await self.reader.readexactly(length)
        return head

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, *parts: bytes) -> None:
        """Send each part on its own, so that it arrives on its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0.005)

    async def answer(self, body: bytes = b"ok", *, status: str = "200 OK", headers: str = "") -> None:
        await self.send(f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)

    async def closed(self) -> None:
        """Wait until the client has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A listening server: the first connection runs the first script, and so on; the last one serves all others."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.server: asyncio.Server | None = None
        self.origin = Origin("127.0.0.1", 1)

    @property
    def accepted(self) -> int:
        return len(self.peers)

    async def start(self, **options: object) -> None:
        tls = options.get("ssl") is not None
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
        port = self.server.sockets[0].getsockname()[1]
        self.origin = Origin("127.0.0.1", port, TlsSettings() if tls else None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        script = self.scripts[min(len(self.peers), len(self.scripts)) - 1]
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left: normal
        except RuntimeError as error:
            if "closed" not in str(error):  # uvloop's word for a client that left
                self.errors.append(error)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            writer.close()
            peer.gone.set()

    async def aclose(self) -> None:
        if self.server is not None:
            self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        if self.server is not None:
            await self.server.wait_closed()
        await asyncio.sleep(0)
        assert not self.errors, self.errors


UpstreamFactory = Callable[..., Awaitable[Upstream]]


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[UpstreamFactory]:
    running: list[Upstream] = []

    async def start(*scripts: Script, **options: object) -> Upstream:
        server = Upstream(*scripts)
        running.append(server)
        await server.start(**options)
        return server

    yield start
    for server in running:
        await server.aclose()


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[Callable[..., Transport]]:
    """Makes transports; closes them, and then nothing may be left of them."""
    made: list[Transport] = []

    def make(**limits: object) -> Transport:
        made.append(Transport(PoolLimits(**limits)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        await asyncio.wait_for(each.aclose(), 5)
        assert all(pool.empty for pool in each._pools.values()), each.stats()


class Driven:
    """Runs a coroutine without a task, from the callbacks that wake it: the least driver there can be."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.running = False
        self._coroutine = coroutine
        self._step()

    def resume(self) -> None:
        self._step()

    def cancel(self) -> None:
        if not self.outcome.done():
            self._step(asyncio.CancelledError())

    def _step(self, thrown: BaseException | None = None) -> None:
        assert not self.running, "a running coroutine was entered again"
        self.running = True
        before, suspension.present = suspension.present, self
        try:
            yielded = self._coroutine.send(None) if thrown is None else self._coroutine.throw(thrown)
            assert yielded is suspension.PARK
        except StopIteration as end:
            self.outcome.set_result(end.value)
        except asyncio.CancelledError:
            self.outcome.cancel()
        except BaseException as error:
            self.outcome.set_exception(error)
        finally:
            suspension.present = before
            self.running = False


async def by_driver(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The coroutine's result; cancelling the wait cancels it."""
    driven = Driven(coroutine)
    try:
        return await asyncio.shield(driven.outcome)
    except asyncio.CancelledError:
        driven.cancel()
        raise


async def by_task(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


@pytest.fixture
def drive() -> type[Driven]:
    return Driven


@pytest.fixture(params=[by_task, by_driver])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]:
    """Runs a coroutine in the test's task, or driven without one."""
    runner: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]] = request.param
    return runner


@pytest.fixture
def ask(run: Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]) -> Callable[..., Awaitable[UpstreamResponse]]:
    """Sends a request with the least a test has to say."""

    async def send(
        transport: Transport,
        origin: Origin,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        method: str = "POST",
        target: str = "/",
        length: int | None = None,
        head_timeout: float | None = 5,
        **rest: object,
    ) -> UpstreamResponse:
        whole = body is None or isinstance(body, bytes)
        if isinstance(body, bytes):
            length = len(body)
        head = encode_head(
            method, target, origin.authority, (), content_length=length, chunked=not whole and length is None
        )
        sending = transport.send(
            origin,
            head,
            body,
            method=method.encode(),
            head_timeout=head_timeout,
            **rest,  # type: ignore[arg-type]
        )
        response: UpstreamResponse = await run(sending)
        return response

    return send


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits until a condition holds."""

    async def wait(condition: Callable[[], bool]) -> None:
        for _ in range(2500):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError("it did not happen")

    return wait


@pytest.fixture
def settled() -> Callable[[Callable[[], int]], Awaitable[int]]:
    """Waits until a number no longer changes, and returns it."""

    async def wait(read: Callable[[], int]) -> int:
        last = read()
        for _ in range(100):
            await asyncio.sleep(0.15)
            now = read()
            if now == last:
                break
            last = now
        return last

    return wait


@pytest.fixture
def server_tls() -> Callable[..., ssl.SSLContext]:
    def make(authority: trustme.CA, *names: str, client_authority: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        if client_authority is not None:
            client_authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    return make


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def root(authority: trustme.CA, tmp_path: Path) -> str:
    """A file with the authority's certificate."""
    path = tmp_path / "root.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
