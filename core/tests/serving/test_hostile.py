"""Bytes that no decent client sends. Each connection gets its answer or its end; the process serves on and says nothing
of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random

import pytest
from h2.errors import ErrorCodes

from agentgateway.exchange import Exchange, Reply

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


HOSTILE = [
    b"\x00" * 1000,
    b"\r\n" * 5000,
    b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello!!\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\nx",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\nhost: \r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: !!!\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n",
    PREFACE,
    PREFACE + b"\x00" * 500,
    PREFACE + SETTINGS + frame(1, 4, 1, b"\xff" * 50),
    PREFACE + SETTINGS + frame(1, 4, 2, b"\x82\x84\x86"),
    PREFACE + SETTINGS + frame(0, 0, 1, b"data for nobody"),
    PREFACE + SETTINGS + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
    PREFACE + SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x84") * 200,
    PREFACE + SETTINGS + frame(6, 0, 0, b"12345678") * 1000,
    PREFACE + SETTINGS + frame(2, 0, 1, b"\x00\x00\x00\x01\xff"),  # depends on itself
    PREFACE + SETTINGS + frame(1, 5, 1, b"\x82\x86\x41\x01x\x04\x03/\xff\xfe"),  # :path with 8-bit characters
    PREFACE + SETTINGS + frame(1, 5, 1, b"\x82\x86\x41\x01x\x04\x03/ \n"),
    PREFACE + SETTINGS + frame(1, 5, 1, b"\x82\x84\x86"),  # no authority
    PREFACE + SETTINGS + frame(1, 5, 1, b"\x84\x86\x41\x01x"),  # no method
    PREFACE + SETTINGS + frame(1, 5, 1, b"\x02\x07CONNECT\x41\x01x"),
]


async def hello(exchange: Exchange) -> Reply:
    await exchange.request.body.read(1000)
    return Reply.text(200, "hello")


async def served(running, connect) -> None:
    client = await connect(running)
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.reply())[2] == b"hello"


@pytest.mark.parametrize("data", HOSTILE)
async def test_hostile_bytes_end_one_connection_at_most(serving, connect, caplog, data):
    limits = {"http1HeaderTimeout": "200ms", "http1IdleTimeout": "200ms", "bodyTimeout": "200ms"}
    running = await serving(hello, http=limits)
    client = await connect(running)
    with contextlib.suppress(ConnectionError):
        await client.send(data)
        async with asyncio.timeout(5):
            await client.reader.read()
    await client.close()  # else the gateway, having told it why, waits for that
    await served(running, connect)
    await running.stop()
    assert running.runtime.gateway.active == 0
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("seed", range(4))
async def test_damaged_requests_end_one_connection_at_most(serving, connect, caplog, seed):
    chance = random.Random(seed)
    running = await serving(hello, http={"http1HeaderTimeout": "100ms", "bodyTimeout": "100ms"})
    good = [
        b"POST /a?b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        PREFACE + SETTINGS + frame(1, 4, 1, b"\x83\x84\x86\x41\x01x") + frame(0, 1, 1, b"hello"),
    ]

    async def damage() -> None:
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        client = await connect(running)
        with contextlib.suppress(ConnectionError, TimeoutError):
            await client.send(bytes(data[: chance.randint(1, len(data))] if chance.random() < 0.2 else data))
            async with asyncio.timeout(0.3):
                await client.reader.read()
        await client.close()

    await asyncio.gather(*(damage() for _ in range(60)))
    await served(running, connect)
    await running.stop()
    assert running.runtime.gateway.active == 0
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_an_upgrade_to_http_2_in_plain_text_is_served(serving, connect):
    running = await serving(hello)
    client = await connect(running)
    settings = base64.urlsafe_b64encode(b"\x00\x03\x00\x00\x00\x64").rstrip(b"=")
    await client.send(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: "
        + settings
        + b"\r\n\r\n"
        + PREFACE
        + SETTINGS
    )
    received = b""
    async with asyncio.timeout(5):
        while b"hello" not in received:
            received += await client.reader.read(65536)
    assert received.startswith(b"HTTP/1.1 101")


async def test_many_streams_opened_and_reset_leave_nothing_behind(serving, connect, connect_h2):
    async def answer(exchange: Exchange) -> Reply:
        await asyncio.sleep(0.05 if exchange.request.path == "/reset" else 0)
        return Reply.text(200, "hello")

    running = await serving(answer)
    client = await connect_h2(running)
    for _ in range(300):
        stream = client.request(path="/reset")
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.flush()
        await asyncio.sleep(0)
    assert await client.reply(client.request()) == (200, b"hello")
    for _ in range(300):
        assert (await running.hooks.next_logged()).request.path in ("/reset", "/")
    await served(running, connect)
    await asyncio.sleep(0.1)
    assert running.runtime.gateway.active == 0
