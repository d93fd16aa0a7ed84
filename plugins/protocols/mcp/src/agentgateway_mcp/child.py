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
from typing import cast

from agentgateway.errors import ConnectFailed, UpstreamError, UpstreamTimeout
from agentgateway_mcp.lines import Lines, LineTooLong
from agentgateway_mcp.remarks import LONGEST, Remarks
from agentgateway_mcp.warden import WARDEN

STDIN, STDOUT, STDERR = range(3)
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


class Child(asyncio.SubprocessProtocol):
    """`on_line` gets each line of its standard output, `on_end` once a sentence on how it ended, as soon as it is of no
    use any more. Who calls `start` calls `stop`."""

    def __init__(self, launch: Launch, on_line: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        self._launch = launch
        self._on_line = on_line
        self._on_end: Callable[[str], None] | None = on_end
        self._remarks = Remarks(launch.tag, launch.secrets)
        self._lines = {STDOUT: Lines(launch.line_limit), STDERR: Lines(4 * LONGEST, skips=True)}
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
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
        assert self._transport is not None
        return self._transport.get_pid()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._born

    async def start(self) -> None:
        """Raises `ConnectFailed`."""
        launch, loop = self._launch, asyncio.get_running_loop()
        try:
            await loop.subprocess_exec(
                lambda: self, *launch.command, env=launch.environment, cwd=launch.folder, start_new_session=True
            )
        except asyncio.CancelledError:
            if self._transport is not None:
                WARDEN.forget(self.pid)
            raise
        except OSError as error:
            raise ConnectFailed("the server cannot be started", detail=f"{launch.tag}: {error.strerror}") from error
        self._life = loop.create_task(self._live(), name=f"child {self.pid}")

    async def write(self, line: bytes) -> None:
        """Send a line, when what came before it has been read. Raises `UpstreamTimeout`, `UpstreamError`; nothing was
        sent then."""
        try:
            async with asyncio.timeout(WRITE_WITHIN), self._turn:
                await self._writable.wait()
                written = self.tell(line)
        except TimeoutError:
            error = UpstreamTimeout("the server does not read what it is sent", detail=self._launch.tag)
            error.sent = False
            raise error from None
        if not written:
            raise UpstreamError("the server has ended", detail=self._launch.tag)

    def tell(self, line: bytes) -> bool:
        """Send a line at once, or not at all."""
        stdin = self._stdin
        if stdin is None or stdin.is_closing() or self._over.is_set() or not self._writable.is_set():
            return False
        stdin.write(one_line(line))
        return True

    async def stop(self) -> None:
        """Its input ends; if that is no reason for it to end, SIGTERM is, and SIGKILL. For the whole group."""
        self.stopping = True
        self._over.set()
        if self._life is not None:
            await asyncio.shield(self._life)

    async def _live(self) -> None:
        await self._over.wait()
        self._writable.set()  # whoever waits to write finds out
        if not self.stopping:
            await reached(self._exited, LAST_WORDS)
        self._tell_end()
        assert self._transport is not None
        if self._stdin is not None:
            self._stdin.close()
        if not await reached(self._exited, AFTER_CLOSE if not self._fault else 0):
            self._signal(signal.SIGTERM)
            if not await reached(self._exited, AFTER_TERM):
                self._signal(signal.SIGKILL)
                await self._exited.wait()
        await self._sweep()
        await reached(self._silent, LAST_WORDS)
        self._transport.close()
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
        assert self._transport is not None
        code = self._transport.get_returncode()
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

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)  # uvloop's is none by type
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(STDIN))
        self._writable.set()
        with suppress(OSError):
            WARDEN.watch(self.pid)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        try:
            for line in self._lines[fd].feed(data):
                self._take(fd, line)
        except LineTooLong:
            self._fault = "the server sent a message above the limit"
            self._over.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == STDIN:
            self._writable.set()  # whoever waits finds out that it is closed
            return
        self._take(fd, self._lines[fd].rest())
        if fd == STDOUT:
            self._silent.set()
            self._over.set()

    def process_exited(self) -> None:
        self._exited.set()
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_WORDS, self._over.set)  # its output may be held open by what it has started

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

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
