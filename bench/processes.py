"""Processes under measurement: pinned to a core, their CPU time and memory read, ended by their own id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

SERVER_CORE = 0
LOAD_CORE = 1 if (os.cpu_count() or 1) > 1 else 0

PROC = Path("/proc")
STATE = {"XDG_STATE_HOME": str(Path(__file__).parent / "out/state")}
"""So that a gateway keeps nothing in the state folder of whoever measures."""


def end_on_sigterm() -> None:
    """Unwind when told to end, so that every `finally` stops what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Process:
    """A program with its children, in a session of its own."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        core: int | None,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
        quiet: bool = False,
    ) -> None:
        """`core` is the one it is pinned to; None leaves it on all of them. `log` takes what the program writes; with
        `quiet` only its errors, while its output goes to /dev/null."""
        errors = log.open("wb") if log is not None else subprocess.DEVNULL
        self.log = log
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else errors,
            stderr=errors,
            env={**os.environ, **STATE, **(environ or {})},
            start_new_session=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if core is not None else None,
        )
        if not isinstance(errors, int):
            errors.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def cpu(self) -> float:
        """Seconds that the scheduler ran the program and its living children for, to the nanosecond."""
        return sum(map(run_time, tree(self._process.pid)))

    def memory(self) -> float:
        """Resident megabytes, shared pages counted once a process."""
        return sum(map(resident, tree(self._process.pid))) / 1024

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log is not None and self.log.exists() else ""
        return " / ".join(text.strip().splitlines()[-3:])[:300]

    def stop(self, patience: float = 8.0) -> None:
        """SIGTERM, then SIGKILL, to the session that this program leads."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return


def tree(root: int) -> Iterator[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        yield pid


def run_time(pid: int) -> float:
    """The CPU-time clock of a process, clock_getcpuclockid(3): ended threads count, which /proc/<pid>/task forgets."""
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0


def resident(pid: int) -> int:
    with suppress(OSError):
        found = re.search(r"^Rss:\s+(\d+)", (PROC / str(pid) / "smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0
