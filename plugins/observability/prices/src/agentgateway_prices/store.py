"""Where an export is kept: a file in a folder of the system's temporary one, which nobody else may write to.

Its name has the versions of what made it and the day, since prices begin and end on days. A folder or a file that
somebody else put there is not used; then every process exports for itself. So does one that cannot write.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

PACKAGES = ("agentgateway-prices", "genai-prices")
LOCK = "lock"
END = b"}"
"""What an export ends with, unless the machine went down while it was written."""


class Store:
    """The kept export of today, in `folder`, or in one of this user's own."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"agentgateway-prices-{os.geteuid()}"
        self._file = self._folder / f"{'-'.join(map(version, PACKAGES))}-{datetime.now(UTC):%Y%m%d}.json"

    def read(self) -> bytes | None:
        """The export, if it is there, whole, and ours alone to write."""
        if not private(self._folder):
            return None
        try:
            with open(os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
                if not ours(os.fstat(stream.fileno())):
                    return None
                text = stream.read()
        except OSError:
            return None
        return text if text.endswith(END) else None

    def write(self, text: bytes) -> None:
        """Keep an export, whole or not at all, in place of older ones. Where that cannot be, nothing happens."""
        if not private(self._folder):
            return
        with suppress(OSError), tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as stream:  # mode 0600
            try:
                stream.write(text)
                stream.close()
                os.replace(stream.name, self._file)
            except OSError:
                os.unlink(stream.name)
                return
            for other in self._folder.glob("*.json"):
                if other != self._file:
                    other.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no other process exports; at once where there is no folder to agree in."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700)
        with ExitStack() as held:
            if private(self._folder):
                with suppress(OSError):
                    fcntl.flock(held.enter_context(self._lock()), fcntl.LOCK_EX)
            yield

    def _lock(self) -> BinaryIO:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return open(os.open(self._folder / LOCK, flags, 0o600), "r+b", buffering=0)


def private(folder: Path) -> bool:
    """Whether it is a folder of this user's, which no one else may write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def ours(status: os.stat_result) -> bool:
    """Whether it is a plain file of this user's, which no one else may write to."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
