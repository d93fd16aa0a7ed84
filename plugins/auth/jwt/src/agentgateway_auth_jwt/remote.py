"""Keys behind a URL: fetched by one task, again every quarter of an hour, and sooner when a new key shows up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgateway.fetching import NotFetched, fetch
from agentgateway_auth_jwt.keys import Keys, read_keys

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("agentgateway.jwt")

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to fetch, in seconds (the reference's section 1)."""

    fresh: float = 900.0
    """After a success."""
    retry: float = 15.0
    """After a failure."""
    floor: float = 60.0
    """At least this long after a success, however many unknown keys are asked for."""
    fetch: float = 10.0
    """How long a fetch may take."""
    start: float = 5.0
    """How long a start waits for the first fetch."""


class RemoteKeys:
    """Keeps one key set up to date. `put` gets each set that differs from the last; a failure leaves the last one."""

    def __init__(self, url: str, put: Callable[[Keys], None], *, name: str, pace: Pace) -> None:
        self._url = url
        self._put = put
        self._name = name
        self._pace = pace
        self._text = ""
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> bool:
        """Whether there ever was a key set."""
        return bool(self._text)

    def want(self) -> None:
        """Fetch again as soon as the pace allows: somebody showed a key that is not in the set."""
        self._wanted.set()

    async def start(self, client: httpx.AsyncClient) -> None:
        """Begin fetching, and give the first fetch a moment."""
        self._task = asyncio.create_task(self._keep_up(client), name=f"keys of {self._name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.start):
                await self._tried.wait()

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _keep_up(self, client: httpx.AsyncClient) -> None:
        while True:
            self._wanted.clear()
            good = await self._refresh(client)
            self._tried.set()
            await asyncio.sleep(self._pace.floor if good else self._pace.retry)
            if good:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.fresh - self._pace.floor):
                        await self._wanted.wait()

    async def _refresh(self, client: httpx.AsyncClient) -> bool:
        try:
            pace = self._pace
            raw = await fetch(client, self._url, accept="application/json", limit=MAX_BYTES, seconds=pace.fetch)
            text = raw.decode()
            if text != self._text:
                self._put(read_keys(text))
                self._text = text
        except Exception as error:  # a transport may raise anything, and this task must outlive it
            told = type(error) in (NotFetched, ValueError)  # others may quote the URL
            said = str(error) if told else type(error).__name__
            logger.warning("cannot fetch the keys of %s: %s", self._name, said)
            return False
        return True
