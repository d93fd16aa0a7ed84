"""Ten minutes under load, with reloads and a worker that dies: every answer checked, memory and sockets watched.

    python bench/soak.py                  600 seconds
    python bench/soak.py --seconds 60     shorter; what memory does is not judged below 300 seconds

Four workers get whole answers, streams, uploads in pieces, and clients that leave, at 60 % of what they answered as
fast as they could in the first seconds. The configuration is changed and loaded again three times, and one worker is
killed. Nothing may be wrong with any answer; only connections that were open on the killed worker may end early, and
each of them once. Memory must not grow after the warm-up, and afterwards no socket may be left. Everything shares this
machine's cores, load and all. The report goes to standard output; the exit code says whether all of it held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import configs
import contestants
import echoes
import machine
from bare import loop_factory
from clients import Client, Tally
from processes import Process, end_on_sigterm

OUT = Path(__file__).parent / "out"
PROC = Path("/proc")
WORKERS = 4
CLIENTS = 200
SHARE = 0.6
PROBE_SECONDS = 10.0
SAMPLE_SECONDS = 5.0
WARM_UP = 0.25
"""Of the whole time, before memory is judged; the first reload falls into it."""
RELOADS_AT = (0.15, 0.5, 0.75)
KILL_AT = 0.35
GROWTH_MB = 4.0
JUDGED_SECONDS = 300
INTERVAL_US = 20_000
IDLE_SECONDS = 3
"""After which the gateway closes upstream connections that nobody uses."""


@dataclass
class Watch:
    """Memory of each worker over time, in MB of its own pages, by pid."""

    samples: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def look(self, pids: list[int], now: float) -> None:
        for pid in pids:
            if (own := own_memory(pid)) is not None:
                self.samples.setdefault(pid, []).append((now, own))

    def growth(self, pid: int, since: float) -> float | None:
        """MB between the first and the last third after `since`; for one that came later, after as long again."""
        seen = self.samples[pid]
        since = max(since, seen[0][0] + since if seen[0][0] > 1 else since)
        later = [own for at, own in seen if at >= since]
        third = len(later) // 3
        return statistics.median(later[-third:]) - statistics.median(later[:third]) if third >= 3 else None


@dataclass
class Soak:
    """One run: the gateway, its clients, and what happened."""

    gateway: Process
    file: Path
    port: int
    seconds: float
    tally: Tally = field(default_factory=Tally)
    watch: Watch = field(default_factory=Watch)
    clients: list[Client] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    capacity: float = 0.0
    rate: float = 0.0
    idle_sockets: int = 0
    began: float = 0.0

    @property
    def workers(self) -> list[int]:
        return children(self.gateway.pid)

    async def run(self) -> None:
        self.idle_sockets = max(sockets(pid) for pid in self.workers)
        self.clients = [Client(number, self.port, self.tally) for number in range(CLIENTS)]
        running = [asyncio.create_task(client.run()) for client in self.clients]
        self.capacity = await self._paced(0.0, PROBE_SECONDS)
        for client in self.clients:
            client.pause = CLIENTS / (SHARE * self.capacity)
        self.began = time.monotonic()
        before = self.tally.total + self.tally.left
        await asyncio.gather(self._disturb(), self._sample())
        self.rate = (self.tally.total + self.tally.left - before) / (time.monotonic() - self.began)
        for client in self.clients:
            client.over = True
        await asyncio.gather(*running)
        await self._calm()

    async def _paced(self, pause: float, seconds: float) -> float:
        """Calls a second."""
        for client in self.clients:
            client.pause = pause
        await asyncio.sleep(seconds / 4)
        before, began = self.tally.total, time.monotonic()
        await asyncio.sleep(seconds)
        return (self.tally.total - before) / (time.monotonic() - began)

    def _note(self, what: str) -> None:
        self.events.append(f"{time.monotonic() - self.began:5.0f} s  {what}")
        print(self.events[-1], file=sys.stderr, flush=True)

    async def _until(self, share: float) -> None:
        await asyncio.sleep(max(0.0, self.began + share * self.seconds - time.monotonic()))

    async def _disturb(self) -> None:
        for share, deed in sorted([(at, self._reload) for at in RELOADS_AT] + [(KILL_AT, self._kill)], key=_first):
            await self._until(share)
            await deed()
        await self._until(1.0)

    async def _reload(self) -> None:
        """Change a limit, and wait until every worker says that it has the new configuration."""
        document = json.loads(self.file.read_text())
        (limit,) = document["llm"]["policies"]["localRateLimit"]
        limit["maxTokens"] += 1
        said = self._said("configuration reloaded")
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.replace(self.file)
        if await self._wait(lambda: self._said("configuration reloaded") >= said + WORKERS, 30):
            self._note("configuration loaded again by every worker")
        else:
            self.problems.append("a reload did not reach every worker within 30 s")

    async def _kill(self) -> None:
        """Stop one worker, see which of our connections it has, and kill it."""
        before = self.workers
        victim = before[0]
        os.kill(victim, signal.SIGSTOP)
        ports = {peer for peer in peers(victim, self.port)}
        self.tally.doomed |= ports
        os.kill(victim, signal.SIGKILL)
        self._note(f"worker {victim} killed, with {len(ports)} connections of clients")
        alive = await self._wait(lambda: len(set(self.workers) - {victim}) == WORKERS, 30)
        if alive:
            (fresh,) = set(self.workers) - set(before)
            self._note(f"worker {fresh} in its place")
        else:
            self.problems.append("the killed worker was not replaced within 30 s")

    async def _sample(self) -> None:
        while (now := time.monotonic() - self.began) < self.seconds:
            self.watch.look(self.workers, now)
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _calm(self) -> None:
        """After everybody has gone: sockets that are left."""
        await asyncio.sleep(IDLE_SECONDS + 2)
        await self._wait(lambda: all(sockets(pid) <= self.idle_sockets for pid in self.workers), 10)
        for pid in self.workers:
            if (left := sockets(pid) - self.idle_sockets) > 0:
                self.problems.append(f"worker {pid} has {left} more sockets than before the load")
            if left := len(list(peers(pid, self.port))):
                self.problems.append(f"worker {pid} has {left} connections of clients, who have gone")

    async def _wait(self, condition: object, seconds: float) -> bool:
        until = time.monotonic() + seconds
        assert callable(condition)
        while not condition():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.05)
        return True

    def _said(self, text: str) -> int:
        log = self.gateway.log
        return log.read_text().count(text) if log is not None else 0

    def judge(self) -> None:
        tally = self.tally
        if tally.wrong:
            self.problems.append(f"{tally.wrong} wrong answers")
        if self.seconds >= JUDGED_SECONDS:
            for pid in self.watch.samples:
                growth = self.watch.growth(pid, WARM_UP * self.seconds)
                if growth is not None and growth > GROWTH_MB:
                    self.problems.append(f"worker {pid} grew by {growth:.1f} MB")
        log = self.gateway.log.read_text() if self.gateway.log is not None else ""
        bad = [line for line in log.splitlines() if re.search(r"ERROR|Traceback|WARNING", line)]
        bad = [line for line in bad if "another one comes" not in line]
        if bad:
            self.problems.append(f"{len(bad)} complaints in the log, the first: {bad[0][:200]}")

    def report(self) -> str:
        tally, facts = self.tally, machine.facts()
        waits = sorted(tally.latencies)
        lines = [
            f"{facts['date']}; {facts['cpu']}, {facts['cores']} cores; Python {facts['python']}; {WORKERS} workers, "
            f"{CLIENTS} clients, {self.seconds:.0f} s at {self.rate:,.0f} calls/s "
            f"({self.rate / self.capacity:.0%} of the {self.capacity:,.0f} that were reached)",
            "answers: " + ", ".join(f"{tally.answered[kind]:,} {kind.name.lower()}" for kind in tally.answered),
            f"clients that left: {tally.left:,}; connections cut by the killed worker: {tally.forgiven} of "
            f"{tally.forgiven + len(tally.doomed)} that it had; wrong: {tally.wrong}",
            f"whole answers: p50 {waits[len(waits) // 2]:.4f} s, p99 {waits[len(waits) * 99 // 100]:.4f} s",
            *self.events,
            *self._memory(),
            f"sockets of a worker: {self.idle_sockets} before, {max(map(sockets, self.workers))} after",
            *(f"  {error}" for error in tally.errors),
            *(f"PROBLEM: {problem}" for problem in self.problems),
            "everything held" if not self.problems else "NOT everything held",
        ]
        return "\n".join(lines)

    def _memory(self) -> Iterator[str]:
        for pid, seen in self.watch.samples.items():
            growth = self.watch.growth(pid, WARM_UP * self.seconds)
            told = "too short to judge" if growth is None else f"{growth:+.1f} MB after the warm-up"
            yield f"worker {pid}: {seen[0][1]:.1f} MB at first, {seen[-1][1]:.1f} at the end; {told}"


def _first(pair: tuple[float, object]) -> float:
    return pair[0]


def children(pid: int) -> list[int]:
    return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def own_memory(pid: int) -> float | None:
    """MB that a process has written and no other one has. Pages of libraries that it has only read are its own, too, as
    long as no other process maps them: some 10 MB come and go with whoever else runs Python on the machine."""
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    return sum(map(int, re.findall(r"^Private_Dirty:\s+(\d+)", text, re.MULTILINE))) / 1024


def inodes(pid: int) -> Iterator[int]:
    """Of its sockets."""
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
                yield int(found[1])
        except OSError:
            continue


def sockets(pid: int) -> int:
    return sum(1 for _ in inodes(pid))


def peers(pid: int, port: int) -> Iterator[int]:
    """The clients' ports of the connections to `port` that a process has."""
    own = set(inodes(pid))
    for table in ("tcp", "tcp6"):
        for line in (PROC / str(pid) / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            here, there = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            if here == port and there and int(fields[9]) in own:
                yield there


def start(stack: ExitStack, seconds: float) -> Soak:
    OUT.mkdir(exist_ok=True)
    mock = contestants.direct(INTERVAL_US, echoes.CHUNKS)
    stack.callback(mock.process.stop)
    port, file = contestants.free_port(), OUT / "soak.json"
    configs.gateway(file, upstream=mock.port, port=port, secure_port=None, edge=True, workers=WORKERS)
    document = json.loads(file.read_text())
    document["config"]["backend"] = {"poolIdleTimeout": f"{IDLE_SECONDS}s"}
    file.write_text(json.dumps(document))
    command: list[str | Path] = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    process = Process(command, core=None, environ=contestants.BYTECODE, log=OUT / "soak.log", quiet=True)
    stack.callback(process.stop)
    contestants.ready(contestants.Contestant("agentgateway", process, port, dict(contestants.KEY)), 30)
    time.sleep(IDLE_SECONDS + 2)
    return Soak(process, file, port, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="under load (600)")
    arguments = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as stack:
        soak = start(stack, arguments.seconds)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(soak.run())
        soak.judge()
        print(soak.report())
    sys.exit(bool(soak.problems))


if __name__ == "__main__":
    main()
