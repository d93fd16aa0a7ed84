"""Making a worker process by `fork`, and what a parent knows of it.

The event loop must stand still meanwhile, and the child never runs it: every descriptor the child has no business with
is replaced by `/dev/null` before anything else happens there.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from agentgateway._host.channel import Channel
from agentgateway._host.metrics import Snapshot
from agentgateway._host.worker import WorkerContext

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Work = Callable[[WorkerContext], int]


class Worker:
    """One worker process, as its parent knows it. `place` is which of the workers it is, or succeeds."""

    def __init__(self, pid: int, place: int, control: socket.socket, pipe: socket.socket) -> None:
        self.pid = pid
        self.place = place
        self.control = control
        self.pipe = pipe
        self.born = time.monotonic()
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.code = 0
        self.channel: Channel | None = None
        self.listening: asyncio.Task[None] | None = None
        self.metrics: Snapshot = []
        self.holds: dict[str, list[int] | None] = {}
        """The ports it has open, and which sockets of each it was told that nobody serves."""

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


def fork(work: Work, number: int, place: int, folder: Path) -> Worker:
    """Start a process that runs `work` and ends with its result as exit code. Raises OSError when there can be no more
    processes, or files, for now."""
    with ExitStack() as undone:
        control, their_control = map(undone.enter_context, socket.socketpair())
        pipe, their_pipe = map(undone.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        context = WorkerContext(number, folder, their_control, their_pipe)
        gc.collect()
        gc.freeze()  # the collector would write to, and so copy, every page it looks at
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                os._exit(child(work, context))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        undone.pop_all()
    their_control.close()
    their_pipe.close()
    return Worker(pid, place, control, pipe)


def child(work: Work, context: WorkerContext) -> int:
    """The worker's process, from its first breath to its exit code. Its parent's stack and event loop are below it, and
    are never returned to."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            ignored = number in (signal.SIGINT, signal.SIGHUP)  # a terminal tells every process; the parent acts
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        abandon_descriptors({0, 1, 2, context.control.fileno(), context.pipe.fileno()})
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = work(context)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # the end of this process, whatever it is: what lies below is the parent's
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
