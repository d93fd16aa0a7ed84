"""sse_client.c over TLS, in Python: the same words on the command line, the same JSON at the end.

Slower than the one in C, and so for some dozens of streams only.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from pathlib import Path
from typing import cast

from bare import loop_factory

SENT = re.compile(rb'"content": ?"t(\d+)"')
END = b"data: [DONE]"


class Stream(asyncio.Protocol):
    """One connection: asks `rounds` times, each time when the stream before has ended."""

    def __init__(self, request: bytes, rounds: int, stop_at: float, latencies: list[float]) -> None:
        self._request = request
        self._rounds = rounds
        self._stop_at = stop_at
        self._latencies = latencies
        self._tail = b""
        self.errors = 0
        self.finished = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._tail + data
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            self.errors += 1
            self._transport.close()
            return
        last = 0
        for found in SENT.finditer(data):
            self._latencies.append((now - int(found[1])) / 1e3)
            last = found.end()
        self._tail = data[max(last, len(data) - 256) :]
        if END in self._tail and self._tail.rstrip().endswith(b"\r\n0"):
            self._tail = b""
            self.finished += 1
            if self.finished < self._rounds and time.monotonic() < self._stop_at:
                self._transport.write(self._request)
            else:
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


async def run(port: int, connections: int, rounds: int, seconds: int, request: bytes) -> dict[str, float]:
    loop, began = asyncio.get_running_loop(), time.monotonic()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a certificate of our own, on this machine
    latencies: list[float] = []
    streams = []
    for _ in range(connections):
        _, stream = await loop.create_connection(
            lambda: Stream(request, rounds, began + seconds, latencies), "127.0.0.1", port, ssl=context
        )
        streams.append(stream)
    async with asyncio.timeout(seconds + 40):
        for stream in streams:
            await stream.closed
    wall = time.monotonic() - began
    latencies.sort()
    return {
        "seconds": wall,
        "streams": sum(stream.finished for stream in streams),
        "chunks": len(latencies),
        "chunks_per_s": len(latencies) / wall,
        "errors": sum(stream.errors for stream in streams),
        "p50_us": latencies[len(latencies) // 2] if latencies else 0,
        "p99_us": latencies[int(len(latencies) * 0.99)] if latencies else 0,
    }


def main() -> None:
    port, connections, rounds, seconds, file, path, headers = sys.argv[1:]
    body = Path(file).read_bytes()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{headers}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        print(json.dumps(runner.run(run(int(port), int(connections), int(rounds), int(seconds), request))))


if __name__ == "__main__":
    main()
