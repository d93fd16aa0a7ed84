"""Keys to sign with, and how they stay fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

SOON = 900.0
"""Seconds before their end at which keys are fetched anew while the old ones still serve; as AWS's own SDKs do."""
LATE = 60.0
"""Seconds before their end at which nobody signs with them any more."""


def forever(seconds: float) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Keys:
    """What a signature is made with. `lasts` tells whether they are good for so many seconds more."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    lasts: Callable[[float], bool] = field(default=forever, repr=False, compare=False)


class Fresh:
    """Keys that are obtained when they are needed, once for all who wait, and again ahead of their end.

    `obtain` may raise; who waits gets its error, and the next to ask tries again.
    """

    def __init__(self, obtain: Callable[[], Awaitable[Keys]]) -> None:
        self._obtain = obtain
        self._keys: Keys | None = None
        self._under_way: asyncio.Task[Keys] | None = None

    async def keys(self) -> Keys:
        keys = self._keys
        if keys is None or not keys.lasts(LATE):
            return await asyncio.shield(self._refresh())
        if not keys.lasts(SOON):
            self._refresh()
        return keys

    def _refresh(self) -> asyncio.Task[Keys]:
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._fetch())
            self._under_way.add_done_callback(told)
        return self._under_way

    async def _fetch(self) -> Keys:
        self._keys = await self._obtain()
        return self._keys

    async def stop(self) -> None:
        if self._under_way is not None and not self._under_way.done():
            self._under_way.cancel()
            await asyncio.wait([self._under_way])


def told(task: asyncio.Task[Keys]) -> None:
    """A refresh that failed ahead of time is nobody's error: the next one may do better."""
    if not task.cancelled():
        task.exception()
