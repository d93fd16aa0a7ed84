"""A document behind a URL, for what keeps one up to date in the background."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


class NotFetched(ValueError):
    """The document is not to be had; the message names no URL."""


async def fetch(client: httpx.AsyncClient, url: str, *, accept: str, limit: int, seconds: float) -> bytes:
    """What a GET answers with status 200: at most `limit` bytes, within `seconds`. It is asked for uncompressed, so
    that `limit` is what is held.

    Raises `NotFetched`, `TimeoutError`, and what the client raises, whose message may quote the URL.
    """
    body = bytearray()
    headers = {"accept": accept, "accept-encoding": "identity"}
    async with asyncio.timeout(seconds), client.stream("GET", url, headers=headers) as response:
        if response.status_code != 200:
            raise NotFetched(f"status {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                raise NotFetched(f"more than {limit} bytes")
    return bytes(body)
