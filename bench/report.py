"""What a run found: kept as JSON, shown as Markdown tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from load import Outcome

US = 1e6
TITLES = {
    "buffered": "1.8 KB call, 1 KB reply",
    "buffered TLS": "the same over TLS",
    "200 KB": "200 KB call, 1 KB reply",
    "200 KB TLS": "the same over TLS",
    "stream": "streamed chunk",
    "stream TLS": "the same over TLS",
}


@dataclass
class Measured:
    """One load: what it saw, and the server's CPU seconds for each call or chunk."""

    outcome: Outcome
    cpu: float


@dataclass
class Results:
    """Everything of a run, by kind of load, contestant and number of connections."""

    machine: dict[str, Any]
    calibration_ms: list[float] = field(default_factory=list)
    start_seconds: dict[str, float] = field(default_factory=dict)
    idle_memory: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    loads: dict[str, dict[str, dict[int, list[Measured]]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, kind: str, connections: int, measured: Measured) -> None:
        self.loads.setdefault(kind, {}).setdefault(name, {}).setdefault(connections, []).append(measured)

    def fail(self, name: str, scenario: str, reason: str) -> None:
        self.failures.setdefault(name, {})[scenario] = reason

    def best(self, name: str, kind: str, connections: int) -> Measured | None:
        """The repetition that cost least CPU."""
        found = self.loads.get(kind, {}).get(name, {}).get(connections, [])
        return min(found, key=lambda one: one.cpu, default=None)

    def quickest(self, name: str, kind: str, connections: int) -> Outcome | None:
        """The repetition with the least median, for latencies that are compared."""
        found = self.loads.get(kind, {}).get(name, {}).get(connections, [])
        return min((one.outcome for one in found), key=lambda outcome: outcome.p50, default=None)


def write(results: Results, folder: Path) -> Path:
    """The run as `run-<time>.json`, and its tables as `run-<time>.md` beside it."""
    stem = "run-" + results.machine["date"].replace(" UTC", "").replace(" ", "-").replace(":", "")
    (folder / f"{stem}.md").write_text(markdown(results))
    file = folder / f"{stem}.json"
    file.write_text(json.dumps(asdict(results), indent=1))
    return file


def markdown(results: Results) -> str:
    lines = _machine(results)
    for kind in TITLES:
        if kind in results.loads:
            lines += ["", *_load(results, kind)]
    return "\n".join([*lines, "", *_process(results), ""])


def _machine(results: Results) -> list[str]:
    known = results.machine
    loops = ", ".join(f"{ms:.0f}" for ms in results.calibration_ms)
    return [
        f"{known['date']}; {known['cpu']}, {known['cores']} cores, {known['memory_gb']} GB; Linux {known['kernel']}; "
        f"Python {known['python']}. Calibration loop, from start to end: {loops} ms CPU."
    ]


def _load(results: Results, kind: str) -> list[str]:
    """One kind of load: a row for each number of connections and contestant."""
    unit = "chunk" if "stream" in kind else "call"
    lines = [
        f"| {TITLES[kind]} | connections | CPU µs | {unit}s per core-second | to nginx | {unit}s/s | p50 / p99 ms "
        "| added p50 / p99 µs | errors |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    contestants = results.loads[kind]
    for connections in sorted({number for loads in contestants.values() for number in loads}):
        for name in results.start_seconds:
            best = results.best(name, kind, connections)
            if best is not None:
                lines.append(_row(results, kind, connections, name, best))
    return lines


def _row(results: Results, kind: str, connections: int, name: str, best: Measured) -> str:
    cells = [
        str(connections),
        _cpu(best),
        f"{1 / best.cpu:,.0f}",
        _to_nginx(results, kind, connections, best),
        f"{best.outcome.per_second:,.0f}",
        _latency(best.outcome),
        _added(results, kind, connections, name) if connections == 1 else "",
        str(best.outcome.errors),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _to_nginx(results: Results, kind: str, connections: int, best: Measured) -> str:
    """Work for each core-second, as a share of nginx's."""
    name = next((name for name in results.start_seconds if name.startswith("nginx")), "")
    nginx = results.best(name, kind, connections)
    return f"{nginx.cpu / best.cpu:.2f}" if nginx is not None else "–"


def _added(results: Results, kind: str, connections: int, name: str) -> str:
    """Latency that is not the mock's own; over TLS, too, where the mock has none, against the mock's plain one."""
    ours = results.quickest(name, kind, connections)
    floor = results.quickest("direct", kind.removesuffix(" TLS"), connections)
    if ours is None or floor is None or name == "direct":
        return "–"
    return f"{ours.p50 - floor.p50:,.0f} / {ours.p99 - floor.p99:,.0f}"


def _process(results: Results) -> list[str]:
    lines = ["| process | RSS idle MB | RSS after the run MB | start to first answer s |", "|---|---|---|---|"]
    for name, seconds in results.start_seconds.items():
        idle, after = results.idle_memory.get(name, 0), results.memory.get(name, 0)
        lines.append(f"| {name} | {idle:.0f} | {after:.0f} | {seconds:.2f} |")
    for name, reasons in results.failures.items():
        lines += [f"\n{name}, {scenario}: {reason}" for scenario, reason in reasons.items()]
    return lines


def _cpu(measured: Measured) -> str:
    return f"{measured.cpu * US:,.1f}" if measured.cpu * US < 100 else f"{measured.cpu * US:,.0f}"


def _latency(outcome: Outcome) -> str:
    """The percentiles in milliseconds, with two digits that mean something."""
    percentiles = (outcome.p50, outcome.p99)
    return " / ".join(f"{us / 1000:.2f}" if us < 10_000 else f"{us / 1000:,.0f}" for us in percentiles)
