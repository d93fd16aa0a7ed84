"""Tokens towards upstreams, and how they stay fresh: for credentials that log in somewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

SOON = 300.0
"""Seconds before its end at which a token is fetched anew while the old one still serves."""
LATE = 30.0
"""Seconds before its end at which nobody is shown it any more."""
PAUSE = 30.0
"""Seconds between two attempts to be early."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a request shows; `ends` in seconds of the epoch."""

    value: str = field(repr=False)
    ends: float


AnyToken = TypeVar("AnyToken", bound=Token)


class Fresh(Generic[AnyToken]):
    """A token that is obtained when it is needed, once for all who wait, and again `soon` seconds ahead of its end.

    `obtain` may raise; who waits gets its error, and the next to ask tries again.
    """

    def __init__(
        self,
        obtain: Callable[[], Awaitable[AnyToken]],
        clock: Callable[[], float] = time.time,
        *,
        soon: float = SOON,
    ) -> None:
        self._obtain = obtain
        self._clock = clock
        self._soon = soon
        self._token: AnyToken | None = None
        self._under_way: asyncio.Task[AnyToken] | None = None
        self._tried = 0.0

    async def token(self) -> AnyToken:
        token, now = self._token, self._clock()
        if token is None or token.ends - now <= LATE:
            return await asyncio.shield(self._refresh())
        if token.ends - now <= self._soon and now - self._tried >= PAUSE:
            self._refresh()
        return token

    def _refresh(self) -> asyncio.Task[AnyToken]:
        if self._under_way is None or self._under_way.done():
            self._tried = self._clock()
            self._under_way = asyncio.create_task(self._fetch())
            self._under_way.add_done_callback(told)
        return self._under_way

    async def _fetch(self) -> AnyToken:
        self._token = await self._obtain()
        return self._token

    async def stop(self) -> None:
        if self._under_way is not None and not self._under_way.done():
            self._under_way.cancel()
            await asyncio.wait([self._under_way])


def told(task: asyncio.Task[AnyToken]) -> None:
    """A refresh that failed ahead of time is nobody's error: the next one may do better."""
    if not task.cancelled():
        task.exception()
