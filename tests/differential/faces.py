"""Both faces of one configuration in one process: the edge and the ASGI twin, each in front of a recording upstream.

Clients and upstreams are unix sockets of this process. What is written to one of those can be read at once, so "nothing
is left to do" is a fact of the event loop and no matter of waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agentgateway._host.asgi import DataPlane
from agentgateway._host.load import parse
from agentgateway._host.port import Port, ended
from agentgateway._host.runtime import Runtime
from agentgateway._host.static_config import StaticConfig
from agentgateway._host.traffic import Traffic

CONFIG = """
gateways: {{default: {{port: 0}}}}
frontendPolicies:
  http: {{http1MaxHeadSize: 4096, http1MaxHeaders: 20, maxBufferSize: 4096}}
  accessLog: {{filter: "false"}}
routes:
  - matches: [{{path: {{pathPrefix: /a}}}}]
    backends: [{{host: "unix:{upstream}"}}]
llm:
  gateways: default
  models: [{{name: m, provider: simulator}}]
"""
IDLE_LOOKS = 3
"""How often in a row a loop must have nothing to do. Its own wake-ups may be one look late."""


class Forwarded(NamedTuple):
    """A request as the upstream got it: fields in no order, body without its framing."""

    method: bytes
    target: bytes
    fields: frozenset[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True)
class Fate:
    """What became of the bytes of one connection: the final statuses on it, the requests that went on, and whether
    another request may follow."""

    statuses: tuple[int, ...]
    forwarded: tuple[Forwarded, ...]
    closed: bool

    @property
    def refused(self) -> bool:
        """Whether it ended with a refusal of the gateway's own."""
        return self.closed and bool(self.statuses) and self.statuses[-1] >= 400


@dataclass
class Recorder:
    """Upstreams' side: every whole request that arrives, each answered with 200."""

    received: list[Forwarded] = field(default_factory=list)

    def connection(self) -> Recording:
        return Recording(self)


class Recording(asyncio.Protocol):
    """One connection to the upstream. It takes what the gateway writes, and nothing else."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (whole := whole_request(self._data)) is not None:
            request, self._data = whole
            self._recorder.received.append(request)
            body = b"" if request.method == b"HEAD" else b"ok"
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + body)


def whole_request(data: bytes) -> tuple[Forwarded, bytes] | None:
    """The first request in the bytes, and what follows it; None as long as it is not complete."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.split(b"\r\n")
    method, target, version = first.split(b" ")
    assert version == b"HTTP/1.1"
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    length = dict(fields).get(b"content-length", b"0")
    if (b"transfer-encoding", b"chunked") in fields:
        chunked = re.match(rb"(?:([0-9a-f]+)\r\n)", rest)
        body = b""
        while chunked is not None:
            size, rest = int(chunked[1], 16), rest[chunked.end() :]
            if len(rest) < size + 2:
                return None
            assert rest[size : size + 2] == b"\r\n"
            body, rest = body + rest[:size], rest[size + 2 :]
            if size == 0:
                return Forwarded(method, target, frozenset(fields), body), rest
            chunked = re.match(rb"(?:([0-9a-f]+)\r\n)", rest)
        return None
    if len(rest) < int(length):
        return None
    return Forwarded(method, target, frozenset(fields), rest[: int(length)]), rest[int(length) :]


class Face:
    """One of the two: a port without a listening socket, which is given its connections."""

    def __init__(self, name: str, folder: Path) -> None:
        self.recorder = Recorder()
        self._path = folder / name
        document = parse(CONFIG.format(upstream=self._path), environ={})
        self._runtime = Runtime(None, document, {}, StaticConfig())
        self._name = name

    async def start(self) -> None:
        loop, runtime = asyncio.get_running_loop(), self._runtime
        self._upstream = await loop.create_unix_server(self.recorder.connection, self._path)
        await runtime.start()
        (number,) = runtime.gateway.binds
        self._port = Port(
            socket.socket(),
            DataPlane(runtime).app(number),
            lambda: runtime.gateway.http,
            Traffic(),
            runtime=runtime if self._name == "edge" else None,
            number=number,
        )

    async def stop(self) -> None:
        await self._port.retire()
        if not await ended([self._port], 1):  # Hypercorn may lose one: CONNECT with `upgrade: h2c` waits for ever
            assert not self._port._edges
            self._port.cut()
            self._port.cancel()
            assert await ended([self._port], 6)
        assert self._runtime.gateway.active == 0
        self._port.socket.close()
        await self._runtime.stop()
        self._upstream.close()

    async def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        await self._port._serve(theirs)
        return ours


class Faces:
    """Both, on a loop of their own. `fates` is what each makes of the same bytes."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self._faces = (Face("edge", folder), Face("twin", folder))
        for face in self._faces:
            self.loop.run_until_complete(face.start())

    def close(self) -> None:
        for face in self._faces:
            self.loop.run_until_complete(face.stop())
        self.loop.run_until_complete(self._settled())
        self.loop.close()

    def fates(self, pieces: Sequence[bytes]) -> tuple[Fate, Fate]:
        """What the edge and the twin make of bytes that come in these pieces."""
        return self.loop.run_until_complete(self._fates(pieces))

    async def _fates(self, pieces: Sequence[bytes]) -> tuple[Fate, Fate]:
        clients = [Client(await face.connect()) for face in self._faces]
        for face in self._faces:
            face.recorder.received.clear()
        await self._settled()
        for piece in pieces:
            for client in clients:
                client.send(piece)
            await self._settled()
        edge, twin = (client.fate(face) for client, face in zip(clients, self._faces, strict=True))
        for client in clients:
            client.socket.close()
        await self._settled()
        return edge, twin

    async def _settled(self) -> None:
        """Until neither callbacks nor sockets want anything of the loop; timers are far away."""
        loop, looks = self.loop, 0
        while looks < IDLE_LOOKS:
            await asyncio.sleep(0)
            looks = 0 if loop._ready or loop._selector.select(0) else looks + 1  # type: ignore[attr-defined]


class Client:
    """A client's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._got = b""
        self._over = False

    def send(self, data: bytes) -> None:
        """As much as is taken: a gateway that reads no more has made up its mind."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.socket.send(data)
        self._read()

    def _read(self) -> None:
        try:
            while not self._over and (data := self.socket.recv(1 << 20)) is not None:
                self._got += data
                self._over = not data
        except BlockingIOError:
            pass
        except ConnectionError:
            self._over = True

    def fate(self, face: Face) -> Fate:
        self._read()
        statuses = tuple(int(found) for found in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", self._got))
        last_head = self._got[self._got.rfind(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")[0]
        return Fate(
            statuses, tuple(face.recorder.received), self._over or b"\r\nconnection: close" in last_head.lower()
        )
