"""Documents fetched in the background, from a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from agentgateway.fetching import NotFetched, fetch


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """`/N` answers with N bytes, `/asked` with what it was asked, `/never` with nothing, and all else is a 404."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode().removeprefix("/")
        if path == "never":
            await reader.read()
        elif path.isdigit() or path == "asked":
            body = b"x" * int(path) if path.isdigit() else head
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + body)
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://user:canary@127.0.0.1:{port}"


async def test_a_document_is_fetched_up_to_its_limit(url):
    async with httpx.AsyncClient() as client:
        assert await fetch(client, f"{url}/1000", accept="*/*", limit=1000, seconds=5) == b"x" * 1000
        with pytest.raises(NotFetched, match=r"^more than 1000 bytes$"):
            await fetch(client, f"{url}/1001", accept="*/*", limit=1000, seconds=5)


async def test_it_is_asked_for_as_it_is(url):
    async with httpx.AsyncClient() as client:
        asked = await fetch(client, f"{url}/asked", accept="application/json", limit=10_000, seconds=5)
        assert b"accept: application/json\r\n" in asked.lower()
        assert b"accept-encoding: identity\r\n" in asked.lower()


async def test_what_is_not_there_is_told_without_its_address(url):
    async with httpx.AsyncClient() as client:
        with pytest.raises(NotFetched, match=r"^status 404$"):
            await fetch(client, f"{url}/missing", accept="*/*", limit=10, seconds=5)
        with pytest.raises(TimeoutError):
            await fetch(client, f"{url}/never", accept="*/*", limit=10, seconds=0.05)
