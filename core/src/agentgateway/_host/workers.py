"""N processes on one set of ports, and the parent that keeps them.

The parent serves no traffic. It opens every listening socket and lends it to the workers, so that a connection waits
in one queue for whichever worker takes it first: when a worker dies, is replaced or not yet there, nothing is lost but
what it had accepted. (Sockets of their own, by SO_REUSEPORT, would spread connections a little more evenly, and lose
the queue of each worker that ends.) It starts workers by `fork`, so that they share the memory of what is imported.

- A worker that ends without being told is replaced: at once, then with growing pauses while that goes on.
- SIGHUP replaces them one by one: a new one is started, is ready, then the old one drains.
- SIGTERM and SIGINT drain them all; a second one kills. The exit code is 0.
- A worker whose parent is gone drains and ends.

The admin ports are the parent's: readiness means that a worker is ready; metrics are those of all workers, ended ones
included, so that counters never go back.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentgateway._host.admin_ports import AdminPorts, set_level
from agentgateway._host.channel import Channel, ChannelClosed, Fields
from agentgateway._host.config import StaticConfig
from agentgateway._host.forking import Work, Worker, fork
from agentgateway._host.metrics import Metrics, Snapshot, lasting, merge
from agentgateway._host.shared_sockets import SharedSockets

logger = logging.getLogger("agentgateway.workers")

READY_SECONDS = 60.0
LONG_LIFE = 10.0
"""A worker that lived so many seconds did not fail at starting: its successor comes at once."""
LONGEST_PAUSE = 10.0
LEAVE_SECONDS = 3.0
"""What a worker may need beyond its drain before it is killed."""
ANSWER_SECONDS = 2.0


class Slot:
    """A place for one worker, whoever it is at the moment."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.failures = 0


class Supervisor:
    """Keeps `count` workers running `work`. `run` is its whole life; to the admin ports it is all of them together."""

    def __init__(self, count: int, work: Work, settings: StaticConfig) -> None:
        self._work = work
        self._settings = settings
        self._slots = [Slot() for _ in range(count)]
        self._workers: list[Worker] = []
        self._shared = SharedSockets(ipv6=settings.enable_ipv6)
        self._folder = Path(tempfile.mkdtemp(prefix="agentgateway-"))
        self._due: list[asyncio.Future[Worker]] = []
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replacements = 0
        self._draining = False
        self._over = False
        self._code = 0
        self._born = 0
        self._level: str | None = None
        self._retired: Snapshot = []
        self._metrics = Metrics()
        self._restarts = self._metrics.counter(
            "agentgateway_worker_restarts_total", "Workers replaced after they died."
        )
        self._metrics.gauge("agentgateway_workers", "Workers that serve.", (), lambda: {(): len(self._serving())})

    def run(self) -> int:
        """Until the last worker has ended; the exit code. Raises `CannotListen` for the admin ports."""
        ports = AdminPorts(self._settings)
        loop = asyncio.new_event_loop()  # never uvloop, which must not be forked
        try:
            ports.open()
            loop.run_until_complete(self._begin())
            self._fork_due()
            loop.run_until_complete(self._show(ports))
            while not self._over:
                self._fork_due()
                loop.run_until_complete(self._until_due())
            loop.run_until_complete(self._end(ports))
        finally:
            loop.close()
            self._shared.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._code

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        loop.add_signal_handler(signal.SIGHUP, self.replace)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        for slot in self._slots:
            self._spawn(self._keep(slot))
        await asyncio.sleep(0)

    async def _show(self, ports: AdminPorts) -> None:
        ports.serve(self)

    async def _until_due(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def _end(self, ports: AdminPorts) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await ports.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- births ------------------------------------------------------------------------------------------------------

    def _fork_due(self) -> None:
        """Outside of the event loop."""
        due, self._due = self._due, []
        for waiting in due:
            if self._draining:
                waiting.cancel()
            else:
                waiting.set_result(self._fork())

    def _fork(self) -> Worker:
        self._born += 1
        worker = fork(self._work, self._born, self._folder)
        self._workers.append(worker)
        return worker

    async def _start(self) -> Worker:
        """A new worker, not ready yet."""
        waiting: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._due.append(waiting)
        self._wake.set()
        worker = await waiting
        worker.channel = await Channel.over(worker.control, functools.partial(self._answer, worker))
        worker.listening = self._spawn(worker.channel.run())
        if self._level is not None:
            worker.channel.tell("level", level=self._level)
        return worker

    async def _keep(self, slot: Slot) -> None:
        """A worker in that slot, as long as the gateway serves."""
        slot.worker = worker = await self._start()
        while True:
            await worker.gone.wait()
            if self._draining:
                return
            if slot.worker is not worker:
                worker = slot.worker
                continue
            if not worker.ready.is_set() and not any(other.ready.is_set() for other in self._workers):
                self._code = worker.code or 1  # it said why
                await self._drain()
                return
            slot.failures = 0 if worker.age > LONG_LIFE else slot.failures + 1
            pause = min(LONGEST_PAUSE, 0.1 * 2.0**slot.failures) if slot.failures > 1 else 0.0
            logger.error("worker %d ended (%s), another one comes in %.1f s", worker.pid, worker.end, pause)
            await asyncio.sleep(pause)
            self._restarts.add(())
            slot.worker = worker = await self._start()

    # --- ends --------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.gone.is_set():
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    worker.code = os.waitstatus_to_exitcode(status)
                    worker.gone.set()
                    self._spawn(self._bury(worker))

    async def _bury(self, worker: Worker) -> None:
        """Keep what it counted, close what it alone had open."""
        if worker.listening is not None:
            await asyncio.wait([worker.listening])
        self._workers.remove(worker)
        self._retired = merge([self._retired, lasting(worker.metrics)])
        if self._serving():  # else they are kept for whoever comes next
            for key in worker.holds:
                self._shared.take_back(key, self._workers)
        worker.pipe.close()
        if worker.channel is not None:
            await worker.channel.close()

    def replace(self) -> None:
        """Replace every worker by a new one, one at a time."""
        self._replacements += 1
        if self._replacements == 1:
            self._spawn(self._replace())

    async def _replace(self) -> None:
        while self._replacements and not self._draining:
            asked = self._replacements
            for slot in self._slots:
                if self._draining or not await self._replace_in(slot):
                    break
            self._replacements -= asked
        self._replacements = 0

    async def _replace_in(self, slot: Slot) -> bool:
        fresh = await self._start()
        first = [asyncio.ensure_future(fresh.ready.wait()), asyncio.ensure_future(fresh.gone.wait())]
        await asyncio.wait(first, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for waiting in first:
            waiting.cancel()
        if not fresh.serving:
            logger.error("the new worker %d did not become ready, the old ones stay", fresh.pid)
            fresh.signal(signal.SIGKILL)
            return False
        old, slot.worker = slot.worker, fresh
        slot.failures = 0
        if old is not None:
            old.signal(signal.SIGTERM)
            await self._left([old])
        logger.info("worker %d replaced", fresh.pid)
        return True

    def _stop(self) -> None:
        if not self._draining:
            self._spawn(self._drain())
            return
        self._code = 1
        for worker in self._workers:
            worker.signal(signal.SIGKILL)

    async def _drain(self) -> None:
        self._draining = True
        self._shared.close()
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        await self._left(list(self._workers))
        self._over = True
        self._wake.set()

    async def _left(self, workers: Sequence[Worker]) -> None:
        """Wait until they have ended; kill those that take longer than they may."""
        settings = self._settings
        longest = max(settings.connection_termination_deadline, settings.connection_min_termination_deadline)
        try:
            async with asyncio.timeout(longest + LEAVE_SECONDS):
                for worker in workers:
                    await worker.gone.wait()
        except TimeoutError:
            for worker in workers:
                worker.signal(signal.SIGKILL)
            for worker in workers:
                await worker.gone.wait()

    # --- what workers ask, and what is asked of them -----------------------------------------------------------------

    def _answer(self, worker: Worker, frame: Fields) -> Fields:
        what = frame["what"]
        if what == "open":
            return self._shared.lend(worker, frame)
        if what == "close":
            worker.holds.discard(frame["key"])
            if not self._draining:
                self._shared.take_back(frame["key"], self._workers)
        elif what == "metrics":
            worker.metrics = frame["metrics"]
        elif what == "ready":
            worker.ready.set()
            logger.info("worker %d: ready", worker.pid)
        return {}

    def _serving(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.serving]

    def ready(self) -> bool:
        return bool(self._serving()) and not self._draining

    async def snapshot(self) -> Snapshot:
        await asyncio.gather(*(self._refresh(worker) for worker in self._workers))
        living = [lasting(one.metrics) if one.gone.is_set() else one.metrics for one in self._workers]
        return merge([self._metrics.snapshot(), self._retired, *living])

    async def _refresh(self, worker: Worker) -> None:
        if worker.serving and worker.channel is not None:
            with suppress(ChannelClosed, TimeoutError):
                worker.metrics = (await worker.channel.ask("metrics", ANSWER_SECONDS))["metrics"]

    async def dump(self) -> dict[str, Any]:
        for worker in self._serving():
            with suppress(ChannelClosed, TimeoutError):
                if worker.channel is not None:
                    dumped: dict[str, Any] = (await worker.channel.ask("dump", ANSWER_SECONDS))["dump"]
                    return dumped
        return {}

    def set_level(self, level: str) -> None:
        self._level = level
        set_level(level)
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.tell("level", level=level)
