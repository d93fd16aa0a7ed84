"""A worker's side of several processes on one port: it borrows sockets from its supervisor, serves, and reports."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from agentgateway._host.channel import Channel, Fields
from agentgateway._host.face import Runtime
from agentgateway._host.lent_socket import LentSocket
from agentgateway._host.server import serve
from agentgateway._host.sockets import CannotListen

logger = logging.getLogger("agentgateway.workers")

ANSWER_SECONDS = 10.0


class LentSockets:
    """Listening sockets of the supervisor: for each bind one of its own, and those of the others to stand in for."""

    def __init__(self, channel: Channel, pipe: socket.socket) -> None:
        self._channel = channel
        self._pipe = pipe
        self._keys: dict[socket.socket, str] = {}
        self._left: dict[str, Collection[int]] = {}

    async def open(self, name: str, address: str | None, port: int, scheme: str) -> socket.socket:
        answer = await self._channel.ask("open", ANSWER_SECONDS, name=name, address=address, port=port, scheme=scheme)
        if "error" in answer:
            raise CannotListen(answer["error"])
        # The supervisor has sent them before it answered.
        key, count = answer["key"], answer["count"]
        _, descriptors, _, _ = socket.recv_fds(self._pipe, 1, count)
        if len(descriptors) != count:
            for descriptor in descriptors:
                os.close(descriptor)
            raise CannotListen(f"cannot listen on port {port}: too many open files")
        sock = socket.socket(fileno=descriptors[0]) if count == 1 else LentSocket(descriptors, answer["own"])
        self._keys[sock] = key
        self.cover(key, self._left.get(key, ()))
        return sock

    def cover(self, key: str, left: Collection[int]) -> None:
        """Serve those of a port's sockets that nobody else serves; word of it may come before the port is open."""
        self._left[key] = left
        for sock, known in self._keys.items():
            if known == key and isinstance(sock, LentSocket):
                sock.cover(left)

    async def close(self, sock: socket.socket) -> None:
        sock.close()
        key = self._keys.pop(sock)
        self._left.pop(key, None)
        self._channel.tell("close", key=key)


@dataclass(frozen=True)
class WorkerContext:
    """What a supervisor gives a worker. `folder` is private to this gateway's processes, and theirs to share."""

    number: int
    folder: Path
    control: socket.socket
    pipe: socket.socket

    async def serve(self, runtime: Runtime, set_level: Callable[[str], None] = lambda level: None) -> None:
        """Serve a started runtime until the supervisor says stop (SIGTERM) or is gone; drain. Raises as
        `server.serve` does."""
        shutdown = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, shutdown.set)

        def answer(frame: Fields) -> Fields:
            if frame["what"] == "metrics":
                return {"metrics": runtime.metrics.snapshot()}
            if frame["what"] == "dump":
                return {"dump": runtime.gateway.dump()}
            if frame["what"] == "cover":
                sockets.cover(frame["key"], frame["left"])
            else:
                set_level(frame["level"])
            return {}

        channel = await Channel.over(self.control, answer)
        sockets = LentSockets(channel, self.pipe)
        listening = loop.create_task(channel.run())
        listening.add_done_callback(lambda _: shutdown.set())  # nobody would stop us, restart us, or read our counters
        try:
            await serve(runtime, sockets, shutdown=shutdown, started=lambda server: channel.tell("ready"))
        finally:
            if listening.done():
                shutil.rmtree(self.folder, ignore_errors=True)  # what the supervisor did not live to do
            channel.tell("metrics", metrics=runtime.metrics.snapshot())
            listening.cancel()
            await channel.close()
