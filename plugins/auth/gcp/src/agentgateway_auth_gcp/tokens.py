"""Tokens, and how they stay fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

SOON = 225.0
"""Seconds before its end at which a token is fetched anew while the old one still serves; as google-auth does, since
metadata servers keep theirs until shortly before."""
LATE = 30.0
"""Seconds before its end at which nobody is shown it any more."""
PAUSE = 30.0
"""Seconds between two attempts to be early."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a request shows; `ends` in seconds of the epoch, `payer` the project that a user's calls are charged to."""

    value: str = field(repr=False)
    ends: float
    payer: str | None = None


class Fresh:
    """A token that is obtained when it is needed, once for all who wait, and again ahead of its end.

    `obtain` may raise; who waits gets its error, and the next to ask tries again.
    """

    def __init__(self, obtain: Callable[[], Awaitable[Token]], clock: Callable[[], float] = time.time) -> None:
        self._obtain = obtain
        self._clock = clock
        self._token: Token | None = None
        self._under_way: asyncio.Task[Token] | None = None
        self._tried = 0.0

    async def token(self) -> Token:
        token, now = self._token, self._clock()
        if token is None or token.ends - now <= LATE:
            return await asyncio.shield(self._refresh())
        if token.ends - now <= SOON and now - self._tried >= PAUSE:
            self._refresh()
        return token

    def _refresh(self) -> asyncio.Task[Token]:
        if self._under_way is None or self._under_way.done():
            self._tried = self._clock()
            self._under_way = asyncio.create_task(self._fetch())
            self._under_way.add_done_callback(told)
        return self._under_way

    async def _fetch(self) -> Token:
        self._token = await self._obtain()
        return self._token

    async def stop(self) -> None:
        if self._under_way is not None and not self._under_way.done():
            self._under_way.cancel()
            await asyncio.wait([self._under_way])


def told(task: asyncio.Task[Token]) -> None:
    """A refresh that failed ahead of time is nobody's error: the next one may do better."""
    if not task.cancelled():
        task.exception()
