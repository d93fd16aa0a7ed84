"""N processes on one set of ports, and the parent that keeps them.

The parent serves no traffic. It opens every listening socket, one for each worker and port, and lends them to the
workers: see `shared_sockets`. When a worker dies, is replaced or is not yet there, nothing is lost but what it had
accepted. It starts workers by `fork`, so that they share the memory of what is imported.

- A worker that ends without being told is replaced: at once, then with growing pauses while that goes on.
- When there can be no new process for now, that is tried again, with growing pauses; the other workers serve.
- SIGHUP replaces them one by one: a new one is started, is ready, then the old one drains.
- SIGTERM and SIGINT drain them all; a second one kills. The exit code is 0.
- A worker whose parent is gone drains and ends.

The admin ports are the parent's; what they show is the `Crew`'s.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from agentgateway._host.admin_ports import AdminPorts
from agentgateway._host.channel import Channel
from agentgateway._host.crew import Crew
from agentgateway._host.forking import Work, Worker, fork
from agentgateway._host.shared_sockets import SharedSockets
from agentgateway._host.static_config import StaticConfig

logger = logging.getLogger("agentgateway.workers")

READY_SECONDS = 60.0
LONG_LIFE = 10.0
"""A worker that lived so many seconds did not fail at starting: its successor comes at once."""
LONGEST_PAUSE = 10.0
LEAVE_SECONDS = 3.0
"""What a worker may need beyond its drain before it is killed."""


Fork = Callable[[Work, int, int, Path], Worker]


class Slot:
    """A place for one worker, whoever it is at the moment."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.worker: Worker | None = None
        self.failures = 0

    def failed(self) -> float:
        """Count a worker that did not come, or not stay; for how many seconds to wait before the next one."""
        self.failures += 1
        return min(LONGEST_PAUSE, 0.1 * 2.0 ** min(self.failures, 10)) if self.failures > 1 else 0.0


class Supervisor:
    """Keeps `count` workers running `work`. `run` is its whole life. `make` starts a process, as `fork` does."""

    def __init__(self, count: int, work: Work, settings: StaticConfig, make: Fork = fork) -> None:
        self._work = work
        self._settings = settings
        self._make = make
        self._slots = [Slot(place) for place in range(count)]
        self._crew = Crew(SharedSockets(count, ipv6=settings.enable_ipv6), settings.metrics.remove)
        self._folder = Path(tempfile.mkdtemp(prefix="agentgateway-"))
        self._due: list[tuple[Slot, asyncio.Future[Worker]]] = []
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replacements = 0
        self._over = False
        self._code = 0
        self._born = 0

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
            self._crew.shared.close()
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
        ports.serve(self._crew, aside=False)  # no thread may run while a process is forked

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
        for slot, waiting in due:
            if self._crew.draining:
                waiting.cancel()
                continue
            try:
                waiting.set_result(self._fork(slot))
            except OSError as error:
                waiting.set_exception(error)

    def _fork(self, slot: Slot) -> Worker:
        self._born += 1
        worker = self._make(self._work, self._born, slot.place, self._folder)
        self._crew.workers.append(worker)
        return worker

    async def _start(self, slot: Slot) -> Worker:
        """A new worker, not ready yet. Raises OSError when there can be none for now."""
        waiting: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._due.append((slot, waiting))
        self._wake.set()
        worker = await waiting
        worker.channel = await Channel.over(worker.control, functools.partial(self._crew.answer, worker))
        worker.listening = self._spawn(worker.channel.run())
        if self._crew.level is not None:
            worker.channel.tell("level", level=self._crew.level)
        return worker

    async def _fill(self, slot: Slot, pause: float = 0.0) -> Worker:
        """The slot's next worker, as soon as there can be one; a replacement that was asked for may come first."""
        last = slot.worker
        await asyncio.sleep(pause)
        while slot.worker is last or slot.worker is None:
            try:
                slot.worker = await self._start(slot)
            except OSError as error:
                slot.failures = max(slot.failures, 1)
                pause = slot.failed()
                logger.error("no worker can be started (%s), the next try is in %.1f s", error.strerror, pause)
                await asyncio.sleep(pause)
        return slot.worker

    async def _keep(self, slot: Slot) -> None:
        """A worker in that slot, as long as the gateway serves."""
        worker = await self._fill(slot)
        while True:
            await worker.gone.wait()
            if self._crew.draining:
                return
            if slot.worker is not None and slot.worker is not worker:
                worker = slot.worker
                continue
            if not worker.ready.is_set() and not any(other.ready.is_set() for other in self._crew.workers):
                self._code = worker.code or 1  # it said why
                await self._drain()
                return
            if worker.age > LONG_LIFE:
                slot.failures = 0
            pause = slot.failed()
            logger.error("worker %d ended (%s), another one comes in %.1f s", worker.pid, worker.end, pause)
            worker = await self._fill(slot, pause)
            self._crew.restarts.add(())

    # --- ends --------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        for worker in self._crew.workers:
            if not worker.gone.is_set():
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    worker.code = os.waitstatus_to_exitcode(status)
                    worker.gone.set()
                    self._spawn(self._crew.bury(worker))
        self._crew.cover()

    def replace(self) -> None:
        """Replace every worker by a new one, one at a time."""
        self._replacements += 1
        if self._replacements == 1:
            self._spawn(self._replace())

    async def _replace(self) -> None:
        while self._replacements and not self._crew.draining:
            asked = self._replacements
            for slot in self._slots:
                if self._crew.draining or not await self._replace_in(slot):
                    break
            self._replacements -= asked
        self._replacements = 0

    async def _replace_in(self, slot: Slot) -> bool:
        try:
            fresh = await self._start(slot)
        except OSError as error:
            logger.error("no worker can be started (%s), the old ones stay", error.strerror)
            return False
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
            logger.info("worker %d replaced by %d", old.pid, fresh.pid)
        return True

    def _stop(self) -> None:
        if not self._crew.draining:
            self._spawn(self._drain())
            return
        self._code = 1
        for worker in self._crew.workers:
            worker.signal(signal.SIGKILL)

    async def _drain(self) -> None:
        self._crew.draining = True
        self._crew.shared.close()
        for worker in self._crew.workers:
            worker.signal(signal.SIGTERM)
        await self._left(list(self._crew.workers))
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
