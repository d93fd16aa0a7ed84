"""The upstream's end of a WebSocket: the handshake, and messages over a connection of its own (RFC 6455, by wsproto).

Compression is not offered: what is relayed is sound in base64 and short texts, and a message's size is bounded before
it is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from agentgateway.errors import UpstreamError, UpstreamTimeout
from agentgateway.exchange import HOP_BY_HOP, Headers, Outgoing, Reply
from agentgateway.sockets import LOST, NO_CODE, Duplex, Message, SocketClosed

if TYPE_CHECKING:
    from agentgateway._host.transport import Transport
    from agentgateway.endpoints import Origin

CHUNK = 64 * 1024
GOODBYE_SECONDS = 1.0
"""How long an upstream may take to answer a close."""
NOT_SENT = HOP_BY_HOP | {b"host", b"content-length", b"content-type", b"accept-encoding"}
HANDSHAKE = b"sec-websocket-"


async def open_socket(transport: Transport, origin: Origin, out: Outgoing, offered: Sequence[str], limit: int) -> Reply:
    """Ask for a WebSocket: a 101 whose body is its other end, or the upstream's refusal. `limit` bounds a message, and
    a refusal's body, in bytes. Raises `ConnectFailed`, `UpstreamTimeout`, `UpstreamError`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(CHUNK, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    made: list[asyncio.Transport] = []
    await transport.connect(origin, lambda: _Keeping(protocol, made), out.connect_timeout)
    writer = asyncio.StreamWriter(made[0], protocol, reader, loop)
    socket = UpstreamSocket(reader, writer, limit)
    try:
        async with asyncio.timeout(out.head_timeout):
            return await socket.shake_hands(out, out.authority or origin.authority, offered)
    except TimeoutError:
        await socket.aclose()
        raise UpstreamTimeout(detail=f"{origin.label}: no answer to the upgrade") from None
    except BaseException:
        await socket.aclose()
        raise


class _Keeping(asyncio.Protocol):
    """Hands a connection on to another protocol and keeps its transport."""

    def __init__(self, protocol: asyncio.StreamReaderProtocol, made: list[asyncio.Transport]) -> None:
        self._protocol = protocol
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(transport)  # type: ignore[arg-type]  # uvloop's is no subclass
        transport.set_protocol(self._protocol)
        self._protocol.connection_made(transport)


class UpstreamSocket(Duplex):
    """One that is open as soon as `shake_hands` has returned a 101."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self._parts: list[str | bytes] = []
        self._size = 0
        self._closing = False

    async def shake_hands(self, out: Outgoing, authority: str, offered: Sequence[str]) -> Reply:
        kept = out.headers.end_to_end(NOT_SENT).raw
        extra = [field for field in kept if not field[0].startswith(HANDSHAKE)]
        request = Request(authority, out.target, extra_headers=extra, subprotocols=list(offered))
        try:
            self._writer.write(self._ws.send(request))
            await self._writer.drain()
            answer = await self._next()
        except (SocketClosed, RemoteProtocolError, OSError) as error:
            raise UpstreamError(detail=f"the upgrade: {type(error).__name__}") from error
        if isinstance(answer, AcceptConnection):
            self.subprotocol = answer.subprotocol
            return Reply(101, Headers(list(answer.extra_headers)), self, upstream=True)
        if isinstance(answer, RejectConnection):
            return await self._refused(answer)
        raise UpstreamError(detail=f"the upgrade: {type(answer).__name__}")

    async def _refused(self, answer: RejectConnection) -> Reply:
        if answer.status_code < 300:
            raise UpstreamError(detail=f"the upstream answered an upgrade with {answer.status_code}")
        body, more = b"", answer.has_body
        while more:
            try:
                event = await self._next()
            except (SocketClosed, RemoteProtocolError):
                break
            assert isinstance(event, RejectData)
            body, more = body + event.data, not event.body_finished
            if len(body) > self._limit:
                raise UpstreamError("the upstream's reply is too large", detail=f"over {self._limit} bytes")
        await self.aclose()
        headers = Headers(list(answer.headers)).end_to_end()
        headers.remove("content-length")
        return Reply(answer.status_code, headers, body, upstream=True)

    async def _next(self) -> Event:
        """The next event of the protocol. Raises `SocketClosed` when the connection ends, `RemoteProtocolError`."""
        while not self._events:
            try:
                data = await self._reader.read(CHUNK)
            except OSError:
                data = b""
            if not data:
                raise SocketClosed(LOST)
            self._ws.receive_data(data)
            self._events = list(self._ws.events())[::-1]
        return self._events.pop()

    # --- messages ----------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        while True:
            event = await self._next()
            if isinstance(event, TextMessage | BytesMessage):
                self._take(event.data)
                if event.message_finished:
                    parts, self._parts, self._size = self._parts, [], 0
                    return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)  # type: ignore[arg-type]
            elif isinstance(event, Ping):
                await self._write(event.response())
            elif isinstance(event, CloseConnection):
                code = NO_CODE if event.code is None else int(event.code)
                with suppress(SocketClosed):
                    await self._write(event.response())
                raise SocketClosed(code, event.reason or "")

    def _take(self, data: str | bytes | bytearray) -> None:
        """Keep a piece of a message. Raises `UpstreamError` for one that is too long."""
        self._parts.append(data if isinstance(data, str) else bytes(data))
        self._size += len(data)
        if self._size > self._limit:
            raise UpstreamError("the upstream sent a message that is too long", detail=f"over {self._limit} bytes")

    async def send(self, message: Message) -> None:
        await self._write(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    async def ping(self) -> None:
        await self._write(Ping())

    async def _write(self, event: Event) -> None:
        try:
            self._writer.write(self._ws.send(event))
            await self._writer.drain()
        except (OSError, LocalProtocolError) as error:
            raise SocketClosed(LOST) from error

    # --- the end -----------------------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye, and wait a moment for the answer: one that was still sending would else see a reset."""
        with suppress(SocketClosed, RemoteProtocolError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._write(CloseConnection(code, cut(reason) or None))
                while not isinstance(await self._next(), CloseConnection):
                    pass
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, with whatever is left to write."""
        if self._closing:
            return
        self._closing = True
        transport = self._writer.transport
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()


def cut(reason: str) -> str:
    """At most 123 bytes of it (RFC 6455 section 5.5)."""
    return reason.encode()[:123].decode("utf-8", "ignore")
