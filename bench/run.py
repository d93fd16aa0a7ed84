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
    """One kind of load: so many connections, for so many seconds or rounds of streams."""

    name: str
    connections: int
    body: str = "small"
    rounds: int = 0
    share: float = 1.0
    """Of the run's seconds for one load."""

    @property
    def streams(self) -> bool:
        return self.rounds > 0


SCENARIOS = (
    Scenario("buffered-32", 32),
    Scenario("buffered-1", 1, share=0.5),
    Scenario("large-4", 4, body="large", share=0.5),
    Scenario("stream-32", 32, body="stream", rounds=2),
    Scenario("stream-1", 1, body="stream", rounds=1),
)


@dataclass(frozen=True)
class Plan:
    seconds: int
    repetitions: int
    patience: machine.Patience
    """For waiting until the machine is quiet, in all."""
    rounds: int = 2
    """Streams that each of many connections reads, one after the other."""


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
        return Plan(2, 2, machine.Patience(10), rounds=1)
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
            for scenario in SCENARIOS:
                for contestant in field:
                    say(f"{repetition + 1}/{plan.repetitions} {scenario.name:<12} {contestant.name}")
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
    for name, begin in gateways(with_peers=with_peers):
        if begin is None:
            say(f"{name}: not installed here, left out (python bench/run.py --peers installs it)")
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
    port, headers = contestant.port, contestant.headers
    seconds = max(1, round(plan.seconds * scenario.share))
    rounds = min(scenario.rounds, plan.rounds)
    before = contestant.process.cpu()
    try:
        if scenario.streams:
            outcome = load.streamed(
                port, body, headers, connections=scenario.connections, rounds=rounds, seconds=seconds * 4
            )
        else:
            outcome = load.buffered(port, body, headers, connections=scenario.connections, seconds=seconds)
    except load.LoadFailed as error:
        say(f"{contestant.name}: {scenario.name}: {error}")
        results.fail(contestant.name, scenario.name, str(error))
        return
    cpu = (contestant.process.cpu() - before) / outcome.count
    results.add(contestant.name, scenario.name, report.Measured(outcome, cpu))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
