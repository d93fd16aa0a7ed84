"""Tokens that are kept until shortly before they end."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from agentgateway.settings import Secret

MOST = 4096
"""Tokens kept, the latest: one for each set of claims."""
LATE = 60.0
"""Seconds before its end from which a token is not shown any more; a quarter of its life when that is less."""


class Kept(NamedTuple):
    token: Secret
    until: float


class Tokens:
    """Signed in a thread, once for all requests that say the same."""

    def __init__(
        self, sign: Callable[[bytes, int], Secret], ttl: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._sign = sign
        self._life = ttl - min(LATE, ttl / 4)
        self._clock = clock
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[Secret]] = {}

    async def token(self, claims: bytes) -> Secret:
        """A token that says those claims. Raises what signing raises."""
        kept = self._kept.get(claims)
        if kept is not None and self._clock() < kept.until:
            return kept.token
        task = self._under_way.get(claims)
        if task is None:
            task = self._under_way[claims] = asyncio.create_task(self._signed(claims))
            task.add_done_callback(lambda done: self._ended(claims, done))
        return await asyncio.shield(task)

    async def _signed(self, claims: bytes) -> Secret:
        now = self._clock()
        token = await asyncio.to_thread(self._sign, claims, int(now))
        self._kept[claims] = Kept(token, now + self._life)
        self._kept.move_to_end(claims)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return token

    def _ended(self, claims: bytes, task: asyncio.Task[Secret]) -> None:
        del self._under_way[claims]
        if not task.cancelled():
            task.exception()  # who waited has it; those who left do not miss it

    async def stop(self) -> None:
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()))
