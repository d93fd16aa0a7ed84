"""State in this process's memory, and a store as one of its users sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agentgateway.errors import ConfigError
from agentgateway.interfaces import Store

SWEPT_EVERY = 60.0
"""Seconds between two looks for values that have expired and that nobody asks for."""


class MemoryStore(Store):
    """Keeps state until this process ends; each worker has its own (`memory:`)."""

    def __init__(
        self, url: str = "memory:", folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if url != "memory:":
            raise ConfigError("a store in memory has no place", hint="write memory: and nothing else")
        self._clock = clock
        self._values: dict[str, tuple[bytes, float | None]] = {}
        self._swept = clock()

    async def get(self, key: str) -> bytes | None:
        return self._get(key)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self._put(key, value, ttl)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        if self._get(key) != old:
            return False
        if new is None:
            self._values.pop(key, None)
        else:
            self._put(key, new, ttl)
        return True

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)

    async def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in list(self._values) if key.startswith(prefix) and self._get(key) is not None)

    def _get(self, key: str) -> bytes | None:
        value, until = self._values.get(key, (None, None))
        if until is not None and until <= self._clock():
            del self._values[key]
            return None
        return value

    def _put(self, key: str, value: bytes, ttl: float | None) -> None:
        now = self._clock()
        if now - self._swept >= SWEPT_EVERY:
            self._swept = now
            self._values = {name: one for name, one in self._values.items() if one[1] is None or one[1] > now}
        self._values[key] = (value, None if ttl is None else now + ttl)


class Shelf(Store):
    """The keys of a store below one name. Whoever made the store starts and stops it."""

    def __init__(self, store: Store, name: str) -> None:
        if not name or ":" in name:
            raise ValueError("the name of a shelf is text without a colon")
        self._store = store
        self._prefix = f"{name}:"

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(self._prefix + key)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self._store.put(self._prefix + key, value, ttl=ttl)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        return await self._store.swap(self._prefix + key, old, new, ttl=ttl)

    async def delete(self, key: str) -> None:
        await self._store.delete(self._prefix + key)

    async def keys(self, prefix: str) -> list[str]:
        found = await self._store.keys(self._prefix + prefix)
        return [key.removeprefix(self._prefix) for key in found]
