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

The event loop stands still while a process is forked, and the child never runs it: every descriptor the child has no
business with is replaced by `/dev/null` before anything else happens.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentgateway._host.admin_ports import AdminPorts, set_level
from agentgateway._host.channel import Channel, ChannelClosed, Fields
from agentgateway._host.config import StaticConfig
from agentgateway._host.metrics import Metrics, Snapshot, lasting, merge
from agentgateway._host.sockets import CannotListen, announce, listen
from agentgateway._host.worker import WorkerContext

logger = logging.getLogger("agentgateway.workers")

READY_SECONDS = 60.0
LONG_LIFE = 10.0
"""A worker that lived so many seconds did not fail at starting: its successor comes at once."""
LONGEST_PAUSE = 10.0
LEAVE_SECONDS = 3.0
"""What a worker may need beyond its drain before it is killed."""
ANSWER_SECONDS = 2.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Work = Callable[[WorkerContext], int]


class Worker:
    """One worker process, as its parent knows it."""

    def __init__(self, pid: int, control: socket.socket, pipe: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.pipe = pipe
        self.born = time.monotonic()
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.code = 0
        self.channel: Channel | None = None
        self.listening: asyncio.Task[None] | None = None
        self.metrics: Snapshot = []
        self.holds: set[str] = set()

    def signal(self, number: int) -> None:
        if not self.gone.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def serving(self) -> bool:
        return self.ready.is_set() and not self.gone.is_set()

    @property
    def age(self) -> float:
        return time.monotonic() - self.born

    @property
    def end(self) -> str:
        """How it ended, in words."""
        return f"exit code {self.code}" if self.code >= 0 else signal.Signals(-self.code).name


class Slot:
    """A place for one worker, whoever it is at the moment."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.failures = 0


class Shared:
    """The listening sockets, each open as long as a worker holds it."""

    def __init__(self, *, ipv6: bool) -> None:
        self._ipv6 = ipv6
        self._sockets: dict[str, socket.socket] = {}

    def lend(self, worker: Worker, frame: Fields) -> Fields:
        key = repr((frame["port"], frame["address"], frame["name"] if frame["port"] == 0 else ""))
        if key not in self._sockets:
            try:
                self._sockets[key] = listen(frame["address"], frame["port"], ipv6=self._ipv6)
            except CannotListen as error:
                return {"error": str(error)}
            announce(self._sockets[key], frame["scheme"], f"gateway {frame['name']}")
        socket.send_fds(worker.pipe, [b"s"], [self._sockets[key].fileno()])
        worker.holds.add(key)
        return {"key": key}

    def take_back(self, key: str, holders: Sequence[Worker]) -> None:
        """Close a socket that nobody holds any more: its queue would wait for nobody."""
        if key in self._sockets and not any(key in worker.holds for worker in holders):
            self._sockets.pop(key).close()

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()


class Supervisor:
    """Keeps `count` workers running `work`. `run` is its whole life; to the admin ports it is all of them together."""

    def __init__(self, count: int, work: Work, settings: StaticConfig) -> None:
        self._work = work
        self._settings = settings
        self._slots = [Slot() for _ in range(count)]
        self._workers: list[Worker] = []
        self._shared = Shared(ipv6=settings.enable_ipv6)
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
        control, their_control = socket.socketpair()
        pipe, their_pipe = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        context = WorkerContext(self._born, self._folder, their_control, their_pipe)
        self._born += 1
        gc.collect()
        gc.freeze()  # the collector would write to, and so copy, every page it looks at
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            os._exit(child(self._work, context))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        their_control.close()
        their_pipe.close()
        worker = Worker(pid, control, pipe)
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
        held, worker.holds = worker.holds, set()
        for key in held:
            if self._slots_covered():
                self._shared.take_back(key, self._workers)
        worker.pipe.close()
        if worker.channel is not None:
            await worker.channel.close()

    def _slots_covered(self) -> bool:
        """Whether somebody is left to hold sockets; else they are kept for who comes next."""
        return bool(self._serving())

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
            if not self._draining and worker in (slot.worker for slot in self._slots):
                self._shared.take_back(frame["key"], self._workers)
        elif what == "metrics":
            worker.metrics = frame["metrics"]
        elif what == "ready":
            worker.ready.set()
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


def child(work: Work, context: WorkerContext) -> int:
    """The worker's process, from its first breath to its exit code. Its parent's stack and event loop are below it, and
    are never returned to."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            ignored = number in (
                signal.SIGINT,
                signal.SIGHUP,
            )  # a terminal sends them to every process; the parent acts
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        abandon_descriptors({0, 1, 2, context.control.fileno(), context.pipe.fileno()})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = work(context)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    return code


def abandon_descriptors(keep: set[int]) -> None:
    """Let go of everything the parent has open. Numbers stay taken, by `/dev/null`: objects of the parent's that are
    still in this process's memory would otherwise close files of its own."""
    null = os.open(os.devnull, os.O_RDWR)
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for name in os.listdir(folder):
        number = int(name)
        if number not in keep and number != null:
            with suppress(OSError):
                os.fstat(number)
                os.dup2(null, number, inheritable=False)
    os.close(null)
