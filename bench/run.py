"""The gateway beside its peers, on one machine, in one run: `make bench`, or `python bench/run.py --help`.

All servers are started once and stay; each repetition loads each of them in turn, so that a busy minute hits all alike.
Of the repetitions the one that cost least CPU is kept: other people's work only ever adds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bodies
import load
import machine
import peers
import programs
import report
from contestants import Contestant, NotReady, direct, gateways
from processes import SERVER_CORE, end_on_sigterm

OUT = Path(__file__).parent / "out"


@dataclass(frozen=True)
class Scenario:
    """One kind of load: so many connections, for so many seconds or rounds of streams, encrypted or not."""

    load: str
    connections: int
    body: str = "small"
    rounds: int = 0
    tls: bool = False
    share: float = 1.0
    """Of the run's seconds for one load."""
    everybody: bool = False
    """Also those who are slow."""
    quick: bool = False
    """Also with `--quick`."""

    @property
    def name(self) -> str:
        return f"{self.load}{' TLS' if self.tls else ''}-{self.connections}"

    @property
    def streams(self) -> bool:
        return self.rounds > 0

    def takes(self, contestant: Contestant) -> bool:
        if self.tls and contestant.secure_port is None:
            return False
        return self.everybody or not contestant.slow


BUFFERED, LARGE, STREAM = "buffered", "200 KB", "stream"
SCENARIOS = (
    Scenario(BUFFERED, 1, share=0.5, everybody=True, quick=True),
    Scenario(BUFFERED, 32, everybody=True, quick=True),
    Scenario(BUFFERED, 256),
    Scenario(LARGE, 1, body="large", share=0.5, everybody=True, quick=True),
    Scenario(LARGE, 32, body="large", share=0.5),
    Scenario(STREAM, 1, body="stream", rounds=1, everybody=True),
    Scenario(STREAM, 32, body="stream", rounds=2, everybody=True, quick=True),
    Scenario(STREAM, 256, body="stream", rounds=2),
    Scenario(BUFFERED, 1, share=0.5, tls=True),
    Scenario(BUFFERED, 32, tls=True, quick=True),
    Scenario(BUFFERED, 256, tls=True),
    Scenario(LARGE, 32, body="large", share=0.5, tls=True),
    Scenario(STREAM, 32, body="stream", rounds=2, tls=True),
)


@dataclass(frozen=True)
class Plan:
    seconds: int
    repetitions: int
    patience: machine.Patience
    """For waiting until the machine is quiet, in all."""
    rounds: int = 2
    """Streams that each of many connections reads, one after the other."""
    scenarios: tuple[Scenario, ...] = SCENARIOS


def main() -> None:
    arguments = parsed()
    end_on_sigterm()
    programs.wrk()
    programs.build("sse_client")
    if (os.cpu_count() or 1) < 2:
        say("one core only: servers and load share it, and latencies mean little")
    if arguments.peers:
        peers.install()
    plan = planned(arguments)
    results = measure(plan, with_peers=not arguments.quick)
    print(report.markdown(results))
    say(f"written: bench/out/{report.write(results, OUT).name}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute, without peers")
    parser.add_argument("--peers", action="store_true", help="install LiteLLM and Portkey into bench/.peers first")
    parser.add_argument("--seconds", type=int, default=4, help="length of one load (4)")
    parser.add_argument("--repetitions", type=int, default=3, help="loads of each kind, least CPU kept (3)")
    return parser.parse_args()


def planned(arguments: argparse.Namespace) -> Plan:
    if arguments.quick:
        return Plan(2, 2, machine.Patience(10), 1, tuple(scenario for scenario in SCENARIOS if scenario.quick))
    return Plan(arguments.seconds, arguments.repetitions, machine.Patience(60))


def measure(plan: Plan, *, with_peers: bool) -> report.Results:
    began = time.monotonic()
    results = report.Results(machine.facts())
    files = bodies.write(OUT / "bodies")
    with ExitStack() as stack:
        field = start(stack, results, with_peers=with_peers)
        for contestant in field:
            warm(contestant, files["small"])
        for repetition in range(plan.repetitions):
            results.calibration_ms.append(machine.calibration(SERVER_CORE))
            for scenario in plan.scenarios:
                for contestant in filter(scenario.takes, field):
                    say(f"{repetition + 1}/{plan.repetitions} {scenario.name:<16} {contestant.name}")
                    one(results, contestant, scenario, files[scenario.body], plan)
        for contestant in field:
            results.memory[contestant.name] = contestant.process.memory()
    results.calibration_ms.append(machine.calibration(SERVER_CORE))
    say(f"took {time.monotonic() - began:.0f} s")
    return results


def start(stack: ExitStack, results: report.Results, *, with_peers: bool) -> list[Contestant]:
    """Everybody who can be started; who cannot is said."""
    mock = direct()
    stack.callback(mock.process.stop)
    field = [mock]
    for name, begin, install in gateways(with_peers=with_peers):
        if begin is None:
            say(f"{name}: not installed here, left out ({install})")
            continue
        say(f"starting {name}")
        try:
            contestant = begin(mock.port, OUT)
        except (NotReady, OSError) as error:
            say(f"{name}: left out: {error}")
            continue
        stack.callback(contestant.process.stop)
        field.append(contestant)
    for contestant in field:
        results.start_seconds[contestant.name] = contestant.start_seconds
        results.idle_memory[contestant.name] = contestant.idle_memory
    return field


def warm(contestant: Contestant, body: Path) -> None:
    """Let caches fill and compilers compile; not counted."""
    try:
        load.buffered(contestant.port, body, contestant.headers, connections=32, seconds=2)
    except load.LoadFailed as error:
        say(f"{contestant.name}: {error}")


def one(results: report.Results, contestant: Contestant, scenario: Scenario, body: Path, plan: Plan) -> None:
    plan.patience.wait()
    port, headers = contestant.secure_port if scenario.tls else contestant.port, contestant.headers
    assert port is not None
    seconds = max(1, round(plan.seconds * scenario.share))
    rounds = min(scenario.rounds, plan.rounds)
    before = contestant.process.cpu()
    try:
        if scenario.streams:
            outcome = load.streamed(
                *(port, body, headers),
                connections=scenario.connections,
                rounds=rounds,
                seconds=seconds * 4,
                tls=scenario.tls,
            )
        else:
            outcome = load.buffered(
                port, body, headers, connections=scenario.connections, seconds=seconds, tls=scenario.tls
            )
    except load.LoadFailed as error:
        say(f"{contestant.name}: {scenario.name}: {error}")
        results.fail(contestant.name, scenario.name, str(error))
        return
    cpu = (contestant.process.cpu() - before) / outcome.count
    kind = f"{scenario.load} TLS" if scenario.tls else scenario.load
    results.add(contestant.name, kind, scenario.connections, report.Measured(outcome, cpu))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
