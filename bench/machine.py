"""The machine a run was made on, and how quiet it was."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CALIBRATION = """
import time
began = time.process_time()
table = {}
for i in range(400_000):
    table[i & 1023] = str(i)
print(time.process_time() - began)
"""


def facts() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_field("/proc/meminfo", "MemTotal").split()[0] or 0) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def calibration(core: int) -> float:
    """CPU milliseconds of a fixed loop on that core: what they differ by between two runs is the machine's noise."""
    command = ["taskset", "-c", str(core), sys.executable, "-S", "-c", CALIBRATION]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1000


class Patience:
    """Waits for a quiet machine, no longer in all than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    def wait(self, longest: float = 5.0) -> None:
        """Until all cores together are nine tenths idle, or `longest` seconds have passed."""
        began = time.monotonic()
        until = began + min(longest, self.left)
        while time.monotonic() < until and idle_share(0.3) < 0.9:
            pass
        self.left -= time.monotonic() - began


def idle_share(seconds: float) -> float:
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    return (after[1] - before[1]) / max(1, after[0] - before[0])


def _ticks() -> tuple[int, int]:
    """All and idle ticks of all cores so far (proc(5), /proc/stat)."""
    values = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(values), values[3] + values[4]


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"
