"""What starting costs: CPU of importing the core, and a gateway's memory and time until it answers.

python bench/startup.py              the three figures, best of several
python bench/startup.py --imports    and the modules that cost most (python -X importtime)
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import contestants
import machine
from processes import SERVER_CORE, end_on_sigterm

OUT = Path(__file__).parent / "out"
CORE = "import agentgateway._host.serving"
TIMED = f"""
import sys, time
{CORE}
heavy = {{"openai", "boto3", "botocore", "grpc", "google.cloud", "opentelemetry", "anthropic"}}
print(time.process_time(), *sorted(heavy & set(sys.modules)))
"""


def import_seconds(rounds: int) -> tuple[float, float, list[str]]:
    """CPU seconds of a fresh interpreter that imports what serving needs, those of one that imports nothing, and
    heavy libraries that came along."""
    _python(TIMED)  # compiles
    runs = [_python(TIMED).stdout.split() for _ in range(rounds)]
    bare = min(float(_python("import time\nprint(time.process_time())").stdout) for _ in range(rounds))
    best = min(runs, key=lambda words: float(words[0]))
    return float(best[0]), bare, best[1:]


def slowest_imports(count: int) -> list[tuple[float, str]]:
    """Milliseconds of modules by themselves, from `-X importtime`."""
    said = _python(CORE, "-X", "importtime").stderr
    rows = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", said, re.MULTILINE)
    return sorted(((int(us) / 1000, name) for us, name in rows), reverse=True)[:count]


def gateway(rounds: int) -> tuple[float, float, float]:
    """Seconds from exec to the first good answer and CPU seconds till then, and idle megabytes."""
    OUT.mkdir(exist_ok=True)
    mock = contestants.direct()
    seconds, cpu, memory = [], [], []
    try:
        for _ in range(rounds):
            one = contestants.agentgateway(mock.port, OUT)
            seconds.append(one.start_seconds)
            cpu.append(one.process.cpu())
            memory.append(one.idle_memory)
            one.process.stop()
    finally:
        mock.process.stop()
    return min(seconds), min(cpu), min(memory)


def _python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, *options, "-c", code]
    environ = {**os.environ, **contestants.BYTECODE}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imports", action="store_true", help="name the slowest modules")
    parser.add_argument("--rounds", type=int, default=5, help="tries, the best of which counts (5)")
    arguments = parser.parse_args()
    end_on_sigterm()
    whole, bare, heavy = import_seconds(arguments.rounds)
    print(f"{whole - bare:7.2f} s CPU   importing {CORE.split()[1]} (a bare interpreter takes {bare:.2f} more)")
    if heavy:
        print(f"          and with it: {', '.join(heavy)}, which should be lazy")
    ready, cpu, memory = gateway(arguments.rounds)
    print(f"{ready:7.2f} s       exec to first answered call ({cpu:.2f} s CPU)")
    print(f"{memory:7.1f} MB      resident, idle")
    print(f"{machine.calibration(SERVER_CORE):7.1f} ms      calibration loop (see README.md)")
    if arguments.imports:
        print("\nslowest modules, ms by themselves:")
        for ms, name in slowest_imports(25):
            print(f"{ms:8.1f}  {name}")


if __name__ == "__main__":
    main()
