"""Several processes on one port: births, deaths and successions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

PROGRAM = Path(__file__).with_name("program.py")


class Program:
    """The running program, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.said = asyncio.Condition()
        self.listening = asyncio.create_task(self._listen())
        self.client = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0), timeout=20)

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self.said:
                self.lines.append(line.decode().rstrip())
                self.said.notify_all()

    async def until(self, text: str) -> str:
        async with asyncio.timeout(20), self.said:
            while True:
                for line in self.lines:
                    if text in line:
                        return line
                await self.said.wait()

    async def url(self, of: str) -> str:
        return (await self.until(f"({of})")).split()[2]

    async def ready(self) -> None:
        url = await self.url("readiness")
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await self.client.get(f"{url}/healthz/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    async def get(self, path: str = "/") -> str:
        return (await self.client.get(await self.url("gateway default") + path)).text

    async def pids(self, count: int) -> set[int]:
        """Who answers, until so many did."""
        found: set[int] = set()
        async with asyncio.timeout(20):
            while len(found) < count:
                found.update(int(pid) for pid in await asyncio.gather(*(self.get() for _ in range(8))))
        return found

    async def workers(self, count: int) -> list[int]:
        """The pids of the workers that have become ready, once there were so many."""
        async with asyncio.timeout(20), self.said:
            while len(ready := [line for line in self.lines if line.endswith(": ready")]) < count:
                await self.said.wait()
        return [int(line.split()[1].rstrip(":")) for line in ready]

    async def metric(self, name: str) -> float:
        shown = (await self.client.get(await self.url("stats") + "/metrics")).text
        samples = [s for family in text_string_to_metric_families(shown) for s in family.samples]
        return sum(sample.value for sample in samples if sample.name == name)

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            return await self.process.wait()

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.listening
        await self.client.aclose()


Running = Callable[..., Awaitable[Program]]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    started: list[Program] = []

    async def start(*, wait: bool = True, **settings: Any) -> Program:
        defaults = {f"{name}Addr": "127.0.0.1:0" for name in ("admin", "stats", "readiness")} | {"workers": 2}
        command = [sys.executable, str(PROGRAM), "", json.dumps(defaults | settings)]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        started.append(Program(process))
        if wait:
            await started[-1].ready()
        return started[-1]

    yield start
    for program in started:
        await program.close()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter, when it ends between opening and reading
        return False
    return state != "Z"


async def gone(pids: set[int]) -> None:
    async with asyncio.timeout(20):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.02)


async def test_all_workers_serve_one_port_and_end_with_exit_code_0(running):
    program = await running()
    pids = await program.pids(2)
    assert program.process.pid not in pids
    assert sum("gateway default" in line for line in program.lines) == 1
    assert await program.metric("agentgateway_workers") == 2
    program.process.send_signal(signal.SIGTERM)
    assert await program.ended() == 0
    await gone(pids)


async def test_metrics_that_the_parent_counts_can_be_left_out(running):
    program = await running(metrics={"remove": ["workers"]})
    shown = (await program.client.get(await program.url("stats") + "/metrics")).text
    assert "agentgateway_worker_restarts_total" in shown
    assert "agentgateway_workers" not in shown


async def test_a_killed_worker_is_replaced_while_the_other_serves(running):
    program = await running()
    before = await program.pids(2)
    with pytest.raises(httpx.TransportError):
        await program.get("/crash")
    answers = await asyncio.gather(*(program.get() for _ in range(50)))
    assert len(before & {int(pid) for pid in answers}) == 1
    after = await program.pids(2)
    assert len(before & after) == 1
    await program.until("SIGKILL")
    assert await program.metric("agentgateway_worker_restarts_total") == 1


async def answers(program: Program, count: int) -> list[int]:
    """Who answers that many clients, each on a connection of its own, all of them there at once."""

    async def ask(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        reply = await reader.read()
        writer.close()
        return int(reply.rpartition(b"\r\n")[2])

    port = int((await program.url("gateway default")).rpartition(":")[2])
    async with asyncio.timeout(30):
        return await asyncio.gather(*(ask(port) for _ in range(count)))


async def test_connections_spread_evenly(running):
    program = await running(workers=4)
    await program.workers(4)
    shares = Counter(await answers(program, 400))
    assert len(shares) == 4 and min(shares.values()) >= 40, shares  # 100 each, give or take 9 (one standard deviation)


async def test_what_waits_in_the_queue_of_a_worker_that_dies_is_answered(running):
    program = await running()
    before = set(await program.workers(2))
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(answers(program, 40))
    await asyncio.sleep(0.2)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert not before & set(await waiting)


async def test_others_serve_for_a_worker_whose_successors_fail(running):
    program = await running(workers=4, fail=5)
    victim, *others = await program.workers(4)
    os.kill(victim, signal.SIGKILL)
    await program.until("SIGKILL")
    assert set(await answers(program, 100)) <= set(others)
    await program.until("(exit code 3)")
    assert set(await answers(program, 100)) <= set(others)


async def test_there_is_nobody_left_out_when_workers_are_many(running):
    program = await running(workers=35)
    await program.workers(35)
    assert len(set(await answers(program, 200))) >= 25


async def test_a_process_that_cannot_be_made_is_tried_again_while_the_others_serve(running):
    program = await running(unborn=[3, 4])
    victim, other = await program.workers(2)
    os.kill(victim, signal.SIGKILL)
    await program.until("no worker can be started (Resource temporarily unavailable), the next try is in 0.4 s")
    assert set(await answers(program, 20)) <= {other}
    await program.until("the next try is in 0.8 s")
    assert len(await program.workers(3)) == 3
    assert len(await program.pids(2)) == 2


async def test_a_replacement_that_cannot_be_made_leaves_the_old_ones(running):
    program = await running(unborn=[3])
    before = set(await program.workers(2))
    program.process.send_signal(signal.SIGHUP)
    await program.until("the old ones stay")
    assert set(await answers(program, 20)) <= before
    program.process.send_signal(signal.SIGHUP)
    await gone(before)


async def test_a_second_gateway_does_not_share_the_port_of_the_first(running):
    first = await running()
    port = int((await first.url("gateway default")).rpartition(":")[2])
    second = await running(wait=False, ports=[port])
    assert await second.ended() == 1
    assert "address already in use" in await second.until("cannot listen")


async def test_when_every_worker_dies_their_clients_wait_for_the_next(running):
    program = await running()
    before = await program.pids(2)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert int(await program.get()) not in before


async def test_counters_do_not_go_back_when_workers_come_and_go(running):
    program = await running()
    await program.pids(2)
    assert await program.metric("agentgateway_born_total") == 2
    seen = await program.metric("agentgateway_downstream_connections_total")
    await program.pids(2)
    assert await program.metric("agentgateway_downstream_connections_total") > seen
    seen = await program.metric("agentgateway_downstream_connections_total")
    with pytest.raises(httpx.TransportError):
        await program.get("/crash")
    await program.pids(2)
    assert await program.metric("agentgateway_born_total") == 3
    assert await program.metric("agentgateway_downstream_connections_total") > seen


async def test_sighup_replaces_all_workers_without_refusing_anybody(running):
    program = await running(connectionTerminationDeadline="5s")
    before = await program.pids(2)
    stream = asyncio.create_task(program.get("/stream?60"))
    stop = asyncio.Event()
    answered = 0

    async def knock() -> None:
        nonlocal answered
        while not stop.is_set():
            assert (await program.get()).isdigit()
            answered += 1

    knocking = [asyncio.create_task(knock()) for _ in range(4)]
    program.process.send_signal(signal.SIGHUP)
    await gone(before)
    stop.set()
    await asyncio.gather(*knocking)
    assert answered > 0
    assert (await stream).split() == [str(number) for number in range(60)]
    assert not before & await program.pids(2)


async def test_draining_lets_streams_end(running):
    program = await running(connectionTerminationDeadline="10s")
    stream = asyncio.create_task(program.get("/stream?30"))
    await asyncio.sleep(0.2)
    program.process.send_signal(signal.SIGTERM)
    assert (await stream).split()[-1] == "29"
    assert await program.ended() == 0


async def test_what_outlives_the_deadline_is_cut_and_the_exit_code_is_0(running):
    program = await running(connectionTerminationDeadline="200ms")
    sleeper = asyncio.create_task(program.get("/sleep?60"))
    await asyncio.sleep(0.1)
    program.process.send_signal(signal.SIGTERM)
    assert await program.ended() == 0
    with pytest.raises(httpx.TransportError):
        await sleeper


async def test_a_second_signal_ends_everything_at_once(running):
    program = await running(connectionTerminationDeadline="60s")
    pids = await program.pids(2)
    sleeper = asyncio.create_task(program.get("/sleep?60"))
    await asyncio.sleep(0.1)
    program.process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.1)
    program.process.send_signal(signal.SIGINT)
    assert await program.ended() == 1
    await gone(pids)
    with pytest.raises(httpx.TransportError):
        await sleeper


async def test_workers_do_not_outlive_their_parent_and_clean_up_after_it(running, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = await running()
    pids = await program.pids(2)
    program.process.kill()
    await gone(pids)
    assert list(tmp_path.iterdir()) == []


async def test_an_address_in_use_ends_the_start_with_exit_code_1(running):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = await running(wait=False, ports=[port])
        assert await program.ended() == 1
        assert "address already in use" in await program.until("cannot listen")


async def test_workers_that_cannot_start_end_the_program_with_their_exit_code(running):
    program = await running(wait=False, fail=1)
    assert await program.ended() == 3


async def test_the_admin_port_speaks_for_the_workers(running):
    program = await running()
    admin = await program.url("admin")
    assert (await program.client.get(f"{admin}/config_dump")).json() == {"config": {"ports": [0]}}
    assert (await program.client.post(f"{admin}/logging?level=debug")).json() == {"level": "debug"}


async def test_the_folder_that_workers_share_is_removed(running, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = await running()
    assert len(list(tmp_path.iterdir())) == 1
    program.process.send_signal(signal.SIGTERM)
    assert await program.ended() == 0
    assert list(tmp_path.iterdir()) == []
