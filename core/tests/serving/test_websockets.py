"""WebSockets as clients of the faces see them: frames, ends, and the exchange that is logged behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from h2.events import DataReceived, ResponseReceived
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from agentgateway.errors import Forbidden
from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.sockets import Duplex, Message, SocketClosed

HANDSHAKE = (
    b"GET /ws?a=b HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


class Echo(Duplex):
    """Says again what it is told; `bye` ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Message] = asyncio.Queue(1)
        self.closed: list[tuple[int, str]] = []
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        message = await self.queue.get()
        if message == "bye":
            raise SocketClosed(4002, "bye")
        return message

    async def send(self, message: Message) -> None:
        await self.queue.put(message)

    async def close(self, code: int, reason: str = "") -> None:
        self.closed.append((code, reason))

    async def aclose(self) -> None:
        self.gone.set()


@pytest.fixture
def echoes() -> list[Echo]:
    return []


@pytest.fixture
def answer(echoes: list[Echo]) -> Any:
    async def upgraded(exchange: Exchange) -> Reply:
        assert exchange.request.upgrade
        assert not any(name.startswith("sec-websocket") for name, _ in exchange.request.headers)
        echoes.append(Echo())
        return Reply(101, Headers.of({"x-more": "yes"}), echoes[-1], upstream=True)

    return upgraded


def address(running: Any) -> str:
    return f"ws://127.0.0.1:{running.port}/ws?a=b"


async def test_messages_pass_and_the_exchange_is_logged_at_the_end(serving, answer, echoes):
    running = await serving(answer)
    async with connect_socket(address(running)) as socket:
        assert socket.response.headers["x-more"] == "yes"
        for message in ("text ä", b"\x00\xff", "", b""):
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())
        await socket.close(4001, "enough")
    logged = await running.hooks.next_logged()
    assert (logged.status, logged.finished, logged.error, logged.sent_bytes) == (101, True, None, 9)
    assert (logged.request.method, logged.request.target, logged.request.scheme) == ("GET", "/ws?a=b", "http")
    assert echoes[0].closed == [(4001, "enough")] and echoes[0].gone.is_set()


async def test_the_other_end_closes_with_its_code(serving, answer):
    async with connect_socket(address(await serving(answer))) as socket:
        await socket.send("bye")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4002, "bye")


async def test_a_client_that_is_gone_is_a_disconnect(serving, answer, echoes):
    running = await serving(answer)
    async with connect_socket(address(running)) as socket:
        await socket.send("x")
        await socket.recv()
        socket.transport.abort()
        logged = await running.hooks.next_logged()
    assert logged.error.reason == "ClientDisconnected" and echoes[0].closed == [(1001, "")]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007),  # no UTF-8
        (b"\x80\x80\x00\x00\x00\x00", 1002),  # the rest of nothing
        (b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + bytes(126), 1002),  # a long ping
        (b"\x88\x82\x00\x00\x00\x00\x03\xed", 1002),  # a close with a code that is never sent
    ],
)
async def test_what_is_no_frame_ends_it(serving, connect, answer, echoes, frames, code):
    running = await serving(answer)
    client = await connect(running)
    await client.send(HANDSHAKE)
    async with asyncio.timeout(5):
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(frames)
        said = await client.reader.read()
    assert said[:1] == b"\x88" and int.from_bytes(said[2:4], "big") == code
    assert (await running.hooks.next_logged()).status == 101
    assert echoes[0].gone.is_set()


async def test_a_refusal_is_an_ordinary_reply(serving):
    async def refuse(exchange: Exchange) -> Reply:
        raise Forbidden

    running = await serving(refuse)
    with pytest.raises(InvalidStatus) as refused:
        async with connect_socket(address(running)):
            pass
    assert refused.value.response.status_code == 403
    assert (await running.hooks.next_logged()).error.reason == "Authorization"


async def test_a_bad_head_is_refused_like_any_other(serving, connect):
    running = await serving(Exception)
    client = await connect(running)
    await client.send(HANDSHAKE.replace(b"/ws", b"/../ws"))
    assert (await client.reply())[0] == 400


async def test_http_2_carries_them_too(serving, connect_h2, answer, echoes):
    running = await serving(answer)
    client = await connect_h2(running)
    await client.read()
    stream = client.h2.get_next_available_stream_id()
    head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws")]
    more = [(":authority", "x"), ("sec-websocket-version", "13")]
    client.h2.send_headers(stream, [*head, *more])
    client.flush()
    answered = await client.until(ResponseReceived, stream)
    assert dict(answered.headers)[b":status"] == b"200"
    frames = Connection(ConnectionType.CLIENT)
    client.h2.send_data(stream, frames.send(TextMessage("hello")))
    client.flush()
    frames.receive_data((await client.until(DataReceived, stream)).data)
    assert [event.data for event in frames.events() if isinstance(event, TextMessage)] == ["hello"]
    client.h2.send_data(stream, frames.send(CloseConnection(4003)))
    client.flush()
    logged = await running.hooks.next_logged()
    assert (logged.request.version, logged.error) == ("HTTP/2", None)
    assert echoes[0].closed == [(4003, "")]
