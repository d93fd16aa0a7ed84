"""What the MCP relay costs: CPU a message, beside FastMCP's proxy and IBM's ContextForge where they install.

A server on another core answers at once, whole or as a stream of one event. The gateway stands in front of one such
server, of three, and of fifty with forty tools each, on both eras of the protocol where they differ.

    python bench/mcp.py                                   a table, µs of CPU a message
    python bench/mcp.py --fastmcp .venv-with-fastmcp/bin/python
    python bench/mcp.py --contextforge                    installed into .peers first
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import contextforge
from contestants import free_port
from processes import LOAD_CORE, SERVER_CORE, Process

HERE = Path(__file__).parent
OUT = HERE / "out"
MODERN, LEGACY = "2026-07-28", "2025-06-18"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
TOOLS = [
    {
        "name": f"tool-{number}",
        "description": "Does something that takes a sentence to describe, as tools do.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    }
    for number in range(40)
]
SAID = {"resultType": "complete", "content": [{"type": "text", "text": "a" * 200}], "isError": False}
LISTED = {"resultType": "complete", "tools": TOOLS, "ttlMs": 0, "cacheScope": "private"}
FOUND = {
    "resultType": "complete",
    "supportedVersions": [MODERN],
    "capabilities": {"tools": {}},
    "ttlMs": 0,
    "cacheScope": "private",
}
OPENED = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "mock", "version": "1"}}
RESULTS = {"tools/list": LISTED, "tools/call": SAID, "server/discover": FOUND, "initialize": OPENED}
PROXY = """
import sys
from fastmcp.server import create_proxy
create_proxy(sys.argv[1], name="proxy").run(transport="http", port=int(sys.argv[2]), show_banner=False,
                                             stateless_http=True, json_response=True, log_level="ERROR")
"""


class Answering(asyncio.Protocol):
    """An MCP server of the version without sessions. A call of `stream` is answered as an event stream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (head := self._data.find(b"\r\n\r\n")) >= 0:
            fields = self._data[:head].lower()
            at = fields.find(b"content-length:")
            length = int(fields[at + 15 : fields.find(b"\r", at) if b"\r" in fields[at:] else None]) if at >= 0 else 0
            end = head + 4 + length
            if len(self._data) < end:
                return
            body, self._data = self._data[head + 4 : end], self._data[end:]
            self._transport.write(answer(json.loads(body)))


def answer(message: dict[str, Any]) -> bytes:
    result = RESULTS.get(message.get("method", ""), {})
    text = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
    kind = b"application/json"
    if message.get("params", {}).get("arguments", {}).get("text") == "stream":
        kind, text = b"text/event-stream", b"event: message\ndata: " + text + b"\n\n"
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(text), text)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


def request(path: str, method: str, **params: Any) -> bytes:
    name = f"mcp-name: {params['name']}\r\n" if "name" in params else ""
    return posted(path, method, {**params, "_meta": META}, MODERN, f"mcp-method: {method}\r\n{name}")


def posted(path: str, method: str, params: dict[str, Any], version: str, fields: str) -> bytes:
    """A message with some more fields in its head."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"accept: application/json, text/event-stream\r\nmcp-protocol-version: {version}\r\n"
        f"{fields}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def asked(sock: socket.socket, message: bytes) -> bytes:
    """One message and its whole answer, with a length or in chunks."""
    sock.sendall(message)
    data = b""
    while True:
        data += sock.recv(1 << 20)
        head = data.find(b"\r\n\r\n")
        if head < 0:
            continue
        fields = data[:head].lower()
        if b"transfer-encoding: chunked" in fields:
            if data.endswith(b"0\r\n\r\n"):
                return data
            continue
        at = fields.find(b"content-length:")
        if len(data) >= head + 4 + int(fields[at + 15 :].split(b"\r")[0]):
            return data


def cost(process: Process | None, port: int, message: bytes, calls: int, rounds: int = 5) -> tuple[float, float]:
    """µs of CPU of the process a message, and ms until the answer: the least of some rounds."""
    best = (float("inf"), float("inf"))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = asked(sock, message)
        if b'"result"' not in first:
            raise SystemExit(f"no result: {first[:500]!r}")
        for _ in range(rounds):
            cpu, began = (process.cpu() if process else 0.0), time.perf_counter()
            for _ in range(calls):
                asked(sock, message)
            spent = ((process.cpu() if process else 0.0) - cpu) / calls * 1e6
            best = min(best, (spent, (time.perf_counter() - began) / calls * 1e3))
    return best


def wait_for(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def gateway(upstream: int, stack: ExitStack) -> tuple[Process, int]:
    """One gateway with a route for each number of servers."""
    port = free_port()
    target = {"mcp": {"host": f"http://127.0.0.1:{upstream}/mcp"}}
    routes = [
        {
            "name": f"of-{many}",
            "matches": [{"path": {"exact": f"/{many}"}}],
            "backends": [{"mcp": {"targets": [{"name": f"s{number}", **target} for number in range(many)]}}],
        }
        for many in (1, 3, 50)
    ]
    file = OUT / "mcp.json"
    ports = dict.fromkeys(("adminAddr", "statsAddr", "readinessAddr"), "off")
    file.write_text(json.dumps({"config": ports, "gateways": {"default": {"port": port}}, "routes": routes}))
    command = [Path(sys.executable).with_name("agentgateway"), "-f", file]
    process = stack.enter_context(Process(command, core=SERVER_CORE, log=OUT / "mcp.log", quiet=True))
    wait_for(port)
    return process, port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fastmcp", help="a Python that has FastMCP")
    parser.add_argument("--contextforge", action="store_true", help="install it if need be, and take part")
    parser.add_argument("--calls", type=int, default=1000)
    asked_for = parser.parse_args()
    if asked_for.serve is not None:
        asyncio.run(serve(asked_for.serve))
        return
    OUT.mkdir(exist_ok=True)
    with ExitStack() as stack:
        upstream, calls = free_port(), asked_for.calls
        stack.enter_context(Process([sys.executable, __file__, "--serve", str(upstream)], core=LOAD_CORE))
        wait_for(upstream)
        process, port = gateway(upstream, stack)
        whole, stream = {"text": "hi"}, {"text": "stream"}
        print("| message | µs of CPU | ms, one after the other |\n|---|---|---|")

        def row(name: str, server: Process | None, at: int, message: bytes, times: int) -> float:
            spent, taken = cost(server, at, message, times)
            print(f"| {name} | {spent:,.0f} | {taken:.2f} |", flush=True)
            return spent

        row(
            "direct, `tools/call`", None, upstream, request("/mcp", "tools/call", name="tool-1", arguments=whole), calls
        )
        own: dict[tuple[int, str], float] = {}
        for many, name in ((1, "tool-1"), (3, "s1_tool-1")):
            for arguments, how in ((whole, "whole"), (stream, "a stream")):
                message = request(f"/{many}", "tools/call", name=name, arguments=arguments)
                own[many, how] = row(f"`tools/call`, {how}, {many} servers", process, port, message, calls)
        row("`tools/list`, 50 servers of 40 tools", process, port, request("/50", "tools/list"), max(10, calls // 50))
        if asked_for.fastmcp:
            peer = free_port()
            command = [asked_for.fastmcp, "-c", PROXY, f"http://127.0.0.1:{upstream}/mcp", str(peer)]
            other = stack.enter_context(Process(command, core=SERVER_CORE, log=OUT / "fastmcp.log"))
            wait_for(peer)
            message = request("/mcp", "tools/call", name="tool-1", arguments=whole)
            theirs = row("FastMCP's proxy, `tools/call`", other, peer, message, max(20, calls // 20))
            print(f"\nFastMCP's proxy costs {theirs / own[1, 'whole']:.1f} times as much.")
            other.stop()
        if asked_for.contextforge:
            contextforge.install()
            other, peer, who = contextforge.start(stack, OUT)
            wait_for(peer)
            contextforge.register(peer, who, upstream)
            params = {"name": "bench-tool-1", "arguments": whole}
            message = posted("/mcp", "tools/call", params, LEGACY, who)
            title = f"ContextForge {contextforge.version()}, `tools/call`"
            theirs = row(title, other, peer, message, max(20, calls // 20))
            print(f"\nContextForge costs {theirs / own[1, 'whole']:.1f} times as much.")


if __name__ == "__main__":
    main()
