"""What a run found: kept as JSON, shown as Markdown tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from load import Outcome

US = 1e6


@dataclass
class Measured:
    """One load: what it saw, and the server's CPU seconds for each call or chunk."""

    outcome: Outcome
    cpu: float


@dataclass
class Results:
    """Everything of a run, by contestant and scenario."""

    machine: dict[str, Any]
    calibration_ms: list[float] = field(default_factory=list)
    start_seconds: dict[str, float] = field(default_factory=dict)
    idle_memory: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    loads: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, name: str, scenario: str, measured: Measured) -> None:
        self.loads.setdefault(name, {}).setdefault(scenario, []).append(measured)

    def fail(self, name: str, scenario: str, reason: str) -> None:
        self.failures.setdefault(name, {})[scenario] = reason

    def best(self, name: str, scenario: str) -> Measured | None:
        """The repetition that cost least CPU."""
        return min(self.loads.get(name, {}).get(scenario, []), key=lambda one: one.cpu, default=None)


def write(results: Results, folder: Path) -> Path:
    """The run as `run-<time>.json`, and its tables as `run-<time>.md` beside it."""
    stem = "run-" + results.machine["date"].replace(" UTC", "").replace(" ", "-").replace(":", "")
    (folder / f"{stem}.md").write_text(markdown(results))
    file = folder / f"{stem}.json"
    file.write_text(json.dumps(asdict(results), indent=1))
    return file


def markdown(results: Results) -> str:
    return "\n".join([*_machine(results), "", *_buffered(results), "", *_streamed(results), "", *_process(results), ""])


def _machine(results: Results) -> list[str]:
    known = results.machine
    loops = ", ".join(f"{ms:.0f}" for ms in results.calibration_ms)
    return [
        f"{known['date']}; {known['cpu']}, {known['cores']} cores, {known['memory_gb']} GB; Linux {known['kernel']}; "
        f"Python {known['python']}. Calibration loop, from start to end: {loops} ms CPU."
    ]


def _buffered(results: Results) -> list[str]:
    lines = [
        "| buffered call | CPU µs | calls per core-second | calls/s at 32 | p50 / p99 ms at 32 | p50 / p99 ms at 1 "
        "| CPU µs, 200 KB | errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in results.start_seconds:
        many, few, large = (results.best(name, scenario) for scenario in ("buffered-32", "buffered-1", "large-4"))
        cells = [
            _cpu(many),
            f"{1 / many.cpu:,.0f}" if many else "–",
            f"{many.outcome.per_second:,.0f}" if many else "–",
            _latency(many),
            _latency(few),
            _cpu(large),
            str(_errors(many, few, large)),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _streamed(results: Results) -> list[str]:
    lines = [
        "| streamed chunk | CPU µs, 32 streams | CPU µs, 1 stream | chunks/s | p50 / p99 ms, 32 streams "
        "| p50 / p99 ms, 1 stream | errors |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in results.start_seconds:
        many, one = results.best(name, "stream-32"), results.best(name, "stream-1")
        rate = f"{many.outcome.per_second:,.0f}" if many else "–"
        cells = [_cpu(many), _cpu(one), rate, _latency(many), _latency(one), str(_errors(many, one))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _process(results: Results) -> list[str]:
    lines = ["| process | RSS idle MB | RSS after the run MB | start to first answer s |", "|---|---|---|---|"]
    for name, seconds in results.start_seconds.items():
        idle, after = results.idle_memory.get(name, 0), results.memory.get(name, 0)
        lines.append(f"| {name} | {idle:.0f} | {after:.0f} | {seconds:.2f} |")
    for name, reasons in results.failures.items():
        lines += [f"\n{name}, {scenario}: {reason}" for scenario, reason in reasons.items()]
    return lines


def _cpu(measured: Measured | None) -> str:
    return f"{measured.cpu * US:,.0f}" if measured else "–"


def _latency(measured: Measured | None) -> str:
    """The percentiles in milliseconds, with two digits that mean something."""
    if measured is None:
        return "–"
    return " / ".join(f"{us / 1000:.2f}" if us < 10_000 else f"{us / 1000:,.0f}" for us in _percentiles(measured))


def _percentiles(measured: Measured) -> tuple[float, float]:
    return measured.outcome.p50, measured.outcome.p99


def _errors(*measured: Measured | None) -> int:
    return sum(one.outcome.errors for one in measured if one)
