"""Where the whole server's CPU goes under load: sockets, HTTP, the ASGI twin and the pipeline, by function.

    python bench/hotspots.py [--stream] [--seconds 6]

Starts the gateway with a sampler inside (see sampler.py), loads it with 32 connections, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import bodies
import contestants
import load
import sampler
from processes import SERVER_CORE, Process, end_on_sigterm

HERE = Path(__file__).parent
OUT = HERE / "out"
REPORT = OUT / "hotspots.json"
FAST_US = 4000
"""Between two chunks of a stream: often enough that the sampler finds the server at work."""


def serve() -> None:
    """In the child: the gateway's own command line; SIGUSR1 begins sampling, SIGUSR2 ends it and writes the report."""
    from agentgateway._host.cli import main

    watch = sampler.Sampler()

    def finish(*_: object) -> None:
        shares = watch.stop()
        waiting = REPORT.with_suffix(".part")
        waiting.write_text(json.dumps([watch.seconds, shares]))
        waiting.rename(REPORT)

    signal.signal(signal.SIGUSR1, lambda *_: watch.start())
    signal.signal(signal.SIGUSR2, finish)
    sys.argv = ["agentgateway", "-f", str(HERE / "conf" / "agentgateway.yaml")]
    main()


def sampled(seconds: int, *, stream: bool) -> tuple[float, int, list[sampler.Share]]:
    """CPU seconds, calls (or chunks), and where the seconds went."""
    files = bodies.write(OUT / "bodies")
    REPORT.unlink(missing_ok=True)
    mock = contestants.direct(FAST_US) if stream else contestants.direct()
    port = contestants.free_port()
    environ = {"BENCH_PORT": str(port), "BENCH_UPSTREAM": f"127.0.0.1:{mock.port}", **contestants.BYTECODE}
    command: list[str | Path] = [sys.executable, __file__, "--serve"]
    process = Process(command, core=SERVER_CORE, environ=environ, log=OUT / "hotspots.log", quiet=True)
    try:
        one = contestants.ready(contestants.Contestant("agentgateway", process, port, dict(contestants.KEY)), 30)
        load.buffered(port, files["small"], one.headers, connections=32, seconds=2)
        os.kill(process.pid, signal.SIGUSR1)
        if stream:
            outcome = load.streamed(port, files["stream"], one.headers, connections=32, rounds=99, seconds=seconds)
        else:
            outcome = load.buffered(port, files["small"], one.headers, connections=32, seconds=seconds)
        os.kill(process.pid, signal.SIGUSR2)
        while not REPORT.exists() and not process.ended:
            time.sleep(0.05)
    finally:
        process.stop()
        mock.process.stop()
    spent, shares = json.loads(REPORT.read_text())
    return spent, outcome.count, [sampler.Share(*share) for share in shares]


def by_part(shares: list[sampler.Share]) -> Counter[str]:
    """Own seconds by folder: a library, or a part of the gateway."""
    parts: Counter[str] = Counter()
    for share in shares:
        parts[share.function.partition("/")[0] or "interpreter"] += share.own
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", action="store_true", help="streams, by chunk, in place of buffered calls")
    parser.add_argument("--seconds", type=int, default=6, help="of load (6)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    end_on_sigterm()
    spent, count, shares = sampled(arguments.seconds, stream=arguments.stream)
    unit = "chunk" if arguments.stream else "call"
    print(f"{spent / count * 1e6:.1f} µs of CPU a {unit}, {count} of them; by folder:\n")
    for part, seconds in by_part(shares).most_common(16):
        print(f"{seconds / count * 1e6:8.2f} µs  {part}")
    print("\nby function (itself; with all it calls):\n")
    print("\n".join(sampler.table(shares, count, 45)))


if __name__ == "__main__":
    main()
