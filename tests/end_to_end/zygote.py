"""Gateways that start fast: a process that has imported `agentgateway` and its plugins, and of which each is a fork.

A start of the executable costs half a second, nearly all of it imports. A fork is a server process like any other, with
arguments, environment, working folder, standard streams, signals and an exit code of its own, and it goes through the
same `main`. This file is both ends: a program (`python zygote.py DESCRIPTOR`), and what tests use of it (`Zygote`).
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

LIMIT = 2**24
"""Bytes of a line that a gateway may say: a reader that gave up on one would keep the process from ending."""
ALSO = (
    *("asyncio.runners", "celpy", "cryptography.hazmat.primitives.ciphers.aead", "httptools", "httpx"),
    *("hypercorn.asyncio", "hypercorn.config", "uvloop"),
)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


# --- what tests use --------------------------------------------------------------------------------------------------


class Fork:
    """A running gateway: of `asyncio.subprocess.Process` what tests use."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader, status: socket.socket):
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._watch(status))

    async def _watch(self, status: socket.socket) -> int:
        with status:
            self.returncode = await told(status)
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    def send_signal(self, signum: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The process that gateways are forks of; it comes with the first one."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, *arguments: str, env: Mapping[str, str], stdin: int | None = None) -> Fork:
        """A gateway with that command line and environment. `stdin` is a descriptor, or None for an empty one."""
        ours, theirs = socket.socketpair()
        out, err = os.pipe(), os.pipe()
        given = os.open(os.devnull, os.O_RDONLY) if stdin is None else os.dup(stdin)
        asked = json.dumps({"arguments": arguments, "environment": dict(env), "folder": os.getcwd()}).encode()
        descriptors = [given, out[1], err[1], theirs.detach()]
        control = self._control or self._open()
        socket.send_fds(control, [number(len(asked))], descriptors)
        control.sendall(asked)
        for descriptor in descriptors:
            os.close(descriptor)
        ours.setblocking(False)
        return Fork(await told(ours), await reader(out[0]), await reader(err[0]), ours)

    def _open(self) -> socket.socket:
        self._control, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        return self._control

    def close(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            assert self._process.wait(20) == 0


async def told(status: socket.socket) -> int:
    """The next number: first the process, then its exit code."""
    return int.from_bytes(await asyncio.get_running_loop().sock_recv(status, 4), "big", signed=True)


async def reader(descriptor: int) -> asyncio.StreamReader:
    stream = asyncio.StreamReader(limit=LIMIT)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    return stream


# --- the program -----------------------------------------------------------------------------------------------------


def serve_forks(control: socket.socket) -> None:
    """Until nobody asks any more. Returns in each fork, too, which then is what was asked for."""
    while True:
        reap(os.WNOHANG)
        length, descriptors, _, _ = socket.recv_fds(control, 4, 4)
        if not descriptors:
            reap(0)
            os._exit(0)
        asked = json.loads(control.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
        if os.fork() == 0:
            control.close()
            *streams, status = descriptors
            if attended(socket.socket(fileno=status), streams):
                return become(asked, streams)
        for descriptor in descriptors:
            os.close(descriptor)


def reap(options: int) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def attended(status: socket.socket, streams: list[int]) -> bool:
    """Fork once more: true in the gateway, while this process waits for its end, and tells of it."""
    pid = os.fork()
    if pid == 0:
        status.close()
        return True
    for stream in streams:
        os.close(stream)
    status.sendall(number(pid))
    _, code = os.waitpid(pid, 0)
    with suppress(OSError):  # the test has not waited for it
        status.sendall(number(os.waitstatus_to_exitcode(code)))
    os._exit(0)


def become(asked: dict[str, Any], streams: list[int]) -> None:
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = [str(Path(sys.executable).with_name("agentgateway")), *asked["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def preload() -> None:
    """Import what a gateway may, and run none of it: what a start remembers (`functools.cache`) it finds out itself."""
    host = importlib.import_module("agentgateway")
    for module in pkgutil.walk_packages(host.__path__, "agentgateway."):
        if not module.name.startswith("agentgateway.testing"):
            importlib.import_module(module.name)
    for group in entry_points().groups:
        for point in entry_points(group=group) if group.startswith("agentgateway.") else ():
            point.load()
    for name in ALSO:
        importlib.import_module(name)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells every process; the tests act
    code = [1]
    atexit.register(leave, code)  # what is registered later comes first
    preload()
    gc.collect()
    gc.freeze()  # the collector would write to, and so copy, every page it looks at
    serve_forks(socket.socket(fileno=int(sys.argv[1])))
    from agentgateway._host.cli import main as gateway

    try:
        gateway()
    except SystemExit as end:
        code[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


def leave(code: list[int]) -> None:
    """End without taking every module apart, which would cost more than the start has saved."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code[0])


if __name__ == "__main__":
    main()
