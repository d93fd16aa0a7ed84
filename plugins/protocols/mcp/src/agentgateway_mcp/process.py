"""A program with three pipes, on any event loop: started with nothing else of the gateway's open, its end noticed
without a thread, and never left as a zombie."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial

STDIN, STDOUT, STDERR = range(3)


class Process:
    """`data` gets what comes on a descriptor (1 or 2), `closed` is told of its end, or that of 0; `writable` whether
    more should be written now; `exited` that the program is over.

    uvloop's own `subprocess_exec` leaves descriptors open in the child, which then cannot close its output, and
    asyncio's has a thread for each.
    """

    def __init__(
        self,
        data: Callable[[int, bytes], None],
        closed: Callable[[int], None],
        writable: Callable[[bool], None],
        exited: Callable[[], None],
    ) -> None:
        self.data = data
        self.closed = closed
        self.writable = writable
        self._exited = exited
        self._waiting: asyncio.Task[None] | None = None
        self._readers: list[asyncio.ReadTransport] = []
        self.stdin: asyncio.WriteTransport | None = None

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None as long as it runs."""
        return self._popen.returncode

    def spawn(self, command: Sequence[str], environment: Mapping[str, str], folder: str | None) -> None:
        """Start it in a session and a process group of its own. Raises OSError."""
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        loop = asyncio.get_running_loop()
        try:
            number = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or no descriptor left
            self._waiting = loop.create_task(self._wait())
        else:
            loop.add_reader(number, self._reap, number)

    async def connect(self) -> None:
        """Attach the pipes to the event loop."""
        loop, popen = asyncio.get_running_loop(), self._popen
        for number, pipe in ((STDOUT, popen.stdout), (STDERR, popen.stderr)):
            reader, _ = await loop.connect_read_pipe(partial(End, self, number), pipe)
            self._readers.append(reader)
        self.stdin, _ = await loop.connect_write_pipe(partial(End, self, STDIN), popen.stdin)
        self.writable(True)

    def close(self) -> None:
        """Let go of the pipes."""
        if self.stdin is not None:
            self.stdin.close()
        for reader in self._readers:
            reader.close()

    def _reap(self, number: int) -> None:
        asyncio.get_running_loop().remove_reader(number)
        os.close(number)
        self._popen.wait()  # it is over: this does not wait
        self._exited()

    async def _wait(self) -> None:
        await asyncio.to_thread(self._popen.wait)
        self._exited()


class End(asyncio.Protocol):
    """Our end of one pipe."""

    def __init__(self, process: Process, number: int) -> None:
        self._process = process
        self._number = number

    def data_received(self, data: bytes) -> None:
        self._process.data(self._number, data)

    def pause_writing(self) -> None:
        self._process.writable(False)

    def resume_writing(self) -> None:
        self._process.writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._process.closed(self._number)
