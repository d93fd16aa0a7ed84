"""Load on a port: wrk for buffered calls, sse_client for streams; both on the load's core, bounded in time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import programs
from processes import LOAD_CORE

PATH = "/v1/chat/completions"
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


class LoadFailed(Exception):
    """The load generator could not do its work, or got answers other than 200."""


@dataclass(frozen=True)
class Outcome:
    """What a load run saw: how many calls or chunks, how fast, and their latency in microseconds."""

    count: int
    per_second: float
    p50: float
    p99: float
    errors: int


def buffered(
    port: int, body: Path, headers: dict[str, str], *, connections: int, seconds: int, tls: bool = False
) -> Outcome:
    """POST as fast as the connections allow. Raises `LoadFailed` when nothing was answered."""
    command = [programs.wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "20s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    scheme = "https" if tls else "http"
    command += ["-s", str(programs.HERE / "post.lua"), f"{scheme}://127.0.0.1:{port}{PATH}", "--", str(body)]
    said = _pinned(command, seconds + 40)
    requests = re.search(r"(\d+) requests in", said)
    if requests is None or requests[1] == "0":
        raise LoadFailed(f"wrk: {_short(said)}")
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    errors = sum(map(int, broken.groups())) if broken else 0
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    per_second = re.search(r"Requests/sec:\s+([\d.]+)", said)
    return Outcome(
        count=int(requests[1]),
        per_second=float(per_second[1]) if per_second else 0.0,
        p50=_latency(said, 50),
        p99=_latency(said, 99),
        errors=errors + (int(refused[1]) if refused else 0),
    )


def streamed(
    port: int,
    body: Path,
    headers: dict[str, str],
    *,
    connections: int,
    rounds: int,
    seconds: int,
    tls: bool = False,
) -> Outcome:
    """Read streams to their end. Raises `LoadFailed` when no chunk came."""
    lines = "\r\n".join(f"{name}: {value}" for name, value in headers.items())
    numbers = [str(number) for number in (port, connections, rounds, seconds)]
    client = [sys.executable, str(programs.HERE / "tls_client.py")] if tls else [str(programs.build("sse_client"))]
    said = _pinned([*client, *numbers, str(body), PATH, lines], seconds + 60)
    try:
        result = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise LoadFailed(f"sse_client: {_short(said)}") from error
    if not result["chunks"]:
        raise LoadFailed(f"no chunk came: {_short(said)}")
    return Outcome(result["chunks"], result["chunks_per_s"], result["p50_us"], result["p99_us"], result["errors"])


def _pinned(command: list[str], limit: float) -> str:
    try:
        done = subprocess.run(
            ["taskset", "-c", str(LOAD_CORE), *command], capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LoadFailed(f"{Path(command[0]).name} took more than {limit:.0f} s") from error
    return done.stderr + done.stdout


def _short(said: str) -> str:
    return " ".join(said.split())[:200] or "it said nothing"


def _latency(said: str, percent: int) -> float:
    """wrk's percentile in microseconds."""
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m)\b", said)
    return float(found[1]) * UNITS[found[2]] if found else float("nan")
