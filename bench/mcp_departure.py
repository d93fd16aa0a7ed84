"""How long after a client has left a tool's call its server knows: ms from the client's `close` to the notice.

Servers that hold every call: by Streamable HTTP, saying nothing or having begun to stream (the notice is the closed
connection), by the legacy transport (a POST of notifications/cancelled), and a program (a line with the same).

    python bench/mcp_departure.py             a table, median and most of 200 departures each
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from contestants import free_port
from mcp import wait_for
from processes import LOAD_CORE, SERVER_CORE, Process

HERE = Path(__file__).parent
OUT = HERE / "out"
LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
OPENED = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
FOUND = {"resultType": "complete", "supportedVersions": [MODERN], "capabilities": {"tools": {}}}
FOUND |= {"ttlMs": 0, "cacheScope": "private"}
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TAKEN = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
CANCELLED = "notifications/cancelled"
KINDS = {
    "Streamable HTTP, nothing said yet": ("waits", "new"),
    "Streamable HTTP, a stream": ("streams", "new"),
    "Streamable HTTP, in a session": ("streams", "old"),
    "legacy HTTP+SSE": ("sse", "old"),
    "stdio, a process a session": ("stdio", "old"),
    "stdio, a process for all": ("stdio", "new"),
}


def child(port: int) -> None:
    """A program that holds calls, and says by UDP when one has begun and when it is cancelled."""
    back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    back.connect(("127.0.0.1", port))
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["method"] == CANCELLED:
            back.send(str(time.monotonic()).encode())
        elif asked["method"] == "tools/call":
            back.send(b"begun")
        elif "id" in asked:
            print(json.dumps(answer(asked)), flush=True)


class Notices(asyncio.DatagramProtocol):
    """What servers have to tell: that a call has begun, and the moment they knew that it is over."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.over: asyncio.Queue[float] = asyncio.Queue()

    def datagram_received(self, data: bytes, address: Any) -> None:
        if data == b"begun":
            self.begun.set()
        else:
            self.over.put_nowait(float(data))


class Holding(asyncio.Protocol):
    """Servers that answer no call, by the first part of their path."""

    stream: Any = None

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._data = b""
        self._holds = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._holds:
            self._notices.over.put_nowait(time.monotonic())

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r")[0] or 0)
            if len(self._data) < end + 4 + length:
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            self._take(head.split("/")[1].split()[0], json.loads(body) if body else {})

    def _take(self, kind: str, asked: dict[str, Any]) -> None:
        method = asked.get("method")
        if not asked:
            Holding.stream = self._transport
            self._transport.write(STREAM + chunk(b"event: endpoint\ndata: /sse\n\n"))
        elif method == "tools/call":
            self._holds = kind != "sse"
            self._transport.write({"sse": TAKEN, "streams": STREAM, "waits": b""}[kind])
            self._notices.begun.set()
        elif "id" not in asked:
            self._transport.write(TAKEN)
            if method == CANCELLED and kind == "sse":
                self._notices.over.put_nowait(time.monotonic())
        else:
            text = json.dumps(answer(asked)).encode()
            if kind == "sse":
                self._transport.write(TAKEN)
                Holding.stream.write(chunk(b"data: " + text + b"\n\n"))
            else:
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text)
                self._transport.write(head + text)


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to anything but a call."""
    result = FOUND if asked["method"] == "server/discover" else OPENED
    return {"jsonrpc": "2.0", "id": asked["id"], "result": result}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def request(kind: str, era: str, session: str, method: str, params: dict[str, Any]) -> bytes:
    meta = {"_meta": META} if era == "new" else {}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}})
    own = f"mcp-method: {method}\r\nmcp-name: {params.get('name')}\r\n" if era == "new" else ""
    own += f"mcp-session-id: {session}\r\n" if session else ""
    version = "" if method == "initialize" else f"mcp-protocol-version: {MODERN if era == 'new' else LEGACY}\r\n"
    head = f"POST /{kind}/mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{version}{own}"
    accept = "accept: application/json, text/event-stream\r\n"
    return f"{head}{accept}content-length: {len(body)}\r\n\r\n{body}".encode()


async def opened(port: int, kind: str) -> str:
    """The id of a new session."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    writer.write(request(kind, "old", "", "initialize", params))
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return head.partition("mcp-session-id: ")[2].partition("\r")[0]


async def departures(port: int, kind: str, era: str, notices: Notices, times: int) -> list[float]:
    """Milliseconds, each of a client that came for one call."""
    session = await opened(port, kind) if era == "old" else ""
    found = []
    for _ in range(times):
        notices.begun.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(kind, era, session, "tools/call", {"name": "say", "arguments": {}}))
        async with asyncio.timeout(10):
            await notices.begun.wait()
            await asyncio.sleep(0.005)  # until what came of it has reached the gateway
            left = time.monotonic()
            writer.close()
            found.append((await notices.over.get() - left) * 1e3)
    return found


def gateway(upstream: int, back: int, stack: ExitStack) -> int:
    port = free_port()
    url = f"http://127.0.0.1:{upstream}"
    targets: dict[str, Any] = {kind: {"mcp": {"host": f"{url}/{kind}"}} for kind in ("waits", "streams")}
    targets["sse"] = {"sse": {"host": f"{url}/sse"}}
    targets["stdio"] = {"stdio": {"cmd": sys.executable, "args": [__file__, "--child", str(back)]}}
    routes = [
        {
            "name": kind,
            "matches": [{"path": {"exact": f"/{kind}/mcp"}}],
            "backends": [{"mcp": {"targets": [{"name": kind, **target}]}}],
        }
        for kind, target in targets.items()
    ]
    file = OUT / "mcp_departure.json"
    ports = dict.fromkeys(("adminAddr", "statsAddr", "readinessAddr"), "off")
    file.write_text(json.dumps({"config": ports, "gateways": {"default": {"port": port}}, "routes": routes}))
    command = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    stack.enter_context(Process(command, core=SERVER_CORE, log=OUT / "mcp_departure.log", quiet=True))
    wait_for(port)
    return port


async def measure(times: int) -> None:
    loop, notices = asyncio.get_running_loop(), Notices()
    server = await loop.create_server(lambda: Holding(notices), "127.0.0.1", 0)
    back, _ = await loop.create_datagram_endpoint(lambda: notices, ("127.0.0.1", 0))
    with ExitStack() as stack:
        port = gateway(server.sockets[0].getsockname()[1], back.get_extra_info("sockname")[1], stack)
        print("| server | median, ms | most, ms |\n|---|---|---|")
        for name, (kind, era) in KINDS.items():
            found = await departures(port, kind, era, notices, times)
            print(f"| {name} | {statistics.median(found):.1f} | {max(found):.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=200)
    asked_for = parser.parse_args()
    if asked_for.child is not None:
        child(asked_for.child)
        return
    OUT.mkdir(exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    asyncio.run(measure(asked_for.times))


if __name__ == "__main__":
    main()
