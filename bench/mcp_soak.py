"""Five hundred MCP sessions for some minutes, with a server that restarts and two reloads: every answer checked.

    python bench/mcp_soak.py                five minutes
    python bench/mcp_soak.py --minutes 0.5  shorter; what memory does is not judged below two

Clients of Streamable HTTP, many of which listen, some of the transport of 2024-11-05, and a few with a program each.
They ask at a modest pace, whole and streamed, and some leave in the middle of a stream. Each call carries a word that
has to come back. Nothing may be wrong with any answer; only while the server is away may calls fail, with an error of
JSON-RPC. Memory must not grow after the warm-up, and nothing may be left open once everybody has gone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contestants
import machine
from bare import loop_factory
from mcp import wait_for
from mcp_soak_clients import Program, Session, Streamed, Tally
from processes import Process, end_on_sigterm, tree
from soak import GROWTH_MB, IDLE_SECONDS, PROC, WARM_UP, Watch

OUT = Path(__file__).parent / "out"
SERVERS = Path(__file__).with_name("mcp_soak_servers.py")
HTTP, LISTENING, SSE, STDIO = 290, 150, 50, 10
PACE = 6.0
"""Seconds between two messages of a client, on average."""
SAMPLE_SECONDS = 2.0
JUDGED_SECONDS = 120
RELOADS_AT, RESTART_AT = (0.15, 0.75), 0.45
AWAY_SECONDS = 1.5


@dataclass
class Soak:
    """One run: the gateway, the server behind it, and what happened."""

    gateway: Process
    server: Process
    stack: ExitStack
    file: Path
    port: int
    upstream: int
    seconds: float
    tally: Tally = field(default_factory=Tally)
    watch: Watch = field(default_factory=Watch)
    events: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    children: tuple[int, int] = (0, 0)
    most: int = 0
    began: float = 0.0

    async def run(self) -> None:
        await self._first()
        self.before, before = await self._calm(), len(list(tree(self.gateway.pid)))
        running = [asyncio.create_task(client.run()) for client in self._clients(self.tally)]
        self.began = time.monotonic()
        await asyncio.gather(self._disturb(), self._sample())
        self.tally.over = True
        for ended in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(ended, BaseException):
                self.problems.append(f"a client ended: {ended!r}")
        self.after = await self._calm(len(self.before))
        self.children = before, len(list(tree(self.gateway.pid)))

    def _clients(self, tally: Tally, share: float = 1.0, pace: float = PACE) -> list[Session]:
        def some(count: int) -> range:
            return range(max(1, round(count * share)))

        return [
            *(Session(self.port, "/http/mcp", tally, pace) for _ in some(HTTP)),
            *(Session(self.port, "/http/mcp", tally, pace, listens=True) for _ in some(LISTENING)),
            *(Streamed(self.port, "/http/sse", tally, pace) for _ in some(SSE)),
            *(Program(self.port, "/stdio/mcp", tally, pace) for _ in some(STDIO)),
        ]

    async def _first(self) -> None:
        """What is made once and kept, by one client of each kind."""
        tally = Tally()
        running = [asyncio.create_task(client.run()) for client in self._clients(tally, 0.01, 0.2)]
        while len(tally.right) < 5:
            await asyncio.sleep(0.1)
            if tally.wrong:
                raise SystemExit(f"nothing works: {tally.wrong[0]}")
        tally.over = True
        await asyncio.gather(*running)

    async def _calm(self, wanted: int = 0) -> list[str]:
        """What is open after everybody has gone."""
        await asyncio.sleep(IDLE_SECONDS + 3)
        await self._wait(lambda: len(self._open()) <= wanted, 15 if wanted else 0)
        return self._open()

    def _open(self) -> list[str]:
        found = []
        for entry in (PROC / str(self.gateway.pid) / "fd").iterdir():
            try:
                found.append(os.readlink(entry).partition(":")[0])
            except OSError:
                continue
        return sorted(found)

    def _note(self, what: str) -> None:
        self.events.append(f"{time.monotonic() - self.began:4.0f} s  {what}")
        print(self.events[-1], file=sys.stderr, flush=True)

    async def _disturb(self) -> None:
        deeds = [(RELOADS_AT[0], self._policy), (RESTART_AT, self._restart), (RELOADS_AT[1], self._backend)]
        for share, deed in deeds:
            await asyncio.sleep(max(0.0, self.began + share * self.seconds - time.monotonic()))
            await deed()
        await asyncio.sleep(max(0.0, self.began + self.seconds - time.monotonic()))

    async def _policy(self) -> None:
        document = json.loads(self.file.read_text())
        document["routes"][0]["policies"] = {"responseHeaderModifier": {"set": {"x-soak": "2"}}}
        await self._reload(document, "a policy")

    async def _backend(self) -> None:
        document = json.loads(self.file.read_text())
        for route in document["routes"]:
            route["backends"][0]["mcp"]["timeout"] = "31s"
        await self._reload(document, "every backend")

    async def _reload(self, document: Any, what: str) -> None:
        said = self._said("configuration reloaded")
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.replace(self.file)
        if await self._wait(lambda: self._said("configuration reloaded") > said, 30):
            self._note(f"configuration loaded again, {what} changed")
        else:
            self.problems.append("a reload took more than 30 s")

    async def _restart(self) -> None:
        """Kill the server, and start another one, which knows none of the sessions."""
        self.tally.down = (time.monotonic(), float("inf"))
        self.server.stop()
        await asyncio.sleep(AWAY_SECONDS)
        self.server = start_server(self.stack, self.upstream)
        await asyncio.to_thread(wait_for, self.upstream)
        self.tally.down = (self.tally.down[0], time.monotonic())
        self._note(f"server killed and back after {self.tally.down[1] - self.tally.down[0]:.1f} s")

    async def _sample(self) -> None:
        while (now := time.monotonic() - self.began) < self.seconds:
            self.watch.look([self.gateway.pid], now)
            self.most = max(self.most, sum(self.tally.open.values()))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _wait(self, condition: Any, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.1)
        return True

    def _said(self, text: str) -> int:
        return self.gateway.log.read_text().count(text) if self.gateway.log is not None else 0

    def judge(self) -> None:
        tally = self.tally
        if tally.wrong:
            self.problems.append(f"{len(tally.wrong)} wrong, the first: {tally.wrong[:3]}")
        if silent := [how for how in tally.forgiven if how.startswith("not told")]:
            self.problems.append(f"while the server was away, calls ended without an error: {silent[:3]}")
        growth = self.watch.growth(self.gateway.pid, WARM_UP * self.seconds)
        if self.seconds >= JUDGED_SECONDS and growth is not None and growth > GROWTH_MB:
            self.problems.append(f"the gateway grew by {growth:.1f} MB")
        if len(self.after) > len(self.before):
            self.problems.append(f"open afterwards: {self.after}, before: {self.before}")
        if self.children[1] > self.children[0]:
            self.problems.append(f"{self.children[1]} processes afterwards, {self.children[0]} before")
        log = self.gateway.log.read_text() if self.gateway.log is not None else ""
        if bad := [line for line in log.splitlines() if "ERROR" in line or "Traceback" in line or "never" in line]:
            self.problems.append(f"{len(bad)} complaints in the log, the first: {bad[0][:200]}")

    def report(self) -> str:
        facts = machine.facts()
        lines = [
            f"{facts['date']}; {facts['cpu']}, {facts['cores']} cores; Python {facts['python']}; {self.seconds:.0f} s",
            *self.events,
            "",
            "| what | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in self._rows()),
            "",
            *(f"  {wrong}" for wrong in self.tally.wrong[:20]),
            *(f"PROBLEM: {problem}" for problem in self.problems),
            "everything held" if not self.problems else "NOT everything held",
        ]
        return "\n".join(lines)

    def _rows(self) -> Iterator[tuple[str, str]]:
        tally, seen = self.tally, self.watch.samples[self.gateway.pid]
        growth = self.watch.growth(self.gateway.pid, WARM_UP * self.seconds)
        yield "sessions open at most, and opened in all", f"{self.most}, {tally.sessions:,}"
        for kind, number in sorted(tally.right.items()):
            yield f"right answers, {kind}", f"{number:,}"
        yield "notifications heard on GET streams", f"{tally.heard:,}"
        yield "clients that left in the middle of a stream", f"{tally.left:,}"
        yield "failed while the server was away", ", ".join(f"{many} {how}" for how, many in tally.forgiven.items())
        yield "wrong", str(len(tally.wrong))
        most = max(own for _, own in seen)
        yield "memory at first, at most, at the end, MB", f"{seen[0][1]:.1f}, {most:.1f}, {seen[-1][1]:.1f}"
        tenths = seen[:: max(1, len(seen) // 10)]
        yield "memory over time, MB", ", ".join(f"{own:.1f} ({at:.0f} s)" for at, own in tenths)
        yield "growth after the warm-up, MB", "too short to judge" if growth is None else f"{growth:+.1f}"
        yield "open files before, after", f"{len(self.before)}, {len(self.after)}"
        yield "processes before, after", f"{self.children[0]}, {self.children[1]}"
        yield "CPU of the gateway and its programs", f"{self.gateway.cpu():.0f} s"


def start_server(stack: ExitStack, port: int) -> Process:
    process = Process([sys.executable, SERVERS, "http", str(port)], core=None)
    stack.callback(process.stop)
    return process


def start(stack: ExitStack, seconds: float) -> Soak:
    OUT.mkdir(exist_ok=True)
    upstream, port, file = contestants.free_port(), contestants.free_port(), OUT / "mcp_soak.json"
    targets = {
        "http": {"name": "http", "mcp": {"host": f"http://127.0.0.1:{upstream}/mcp"}},
        "stdio": {"name": "stdio", "stdio": {"cmd": sys.executable, "args": ["-S", str(SERVERS), "stdio"]}},
    }
    routes = [
        {"matches": [{"path": {"pathPrefix": f"/{name}"}}], "backends": [{"mcp": {"targets": [target]}}]}
        for name, target in targets.items()
    ]
    ports = dict.fromkeys(("adminAddr", "statsAddr", "readinessAddr"), "off")
    document = {
        "config": {**ports, "backend": {"poolIdleTimeout": f"{IDLE_SECONDS}s"}},
        "gateways": {"default": {"port": port, "address": "127.0.0.1"}},
        "routes": routes,
    }
    file.write_text(json.dumps(document))
    server = start_server(stack, upstream)
    wait_for(upstream)
    command: list[str | Path] = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    process = Process(command, core=None, environ=contestants.BYTECODE, log=OUT / "mcp_soak.log", quiet=True)
    stack.callback(process.stop)
    wait_for(port)
    return Soak(process, server, stack, file, port, upstream, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="under load (5)")
    arguments = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as stack:
        soak = start(stack, min(arguments.minutes, 60) * 60)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(soak.run())
        soak.judge()
        print(soak.report())
    sys.exit(bool(soak.problems))


if __name__ == "__main__":
    main()
