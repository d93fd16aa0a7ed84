"""The gateway's side of the warden, the process that ends the children of a gateway that was killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("warden_process.py")


class Warden:
    """Started for the first child, ended with the last target that uses it; started anew if somebody kills it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()
        self._users = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def enlist(self) -> None:
        """A target is going to have children."""
        self._users += 1

    async def dismiss(self) -> None:
        """A target has none any more."""
        self._users -= 1
        process = self._process
        if self._users == 0 and process is not None:
            self._process = None
            await asyncio.to_thread(_end, process)

    def watch(self, group: int) -> None:
        """End that process group when the gateway ends. Raises OSError."""
        self._groups.add(group)
        self._write(b"+%d\n" % group)

    def forget(self, group: int) -> None:
        """That group is gone."""
        if group in self._groups:
            self._groups.discard(group)
            self._write(b"-%d\n" % group)

    def _write(self, line: bytes) -> None:
        process = self._process
        if process is not None:
            assert process.stdin is not None
            try:
                os.write(process.stdin.fileno(), line)
                return
            except BrokenPipeError:
                _end(process)
        self._process = _start()
        assert self._process.stdin is not None
        os.write(self._process.stdin.fileno(), b"".join(b"+%d\n" % group for group in self._groups))


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this interpreter, a file of this distribution
        [sys.executable, "-I", "-S", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        env={},
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes the pipe, and waits
        pass


WARDEN = Warden()
"""One for the whole process, since children of every target, also of a configuration that is being replaced, need no
more than one: it costs some 7 MB. Touched by the thread of the event loop alone."""
