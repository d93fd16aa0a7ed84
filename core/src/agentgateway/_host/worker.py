"""A worker's side of several processes on one port: it borrows sockets from its supervisor, serves, and reports."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentgateway._host.channel import Channel, Fields
from agentgateway._host.face import Runtime
from agentgateway._host.server import serve
from agentgateway._host.sockets import CannotListen

logger = logging.getLogger("agentgateway.workers")

ANSWER_SECONDS = 10.0


class LentSockets:
    """Listening sockets of the supervisor: one for each bind, shared by all workers."""

    def __init__(self, channel: Channel, pipe: socket.socket) -> None:
        self._channel = channel
        self._pipe = pipe
        self._keys: dict[socket.socket, str] = {}

    async def open(self, name: str, address: str | None, port: int, scheme: str) -> socket.socket:
        answer = await self._channel.ask("open", ANSWER_SECONDS, name=name, address=address, port=port, scheme=scheme)
        if "error" in answer:
            raise CannotListen(answer["error"])
        # The supervisor has sent it before it answered.
        _, descriptors, _, _ = socket.recv_fds(self._pipe, 1, 1)
        sock = socket.socket(fileno=descriptors[0])
        self._keys[sock] = answer["key"]
        return sock

    async def close(self, sock: socket.socket) -> None:
        sock.close()
        self._channel.tell("close", key=self._keys.pop(sock))


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
            set_level(frame["level"])
            return {}

        channel = await Channel.over(self.control, answer)
        listening = loop.create_task(channel.run())
        listening.add_done_callback(lambda _: shutdown.set())  # nobody would stop us, restart us, or read our counters
        try:
            sockets = LentSockets(channel, self.pipe)
            await serve(runtime, sockets, shutdown=shutdown, started=lambda server: channel.tell("ready"))
        finally:
            if listening.done():
                shutil.rmtree(self.folder, ignore_errors=True)  # what the supervisor did not live to do
            channel.tell("metrics", metrics=runtime.metrics.snapshot())
            listening.cancel()
            await channel.close()
