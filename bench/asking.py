"""A cheap load in Python: connections that ask again as soon as they are answered.

    python bench/asking.py PORT CONNECTIONS COUNT BODY_FILE

asks COUNT times in all, and prints what was answered with 200 and how long it took. It takes some 15 µs a call where
wrk takes 3, but it needs nothing that `make install` does not bring.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from bare import loop_factory

PATH = "/v1/chat/completions"
PATIENCE = 20.0


def request(body: bytes, path: str = PATH, key: str = "sk-bench") -> bytes:
    """A call as it goes on the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Asking(asyncio.Protocol):
    """One connection. Replies have a content-length."""

    def __init__(self, call: bytes, turns: Iterator[int], done: asyncio.Future[int], counts: dict[str, int]) -> None:
        self._call = call
        self._turns = turns
        self._done = done
        self._counts = counts
        self._received = b""
        self._due = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        if next(self._turns, None) is None:
            self._transport.close()
            return
        self._transport.write(self._call)

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if not self._due:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._received = data
                return
            self._due = end + 4 + length_in(data[:end])
        if len(data) < self._due:
            self._received = data
            return
        self._counts["good" if data.startswith(b"HTTP/1.1 200") else "bad"] += 1
        self._received = b""
        self._due = 0
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._counts["open"] -= 1
        if not self._counts["open"] and not self._done.done():
            self._done.set_result(0)


def length_in(head: bytes) -> int:
    at = head.lower().index(b"content-length:")
    return int(head[at + 15 : at + 35].split(b"\r\n")[0])


async def ask(port: int, connections: int, count: int, call: bytes) -> dict[str, float]:
    """Good and bad answers, and the seconds it took. Raises TimeoutError, OSError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()
    counts = {"good": 0, "bad": 0, "open": connections}
    turns = iter(range(count))
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        for _ in range(connections):
            await loop.create_connection(lambda: Asking(call, turns, done, counts), "127.0.0.1", port)
        await done
    return {"good": counts["good"], "bad": counts["bad"], "seconds": time.monotonic() - began}


def main() -> None:
    port, connections, count, file = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        print(json.dumps(runner.run(ask(int(port), int(connections), int(count), request(Path(file).read_bytes())))))


if __name__ == "__main__":
    main()
