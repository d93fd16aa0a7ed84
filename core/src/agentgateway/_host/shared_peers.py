"""Workers of one gateway as each other's peers: a unix socket for each, in a folder that is private to them.

A link is a connection. Its first frame is the address that is called, the answer to that one byte; the rest is up to
who has opened the address. Whose socket is not there, or does not listen, has ended: a worker's number is never used
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from pathlib import Path

from agentgateway._host.agreements import Agreements
from agentgateway._host.peer_link import PeerLink
from agentgateway.errors import ConnectFailed
from agentgateway.interfaces import Link, PeerGone
from agentgateway.peers import LocalPeers

HERE = b"1"
BACKLOG = 4096
BUSY_TRIES = 50
BUSY_PAUSE = 0.02
"""Seconds between tries to reach a worker that has not yet accepted those before us."""
_GONE = (errno.ENOENT, errno.ECONNREFUSED)

logger = logging.getLogger("agentgateway.peers")


class SharedPeers(LocalPeers):
    """The peers of worker `number`."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(str(number))
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._agreements = Agreements(folder)

    async def start(self) -> None:
        """Be there for others. Where that cannot be (a path that is too long) each worker is alone."""
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: PeerLink(lambda link: self.run(self._welcome, link)), self._path(self._own), backlog=BACKLOG
            )
        except OSError as error:
            logger.warning("other workers cannot reach this one: %s", error)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path(self._own))
        await super().stop()
        self._agreements.close()

    async def call(self, address: str) -> Link:
        worker = address.partition(".")[0]
        if worker == self._own or not worker.isdigit():
            return await super().call(address)
        link = await self._connect(worker)
        try:
            await link.send(address.encode())
            if await link.receive() != HERE:
                raise PeerGone
        except BaseException:
            link.abort()
            raise
        return link

    def agree(self, name: str, value: str, instead_of: str = "", *, seconds: float) -> str:
        return self._agreements.agree(name, value, instead_of, seconds)

    def agreed(self, name: str) -> str:
        return self._agreements.agreed(name)

    def _path(self, worker: str) -> str:
        return str(self._folder / f"{worker}.peer")

    async def _welcome(self, link: Link) -> None:
        address = await link.receive()
        answering = self._open.get((address or b"").decode())
        if answering is None:
            return
        await link.send(HERE)
        await answering(link)

    async def _connect(self, worker: str) -> Link:
        for _ in range(BUSY_TRIES):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                sock.connect(self._path(worker))  # at once, or not at all
            except BlockingIOError:
                sock.close()
                await asyncio.sleep(BUSY_PAUSE)
                continue
            except OSError as error:
                sock.close()
                if error.errno in _GONE:
                    raise PeerGone from None
                raise ConnectFailed(detail=f"worker {worker}: {error.strerror or error}") from error
            _, link = await asyncio.get_running_loop().create_unix_connection(PeerLink, sock=sock)
            return link
        raise ConnectFailed(detail=f"worker {worker} accepts nothing")
