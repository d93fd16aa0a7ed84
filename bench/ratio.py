"""How much more CPU a call through the gateway's edge costs than one of a bare protocol, in one run.

    python bench/ratio.py             fails at more than 1.5 times the recorded ratio (bench/ratio.json)
    python bench/ratio.py --record    records what it finds

Absolute figures mean nothing on a machine that others use; the ratio of two programs that run in turn, in short rounds,
the cheapest of which count, does. Both answer 32 connections with a completion of 1 KB; the gateway has the pipeline of
conf/agentgateway.yaml, and asks an upstream that is the bare protocol again. Needs nothing but `make install`; takes
about half a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import bodies
import contestants
import machine
from processes import LOAD_CORE, SERVER_CORE, end_on_sigterm

HERE = Path(__file__).parent
OUT = HERE / "out"
RECORD = HERE / "ratio.json"
ALLOWED = 1.5
CONNECTIONS = 32
BARE_CALLS = 8000
EDGE_CALLS = 3000
"""A quarter of a second of CPU each."""


def once(contestant: contestants.Contestant, count: int, body: Path) -> float:
    """CPU microseconds of a call. Exits when something is not answered."""
    words = [str(contestant.port), str(CONNECTIONS), str(count), str(body)]
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, str(HERE / "asking.py"), *words]
    before = contestant.process.cpu()
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    cpu = contestant.process.cpu() - before
    try:
        answered = json.loads(done.stdout)["good"]
    except ValueError:
        answered = 0
    if answered != count:
        sys.exit(f"{contestant.name}: {answered} of {count} calls were answered: {done.stderr[-300:]}")
    return cpu / count * 1e6


def measure(seconds: float, say: Callable[[str], None]) -> tuple[float, float]:
    """The least CPU microseconds of a call: of the bare protocol, and of the edge."""
    OUT.mkdir(exist_ok=True)
    body = bodies.write(OUT / "bodies")["small"]
    least = {"bare": float("inf"), "edge": float("inf")}
    with ExitStack() as stack:
        upstream = contestants.bare(LOAD_CORE)
        stack.callback(upstream.process.stop)
        floor = contestants.bare(SERVER_CORE)
        stack.callback(floor.process.stop)
        edge = contestants.agentgateway(upstream.port, OUT)
        stack.callback(edge.process.stop)
        until = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < until:
            least["bare"] = min(least["bare"], once(floor, BARE_CALLS, body))
            least["edge"] = min(least["edge"], once(edge, EDGE_CALLS, body))
            rounds += 1
        say(f"{rounds} rounds")
    return least["bare"], least["edge"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the ratio to bench/ratio.json")
    parser.add_argument("--seconds", type=float, default=22, help="of measuring (22)")
    arguments = parser.parse_args()
    end_on_sigterm()
    floor, edge = measure(arguments.seconds, lambda line: print(line, file=sys.stderr))
    ratio = edge / floor
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    print(f"bare protocol {floor:.1f} µs CPU a call, edge {edge:.1f} µs ({loop}): ratio {ratio:.2f}")
    if arguments.record:
        facts = machine.facts()
        RECORD.write_text(json.dumps({"ratio": round(ratio, 2), "loop": loop, "date": facts["date"]}, indent=2) + "\n")
        return
    recorded = json.loads(RECORD.read_text())
    most = recorded["ratio"] * ALLOWED
    verdict = "within" if ratio <= most else "OVER"
    print(f"recorded {recorded['ratio']} on {recorded['date']}: {verdict} the allowed {most:.2f}")
    sys.exit(ratio > most)


if __name__ == "__main__":
    main()
