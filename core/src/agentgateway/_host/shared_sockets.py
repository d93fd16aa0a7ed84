"""The listening sockets of several workers: opened by their parent when the first one asks, lent to each that does.

Each port has a socket for every worker, by SO_REUSEPORT, and the kernel deals connections out among them, by a hash of
both ends' addresses: each worker gets its share, however idle the others are. What the kernel does not know is which
worker lives. So a socket belongs to a place among the workers, not to a process: the parent keeps it open, and with it
its queue, whoever comes and goes; a successor takes over what waits there. While nobody serves a socket (its worker
died, is not ready yet, or has refused the configuration that asks for that port) all others do.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from agentgateway._host.channel import Fields
from agentgateway._host.forking import Worker
from agentgateway._host.sockets import CannotListen, announce, listen_together

MOST = 32
"""Sockets of one port. Each worker has them all open, to be able to serve them; more workers share some."""


class SharedSockets:
    """The listening sockets of each port, open as long as a worker holds it."""

    def __init__(self, count: int, *, ipv6: bool) -> None:
        self._count = min(count, MOST)
        self._ipv6 = ipv6
        self._sockets: dict[str, list[socket.socket]] = {}
        self._closed = False

    def lend(self, worker: Worker, frame: Fields) -> Fields:
        if self._closed:
            return {"error": "the gateway is about to end"}
        key = repr((frame["port"], frame["address"], frame["name"] if frame["port"] == 0 else ""))
        if key not in self._sockets:
            try:
                self._sockets[key] = listen_together(frame["address"], frame["port"], self._count, ipv6=self._ipv6)
            except CannotListen as error:
                return {"error": str(error)}
            announce(self._sockets[key][0], frame["scheme"], f"gateway {frame['name']}")
        together = self._sockets[key]
        socket.send_fds(worker.pipe, [b"s"], [sock.fileno() for sock in together])
        worker.holds[key] = None
        return {"key": key, "count": len(together), "own": worker.place % len(together)}

    def cover(self, workers: Sequence[Worker]) -> None:
        """Tell each worker which sockets, of the ports it holds, nobody serves, where that is news to it."""
        for key, together in self._sockets.items():
            holders = [worker for worker in workers if key in worker.holds and not worker.gone.is_set()]
            served = {worker.place % len(together) for worker in holders if worker.ready.is_set()}
            left = [number for number in range(len(together)) if number not in served]
            for worker in holders:
                if worker.holds[key] != left and worker.channel is not None:
                    worker.holds[key] = left
                    worker.channel.tell("cover", key=key, left=left)

    def take_back(self, key: str, holders: Sequence[Worker]) -> None:
        """Close a port that nobody holds any more: its queues would wait for nobody."""
        if key in self._sockets and not any(key in worker.holds for worker in holders):
            for sock in self._sockets.pop(key):
                sock.close()

    def close(self) -> None:
        """Let go of all of them; those that are lent stay open where they are."""
        self._closed = True
        for together in self._sockets.values():
            for sock in together:
                sock.close()
