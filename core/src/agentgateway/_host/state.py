"""Which store a gateway has: the one that its file names, or an SQLite file in the user's state folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from agentgateway._host import registry
from agentgateway._host.load import Document
from agentgateway._host.static_config import StaticConfig
from agentgateway.errors import ConfigError, StoreFailed
from agentgateway.interfaces import Store
from agentgateway.stores import MemoryStore

logger = logging.getLogger("agentgateway.state")

AT = ("config", "store", "url")


def store_of(settings: StaticConfig, document: Document, environ: Mapping[str, str]) -> Store:
    """The store, not opened. Raises `ConfigError`."""
    secret = settings.store.url
    if secret is None:
        return OwnStore(state_file(document, environ))
    url = secret.reveal()
    scheme, colon, _ = url.partition(":")
    try:
        if not colon:
            raise ConfigError("not the URL of a store", hint="write memory: or sqlite:state.sqlite")
        made: Store = registry.load("agentgateway.stores", scheme)(url, document.folder)
    except ConfigError as error:
        raise document.error(AT, error.message, error.hint) from error
    return made


async def opened(store: Store, document: Document) -> None:
    """Start the store. Raises `ConfigError` when that fails."""
    try:
        await store.start()
    except StoreFailed as error:
        raise document.error(AT, f"the store cannot be used: {error.detail or error.message}") from error


def state_file(document: Document, environ: Mapping[str, str]) -> Path | None:
    """The file of a configuration that names none: of its own in the state folder, which is systemd's
    (`$STATE_DIRECTORY`), or the user's (`$XDG_STATE_HOME`, by default `~/.local/state`). None where there is none."""
    folder = Path(environ.get("STATE_DIRECTORY", "").partition(":")[0])
    if not folder.is_absolute():
        home = Path(environ.get("XDG_STATE_HOME", ""))
        if not home.is_absolute():
            home = Path(environ.get("HOME", ""), ".local", "state")
        folder = home / "agentgateway"
    if not folder.is_absolute():
        return None
    whose = os.path.abspath(document.folder / Path(document.source.file).name)
    return folder / f"{blake2b(os.fsencode(whose), digest_size=16).hexdigest()}.sqlite"


class OwnStore(Store):
    """The store where the file names none: nothing before something is asked of it, then an SQLite file. Where that
    cannot be made, memory; one that is there and cannot be used is an error."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._chosen: Store | None = None
        self._choice: asyncio.Task[Store] | None = None

    async def get(self, key: str) -> bytes | None:
        return await (await self._store()).get(key)

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await (await self._store()).put(key, value, ttl=ttl)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        return await (await self._store()).swap(key, old, new, ttl=ttl)

    async def delete(self, key: str) -> None:
        await (await self._store()).delete(key)

    async def keys(self, prefix: str) -> list[str]:
        return await (await self._store()).keys(prefix)

    async def stop(self) -> None:
        if self._choice is not None:
            with contextlib.suppress(StoreFailed):
                await (await self._choice).stop()

    async def _store(self) -> Store:
        if self._chosen is None:
            if self._choice is None or self._choice.done():
                self._choice = asyncio.get_running_loop().create_task(choose(self._file))
            self._chosen = await asyncio.shield(self._choice)
        return self._chosen


async def choose(file: Path | None) -> Store:
    """A started store. Raises `StoreFailed`."""
    from agentgateway._host.builtin.sqlite_store import SqliteStore  # sqlite3, on first use

    if file is None:
        return in_memory("no folder for it is known")
    try:
        is_there = await asyncio.to_thread(make_room, file)
    except OSError as error:
        return in_memory(f"{file.parent}: {error.strerror}")
    store = SqliteStore(f"sqlite:{file}", file.parent)
    try:
        await store.start()
    except StoreFailed as error:
        await store.stop()
        if is_there:
            raise
        return in_memory(error.detail)
    return store


def in_memory(reason: str) -> Store:
    logger.warning(
        "state is kept in memory, by each worker for itself, and forgotten when it ends (%s): set config.store.url",
        reason,
    )
    return MemoryStore()


def make_room(file: Path) -> bool:
    """Make the folder of that file, and say whether anything is in the file. Raises `OSError`."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return file.exists() and file.stat().st_size > 0
