"""What the workers of one machine have agreed on: short texts by name, in a database that they share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

PRUNED_EVERY = 256
"""Writes between two looks for what is over."""
BUSY_SECONDS = 2.0

_TABLE = "CREATE TABLE IF NOT EXISTS agreed (name TEXT PRIMARY KEY, value TEXT, until REAL) WITHOUT ROWID"
_FIND = "SELECT value FROM agreed WHERE name = ? AND until > ?"


class Agreements:
    """Opened when the first name is asked for. Times are CLOCK_MONOTONIC, one clock for all of the machine."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "agreements.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._written = 0

    def agree(self, name: str, value: str, instead_of: str, seconds: float) -> str:
        """As `Peers.agree`."""
        database, now = self._database(), time.monotonic()
        database.execute("BEGIN IMMEDIATE")
        try:
            found = database.execute(_FIND, (name, now)).fetchone()
            if found is not None and found[0] != instead_of:
                return str(found[0])
            database.execute("INSERT OR REPLACE INTO agreed VALUES (?, ?, ?)", (name, value, now + seconds))
            self._written += 1
            if self._written % PRUNED_EVERY == 0:
                database.execute("DELETE FROM agreed WHERE until <= ?", (now,))
            return value
        finally:
            database.execute("COMMIT")

    def agreed(self, name: str) -> str:
        """As `Peers.agreed`."""
        found = self._database().execute(_FIND, (name, time.monotonic())).fetchone()
        return str(found[0]) if found is not None else ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            import sqlite3

            self._connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = OFF")  # it ends with the gateway
            self._connection.execute("BEGIN IMMEDIATE")  # else two that make the table stand in each other's way
            self._connection.execute(_TABLE)
            self._connection.execute("COMMIT")
        return self._connection
