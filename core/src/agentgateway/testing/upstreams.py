"""Upstreams on loopback: raw sockets that record what they get and answer what a test scripted, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

Chunks = AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it stood on the wire, head names lower-cased."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return from_json(self.body)


Answer = bytes | list[bytes] | Callable[[Received], "bytes | Chunks"]


def reply(status: int, document: Any, *, headers: dict[str, str] | None = None) -> bytes:
    """A whole JSON reply as bytes."""
    body = document if isinstance(document, bytes) else to_json(document)
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def stream_head(content_type: str = "text/event-stream") -> bytes:
    """The head of a chunked stream; follow it with `chunk`s and `LAST`."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = b"0\r\n\r\n"


@dataclass
class Upstream:
    """A server on 127.0.0.1. `answer` is bytes, pieces to be sent apart, or a function of the request.

    After `async with`, `url` is its address, `received` the requests, `connections` how many were accepted,
    `gone` is set when a client leaves while an answer is being written.
    """

    answer: Answer
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _server: asyncio.Server | None = None
    _open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open.values():
            writer.close()
        if self._open:
            await asyncio.wait(self._open, timeout=2)

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            while (request := await _read(reader)) is not None:
                self.received.append(request)
                await self._write(writer, request)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            del self._open[task]
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _write(self, writer: asyncio.StreamWriter, request: Received) -> None:
        answer = self.answer(request) if callable(self.answer) else self.answer
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
            return
        pieces = answer if not isinstance(answer, list) else _each(answer)
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


async def _each(pieces: list[bytes]) -> Chunks:
    for piece in pieces:
        yield piece


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        return Received(method, target, headers, await _read_chunks(reader))
    return Received(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body
