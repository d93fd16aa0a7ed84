"""State in an SQLite file, which every process of this machine may share.

The file is in WAL mode: readers wait for nobody, what is committed survives the end of the process, SIGKILL included,
and after a power cut the file is whole, though it may lack what was written last (`synchronous=NORMAL`). All work is
done by one thread, which opens the file at the first of it: never before a fork.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agentgateway.errors import ConfigError, StoreFailed
from agentgateway.interfaces import Store

T = TypeVar("T")

MARK = 0x41474757
"""`application_id` of our files: "AGGW"."""
LAYOUT = 1
"""`user_version`: what is in them."""
PATIENCE = 10.0
"""Seconds to wait for other processes that write."""
SWEPT_EVERY = 60.0
"""Seconds between two looks for values that have expired."""
TABLE = """
CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires REAL) WITHOUT ROWID;
CREATE INDEX expiring ON entries (expires) WHERE expires IS NOT NULL;
"""
LIVE = "(expires IS NULL OR expires > ?)"
PUT = (
    "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires"
)


class SqliteStore(Store):
    """Keeps state in a file (`sqlite:FILE`), which all workers share."""

    def __init__(self, url: str, folder: Path, clock: Callable[[], float] = time.time) -> None:
        name = url.removeprefix("sqlite:")
        if not name or name.startswith("//"):
            raise ConfigError("expected sqlite: and the name of a file", hint="write sqlite:state.sqlite")
        self.path = folder / name
        self._clock = clock
        self._swept = 0.0
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        await self._run(lambda connection: None)

    async def stop(self) -> None:
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown()
            self._thread = None

    async def get(self, key: str) -> bytes | None:
        return await self._run(lambda connection: self._get(connection, key))

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        await self._run(lambda connection: self._put(connection, key, value, ttl))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if self._get(connection, key) != old:
                    return False
                if new is None:
                    self._delete(connection, key)
                else:
                    self._put(connection, key, new, ttl)
                return True

        return await self._run(work)

    async def delete(self, key: str) -> None:
        await self._run(lambda connection: self._delete(connection, key))

    async def keys(self, prefix: str) -> list[str]:
        query = f"SELECT key FROM entries WHERE key >= ? AND key < ? AND {LIVE} ORDER BY key"  # noqa: S608
        first, behind = written(prefix), written(prefix) + b"\xff"  # a byte that no text has

        def work(connection: sqlite3.Connection) -> list[str]:
            return [str(key, "utf-8", "surrogatepass") for (key,) in connection.execute(query, (first, behind, now))]

        now = self._clock()
        return await self._run(work)

    def _get(self, connection: sqlite3.Connection, key: str) -> bytes | None:
        query = f"SELECT value FROM entries WHERE key = ? AND {LIVE}"  # noqa: S608
        found = connection.execute(query, (written(key), self._clock())).fetchone()
        return found[0] if found is not None else None

    def _put(self, connection: sqlite3.Connection, key: str, value: bytes, ttl: float | None) -> None:
        now = self._clock()
        if now - self._swept >= SWEPT_EVERY:
            self._swept = now
            connection.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        connection.execute(PUT, (written(key), value, None if ttl is None else now + ttl))

    def _delete(self, connection: sqlite3.Connection, key: str) -> None:
        connection.execute("DELETE FROM entries WHERE key = ?", (written(key),))

    # --- the thread ---------------------------------------------------------------------------------------------------

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "agentgateway-store")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = connected(self.path)
            return work(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise StoreFailed(detail=f"{self.path}: {error}") from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def written(key: str) -> bytes:
    """Keys are bytes in the file, since not every Python text is UTF-8."""
    return key.encode("utf-8", "surrogatepass")


def connected(path: Path) -> sqlite3.Connection:
    """The file, made if it is not there, readable for its owner alone. Raises `sqlite3.Error`, `OSError`."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Check what is in the file, and put the table into an empty one. Several processes may do so at once."""
    in_wal_mode(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == mark == layout == 0:
            for statement in TABLE.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {MARK}")
            connection.execute(f"PRAGMA user_version = {LAYOUT}")
        elif (mark, layout) != (MARK, LAYOUT):
            raise sqlite3.DatabaseError("the file is a database, but not one of this version of agentgateway")


def in_wal_mode(connection: sqlite3.Connection) -> None:
    """The change of mode does not wait for other processes as everything else does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
