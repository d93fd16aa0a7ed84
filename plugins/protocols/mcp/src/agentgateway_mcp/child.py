"""A child process that speaks in lines: started in a group of its own, and ended with all that it has started."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging import WARNING

from agentgateway.errors import ConnectFailed, UpstreamError, UpstreamTimeout
from agentgateway_mcp.lines import Lines, LineTooLong
from agentgateway_mcp.process import STDERR, STDIN, STDOUT, Process
from agentgateway_mcp.remarks import LONGEST, Remarks
from agentgateway_mcp.warden import WARDEN

WRITE_WITHIN = 10.0
"""Seconds that a message waits for a child that does not read."""
AFTER_CLOSE = 2.0
"""Seconds to end by itself after its standard input was closed."""
AFTER_TERM = 2.0
LAST_WORDS = 0.2
"""Seconds between the end of a process and the end of its output."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `tag` is what the log calls it; the environment is the whole of it and may hold credentials."""

    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    folder: str | None
    tag: str
    secrets: Sequence[str] = field(default=(), repr=False)
    line_limit: int = 2 * 1024 * 1024


class Child:
    """`on_line` gets each line of its standard output, `on_end` once a sentence on how it ended, as soon as it is of no
    use any more. Who calls `start` calls `stop`."""

    def __init__(self, launch: Launch, on_line: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        self._launch = launch
        self._on_line = on_line
        self._on_end: Callable[[str], None] | None = on_end
        self._remarks = Remarks(launch.tag, launch.secrets)
        self._lines = {STDOUT: Lines(launch.line_limit), STDERR: Lines(4 * LONGEST, skips=True)}
        self._process = Process(self._received, self._closed, self._may_write, self._has_exited)
        self._life: asyncio.Task[None] | None = None
        self._fault = ""
        self._born = time.monotonic()
        self._turn = asyncio.Lock()
        self._writable = asyncio.Event()
        self._over = asyncio.Event()
        self._exited = asyncio.Event()
        self._silent = asyncio.Event()
        self.stopping = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._born

    def start(self) -> None:
        """Raises `ConnectFailed`."""
        launch = self._launch
        try:
            self._process.spawn(launch.command, launch.environment, launch.folder)
        except OSError as error:
            raise ConnectFailed("the server cannot be started", detail=f"{launch.tag}: {error.strerror}") from error
        with suppress(OSError):
            WARDEN.watch(self.pid)
        self._life = asyncio.get_running_loop().create_task(self._live(), name=f"child {self.pid}")

    async def write(self, line: bytes) -> None:
        """Send a line, when what came before it has been read. Raises `UpstreamTimeout`, `UpstreamError`; nothing was
        sent then."""
        try:
            async with asyncio.timeout(WRITE_WITHIN), self._turn:
                await self._writable.wait()
                while not self.tell(line):
                    if not self._open:
                        raise UpstreamError("the server has ended", detail=self._launch.tag)
                    await self._writable.wait()  # a message that could not wait was faster
        except TimeoutError:
            error = UpstreamTimeout("the server does not read what it is sent", detail=self._launch.tag)
            error.sent = False
            raise error from None

    def tell(self, line: bytes) -> bool:
        """Send a line at once, or not at all."""
        stdin = self._process.stdin
        if stdin is None or not self._open or not self._writable.is_set():
            return False
        stdin.write(one_line(line))
        return True

    @property
    def _open(self) -> bool:
        stdin = self._process.stdin
        return not self._over.is_set() and not (stdin is not None and stdin.is_closing())

    async def stop(self) -> None:
        """Its input ends; if that is no reason for it to end, SIGTERM is, and SIGKILL. For the whole group."""
        self.stopping = True
        self._over.set()
        if self._life is not None:
            await asyncio.shield(self._life)

    async def _live(self) -> None:
        await self._process.connect()
        await self._over.wait()
        self._writable.set()  # whoever waits to write finds out
        if not self.stopping:
            await reached(self._exited, LAST_WORDS)
        self._tell_end()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if not await reached(self._exited, AFTER_CLOSE if not self._fault else 0):
            self._signal(signal.SIGTERM)
            if not await reached(self._exited, AFTER_TERM):
                self._signal(signal.SIGKILL)
                await self._exited.wait()
        await self._sweep()
        await reached(self._silent, LAST_WORDS)
        self._process.close()
        WARDEN.forget(self.pid)

    async def _sweep(self) -> None:
        """End what the child has left behind in its group."""
        if not self._signal(signal.SIGTERM):
            return
        deadline = time.monotonic() + AFTER_TERM
        while time.monotonic() < deadline:
            await asyncio.sleep(0.02)
            if not self._signal(0):
                return
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> bool:
        """Whether anybody was there to get it."""
        try:
            os.killpg(self.pid, number)
        except OSError:
            return False
        return True

    def _tell_end(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._how())

    def _how(self) -> str:
        code = self._process.code
        if self._fault:
            return self._fault
        if self.stopping:
            return "the server was stopped"
        if code is None:
            return "the server closed its output"
        if code < 0:
            with suppress(ValueError):
                return f"the server was ended by {signal.Signals(-code).name}"
        return f"the server ended with exit code {code}"

    # What the process calls.

    def _received(self, fd: int, data: bytes) -> None:
        try:
            for line in self._lines[fd].feed(data):
                self._take(fd, line)
        except LineTooLong:
            self._fault = "the server sent a message above the limit"
            self._over.set()

    def _closed(self, fd: int) -> None:
        if fd == STDIN:
            self._writable.set()  # whoever waits finds out that it is closed
            return
        self._take(fd, self._lines[fd].rest())
        if fd == STDOUT:
            self._silent.set()
            self._over.set()

    def _has_exited(self) -> None:
        self._exited.set()
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_WORDS, self._over.set)  # its output may be held open by what it has started

    def _may_write(self, yes: bool) -> None:
        if yes:
            self._writable.set()
        else:
            self._writable.clear()

    def _take(self, fd: int, line: bytes) -> None:
        if fd == STDERR:
            self._remarks.add(line)
        elif self._on_end is not None and (line := line.strip()):
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            self._on_line(line)
        except ValueError:
            self._remarks.add(line, "said what is no message", WARNING)


def one_line(message: bytes) -> bytes:
    """The message with its end. Line feeds stand between JSON's tokens only: in a text they would be escaped."""
    if b"\n" in message or b"\r" in message:
        message = message.replace(b"\r", b" ").replace(b"\n", b" ")
    return message + b"\n"


async def reached(event: asyncio.Event, within: float) -> bool:
    """Whether it is set, or will be within so many seconds."""
    if within > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await event.wait()
    return event.is_set()
