"""Standard output, written by a thread of its own: whoever reads it slowly, or not at all, stalls nobody."""

import logging
import os
import threading
from queue import SimpleQueue

MOST = 8 * 1024 * 1024
"""Bytes that may wait for the reader; what comes beyond is dropped, counted, and told as the count doubles."""


class Outlet:
    def __init__(self, descriptor: int = 1, most: int = MOST) -> None:
        self._descriptor, self._most = descriptor, most
        self._given = self._refused = 0  # bytes put and lines dropped by the loop,
        self._gone = self._lost = self._told = 0  # bytes written, lines dropped and told by the thread
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        return self._refused + self._lost

    def counted(self) -> dict[tuple[str, ...], float]:
        return {(): self.dropped}

    def put(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        if self._given - self._gone + len(data) > self._most:
            self._refused += data.count(b"\n")
            return
        self._given += len(data)
        self._queue.put(data)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._write, daemon=True)
            self._thread.start()

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, as far as the reader takes it within that time."""
        if self._thread is not None and self._thread.is_alive():
            self._queue.put(b"")
            self._thread.join(seconds)

    def _write(self) -> None:
        while left := self._queue.get():
            size, lines = len(left), left.count(b"\n")
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
            except OSError:  # nobody reads it any more
                self._lost += lines
            self._gone += size
            if (dropped := self.dropped) >= 2 * self._told and dropped:
                self._told = dropped
                logging.getLogger("agentgateway.access_log").warning("%d lines dropped: nobody reads them", dropped)
