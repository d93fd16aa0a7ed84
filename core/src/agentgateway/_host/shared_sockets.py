"""The listening sockets of several workers: opened by their parent when the first one asks, lent to each that does."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from agentgateway._host.channel import Fields
from agentgateway._host.forking import Worker
from agentgateway._host.sockets import CannotListen, announce, listen


class SharedSockets:
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
        """Let go of all of them; those that are lent stay open where they are."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
