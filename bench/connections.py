"""What a connection costs in memory: thousands that wait between two requests, and thousands of streams, on one worker.

    python bench/connections.py                    10,000 idle connections, 2,000 streams
    python bench/connections.py --idle 2000 --streams 500

The growth of the server's memory, divided by the number of connections; before it is measured, the server has served
some of each. Beside it, as the floor, the bare protocol (bare.py) with as many idle connections, on the same loop. Of
memory that the kernel holds for sockets nothing is counted. Fails above the targets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import asking
import bodies
import configs
import contestants
import load
import programs
from bare import loop_factory
from processes import LOAD_CORE, SERVER_CORE, Process, end_on_sigterm

HERE = Path(__file__).parent
OUT = HERE / "out"
IDLE_KB = 12.0
STREAM_KB = 40.0
AT_ONCE = 200
"""Connections that are made together."""
INTERVAL_US = 500_000
CHUNKS = 40


class Memory(NamedTuple):
    """Kilobytes of a process: resident, and of those its own."""

    resident: int
    own: int

    @classmethod
    def of(cls, pid: int) -> Memory:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
        return cls(int(fields["Rss"]), int(fields["Private_Clean"]) + int(fields["Private_Dirty"]))


class Found(NamedTuple):
    """Kilobytes a connection: by what is resident, and by what is the process's own; megabytes more than before when
    all had gone, after the first time and after the second. What the second adds to the first has leaked."""

    what: str
    number: int
    resident: float
    own: float
    left: tuple[float, float]

    def line(self, target: float | None) -> str:
        verdict = "" if target is None else f"  target {target:.0f}: {'met' if self.resident <= target else 'MISSED'}"
        return (
            f"{self.what:<20} {self.number:>6}  {self.resident:6.1f} KB resident, {self.own:6.1f} KB its own, each;"
            f" {self.left[0]:.1f} MB left when they had gone, {self.left[1]:.1f} the second time{verdict}"
        )


class Kept(asyncio.Protocol):
    """A connection that asks once and then waits."""

    def __init__(self, call: bytes) -> None:
        self._call = call
        self.answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._call)

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(data.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_result(False)


async def wave(port: int, count: int, call: bytes, pid: int) -> tuple[Memory, Memory]:
    """The server's memory with so many idle connections, and after they were closed."""
    loop = asyncio.get_running_loop()

    async def one() -> Kept:
        _, kept = await loop.create_connection(lambda: Kept(call), "127.0.0.1", port)
        async with asyncio.timeout(60):
            if not await kept.answered:
                raise ConnectionError("a call was not answered with 200")
        return kept

    connections: list[Kept] = []
    while len(connections) < count:
        connections += await asyncio.gather(*(one() for _ in range(min(AT_ONCE, count - len(connections)))))
    during = await settled(pid)
    for kept in connections:
        kept.transport.abort()
    return during, await settled(pid)


async def settled(pid: int) -> Memory:
    await asyncio.sleep(2.0)
    return Memory.of(pid)


def idle(name: str, contestant: contestants.Contestant, count: int) -> Found:
    call, pid = asking.request(bodies.call()), contestant.process.pid

    async def waves() -> Found:
        _, before = await wave(contestant.port, AT_ONCE, call, pid)
        during, after = await wave(contestant.port, count, call, pid)
        _, again = await wave(contestant.port, count, call, pid)
        return found(name, count, before, during, after, again)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(waves())


def found(what: str, number: int, before: Memory, during: Memory, after: Memory, again: Memory) -> Found:
    resident, own = (during.resident - before.resident) / number, (during.own - before.own) / number
    left = ((after.resident - before.resident) / 1024, (again.resident - before.resident) / 1024)
    return Found(what, number, resident, own, left)


def streams(gateway: contestants.Contestant, count: int, body: Path) -> Found:
    """Memory while so many streams are under way, all of which must come to their end."""
    pid = gateway.process.pid
    load.buffered(gateway.port, body.with_name("small.json"), gateway.headers, connections=32, seconds=1)
    _, before = flood(gateway.port, AT_ONCE, body, pid)
    during, after = flood(gateway.port, count, body, pid)
    _, again = flood(gateway.port, count, body, pid)
    return found("streams", count, before, during, after, again)


def flood(port: int, count: int, body: Path, pid: int) -> tuple[Memory, Memory]:
    """The server's memory with so many streams under way, and after all of them."""
    with reading(port, count, body) as client:
        until = time.monotonic() + 30
        while descriptors(pid) < 2 * count and time.monotonic() < until and client.poll() is None:
            time.sleep(0.1)
        time.sleep(3)
        during = Memory.of(pid)
    time.sleep(3)
    return during, Memory.of(pid)


@contextmanager
def reading(port: int, count: int, body: Path) -> Iterator[subprocess.Popen[str]]:
    """So many streams, begun at once; at the end of the block they are read to their end. Exits when one was not."""
    command = [str(programs.build("sse_client")), str(port), str(count), "1", "60", str(body), asking.PATH]
    client = subprocess.Popen(
        ["taskset", "-c", str(LOAD_CORE), *command, "Authorization: Bearer sk-bench"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield client
        said, complaints = client.communicate(timeout=120)
    finally:
        client.kill()
    outcome = json.loads(said.splitlines()[-1])
    if outcome["errors"] or outcome["streams"] != count or outcome["chunks"] != count * CHUNKS:
        sys.exit(f"streams were cut or lost: {outcome} {complaints[-300:]}")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def gateway(upstream: int) -> contestants.Contestant:
    port = contestants.free_port()
    file = configs.gateway(OUT / "connections.json", upstream=upstream, port=port, secure_port=None, edge=True)
    document = json.loads(file.read_text())
    document["config"]["backend"] = {"poolMaxSize": 16384}
    file.write_text(json.dumps(document))
    command: list[str | Path] = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    process = Process(command, core=SERVER_CORE, environ=contestants.BYTECODE, log=file.with_suffix(".log"), quiet=True)
    return contestants.ready(contestants.Contestant("agentgateway", process, port, dict(contestants.KEY)), 20)


def enough_files(count: int) -> None:
    """Raise the limit of open files, which the servers inherit. Exits where the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, OSError):
        sys.exit(f"{count} open files are needed, and {hard} allowed: ulimit -Hn {count}, or fewer connections")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections (10000)")
    parser.add_argument("--streams", type=int, default=2_000, help="concurrent streams (2000)")
    arguments = parser.parse_args()
    end_on_sigterm()
    enough_files(max(arguments.idle, 2 * arguments.streams) + 1000)
    OUT.mkdir(exist_ok=True)
    body = bodies.write(OUT / "bodies")["stream"]
    results: list[tuple[Found, float | None]] = []
    with ExitStack() as stack:
        mock = contestants.direct(INTERVAL_US, CHUNKS)
        stack.callback(mock.process.stop)
        floor = contestants.bare(SERVER_CORE)
        stack.callback(floor.process.stop)
        results.append((idle("idle, bare protocol", floor, arguments.idle), None))
        ours = gateway(mock.port)
        stack.callback(ours.process.stop)
        results.append((idle("idle", ours, arguments.idle), IDLE_KB))
        ours.process.stop()
        ours = gateway(mock.port)
        stack.callback(ours.process.stop)
        results.append((streams(ours, arguments.streams, body), STREAM_KB))
    for result, target in results:
        print(result.line(target))
    sys.exit(any(target is not None and result.resident > target for result, target in results))


if __name__ == "__main__":
    main()
