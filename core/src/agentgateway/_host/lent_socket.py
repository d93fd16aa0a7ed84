"""A worker's own listening socket, which stands in for those of others, too."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any


class LentSocket(socket.socket):
    """One of several sockets on one address, the `own`-th of `descriptors`, which it owns.

    It accepts what comes to it and, from `cover` on, what comes to the others named there: `fileno` is that of an epoll
    which watches them all, to be waited for by an event loop.
    """

    def __init__(self, descriptors: Sequence[int], own: int) -> None:
        super().__init__(fileno=descriptors[own])
        self.setblocking(False)
        self._own = own
        self._together = [self if n == own else socket.socket(fileno=fd) for n, fd in enumerate(descriptors)]
        for sock in self._together:
            sock.setblocking(False)
        self._any = select.epoll()
        self._any.register(super().fileno(), select.EPOLLIN)
        self._served: deque[socket.socket] = deque([self])

    def cover(self, others: Collection[int]) -> None:
        """Accept from these of the others, and from no more of them."""
        for number, sock in enumerate(self._together):
            if number == self._own or (sock in self._served) == (number in others):
                continue
            if number in others:
                self._served.append(sock)
                self._any.register(sock, select.EPOLLIN)
            else:
                self._served.remove(sock)
                self._any.unregister(sock)

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when nobody waits anywhere; nobody is passed over for long."""
        for _ in range(len(self._served)):
            self._served.rotate()
            with suppress(BlockingIOError):
                return socket.socket.accept(self._served[0])
        raise BlockingIOError

    def fileno(self) -> int:
        return -1 if self._any.closed else self._any.fileno()

    def close(self) -> None:
        self._any.close()
        for sock in self._together:
            socket.socket.close(sock)
