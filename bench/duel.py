"""Two checkouts in turn, without sockets: is a change worth it?

    python bench/duel.py BEFORE AFTER [--stream] [--rounds 60]

Each is the folder of a checkout (`git worktree add --detach ../before HEAD`). Both run unwired.py of this checkout with
this interpreter, on one core, a fraction of a second each at a time. What counts is the ratio, at the least, in the
median, and in the median of neighbours; give BEFORE twice to see how far it strays by itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from processes import SERVER_CORE, end_on_sigterm

HERE = Path(__file__).parent
WARMING = 5


class Side:
    """One of the two, and what its rounds cost."""

    def __init__(self, number: int, checkout: Path, stream: bool) -> None:
        self.checkout = checkout
        self.cost: list[float] = []
        sources = [checkout / "core" / "src", *checkout.glob("plugins/*/*/src")]
        environ = {
            "PYTHONPATH": os.pathsep.join(map(str, sources)),
            "PYTHONPYCACHEPREFIX": str(HERE / "out" / f"pycache-{number}"),
            "PYTHONHASHSEED": "0",
        }
        command = ["taskset", "-c", str(SERVER_CORE), sys.executable, str(HERE / "unwired.py"), "--clock"]
        pipe, whole = subprocess.PIPE, {**os.environ, **environ}
        command += ["--stream"] if stream else []
        self.process = subprocess.Popen(command, env=whole, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def round(self) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        said = self.process.stdout.readline()
        if not said:
            sys.exit(f"{self.checkout} broke off")
        return float(said)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT")
    parser.add_argument("--stream", action="store_true", help="streams, by chunk, in place of buffered calls")
    parser.add_argument("--rounds", type=int, default=60, help="of each (60)")
    arguments = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as stack:
        sides: list[Side] = []
        for number, path in enumerate(arguments.checkouts):
            sides.append(side := Side(number, path.resolve(), arguments.stream))
            stack.callback(side.stop)
            for _ in range(WARMING):
                side.round()
        for number in range(arguments.rounds):
            for side in sides[:: -1 if number % 2 else 1]:
                side.cost.append(side.round())
    before, after = (side.cost for side in sides)
    for side in sides:
        print(f"{min(side.cost):8.2f} µs at the least, {median(side.cost):8.2f} in the median  {side.checkout}")
    pairs = median(new / old for old, new in zip(before, after, strict=True))
    print(f"ratio {min(after) / min(before):.3f}, {median(after) / median(before):.3f}, of neighbours {pairs:.3f}")


if __name__ == "__main__":
    main()
