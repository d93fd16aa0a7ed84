"""A document behind a URL: fetched when the gateway starts, and tried again until it is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgateway.fetching import NotFetched, fetch
from agentgateway_mcp_openapi.document import DocumentError

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("agentgateway.mcp.openapi")

MAX_BYTES = 16 * 1024 * 1024
ACCEPT = "application/json, application/yaml;q=0.9, */*;q=0.5"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    retry: float = 15.0
    fetch: float = 10.0
    start: float = 10.0
    """How long a start waits for the document."""


class RemoteDocument:
    """Fetches one document and hands it over, once."""

    def __init__(self, url: str, put: Callable[[str], Awaitable[None]], name: str, pace: Pace) -> None:
        self._url, self._put, self._name, self._pace = url, put, name, pace
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, client: httpx.AsyncClient) -> None:
        self._task = asyncio.create_task(self._until_read(client), name=f"document of {self._name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.start):
                await self._tried.wait()

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _until_read(self, client: httpx.AsyncClient) -> None:
        while not await self._attempt(client):
            self._tried.set()
            await asyncio.sleep(self._pace.retry)
        self._tried.set()

    async def _attempt(self, client: httpx.AsyncClient) -> bool:
        try:
            await self._put(await self._fetch(client))
        except Exception as error:  # a transport may raise anything, and this task must outlive it
            told = isinstance(error, DocumentError | NotFetched)  # others may quote the URL
            said = str(error) if told else type(error).__name__
            logger.warning("cannot use the OpenAPI document of %s: %s", self._name, said)
            return False
        return True

    async def _fetch(self, client: httpx.AsyncClient) -> str:
        raw = await fetch(client, self._url, accept=ACCEPT, limit=MAX_BYTES, seconds=self._pace.fetch)
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DocumentError("not UTF-8 text") from None
