"""Where an export is kept: a file in a folder of the system's temporary one, which nobody else may write to.

Its name has the versions of what made it and the day, since prices begin and end on days. A folder or a file that
somebody else put there is not used; then every process exports for itself.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("agentgateway-prices", "genai-prices")
LOCK = "lock"


class Store:
    """The kept export of today, in `folder`, or in one of this user's own."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"agentgateway-prices-{os.geteuid()}"
        self._file = self._folder / f"{'-'.join(map(version, PACKAGES))}-{datetime.now(UTC):%Y%m%d}.json"

    def read(self) -> bytes | None:
        """The export, if it is there and ours alone to write."""
        if not private(self._folder):
            return None
        try:
            with open(os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                return stream.read()
        except OSError:
            return None

    def write(self, text: bytes) -> None:
        """Keep an export, whole or not at all, in place of older ones. Where that cannot be, nothing happens."""
        if not private(self._folder):
            return
        with suppress(OSError):
            descriptor, name = tempfile.mkstemp(dir=self._folder)  # mode 0600
            with open(descriptor, "wb") as stream:
                stream.write(text)
            os.replace(name, self._file)
            for other in self._folder.glob("*.json"):
                if other != self._file:
                    other.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other process exports; at once where there is no folder to agree in."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700)
        if not private(self._folder):
            yield
            return
        with open(os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def private(folder: Path) -> bool:
    """Whether it is a folder of this user's, which no one else may write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
