"""The edge, the pipeline and the upstream client of 32 connections in step, without sockets.

    python bench/unwired.py [--stream]           instructions of the interpreter and calls of functions, by function
    python bench/unwired.py [--stream] --clock   for each line of input, CPU µs a call (or chunk); see duel.py

Instructions are the same whatever else the machine does. They say what code is run, not what it costs: a call into C is
one of them, and code that runs once a request costs more than the same in a loop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import bodies
import pipeline

from agentgateway._host import access_log
from agentgateway._host.edge.connection import EdgeConnection
from agentgateway._host.face import UNKNOWN
from agentgateway._host.h1_client import H1Connection
from agentgateway._host.load import read
from agentgateway._host.outlet import Outlet
from agentgateway._host.pool import Pool
from agentgateway._host.runtime import Runtime
from agentgateway._host.static_config import StaticConfig
from agentgateway._host.traffic import Traffic
from agentgateway.endpoints import Origin

HERE = Path(__file__).parent
CONNECTIONS = 32
BURSTS = 20
"""Calls of each connection in a round; one for streams."""
HEAD = """\
POST /v1/chat/completions HTTP/1.1\r
Host: 127.0.0.1:4000\r
Accept-Encoding: gzip, deflate\r
Connection: keep-alive\r
Accept: application/json\r
Content-Type: application/json\r
User-Agent: OpenAI/Python 3.52.0\r
X-Stainless-Lang: python\r
X-Stainless-Package-Version: 3.52.0\r
X-Stainless-OS: Linux\r
X-Stainless-Arch: x64\r
X-Stainless-Runtime: CPython\r
X-Stainless-Runtime-Version: 3.11.7\r
Authorization: Bearer sk-bench\r
X-Stainless-Async: false\r
x-stainless-retry-count: 0\r
Content-Length: {}\r
\r
"""
REPLY_HEAD = """\
HTTP/1.1 200 OK\r
Date: Fri, 21 Nov 2025 12:00:00 GMT\r
Content-Type: {}\r
{}\r
Connection: keep-alive\r
access-control-expose-headers: X-Request-ID\r
openai-organization: example\r
openai-processing-ms: 812\r
openai-project: proj_0000000000000000\r
openai-version: 2020-10-01\r
x-ratelimit-limit-requests: 10000\r
x-ratelimit-limit-tokens: 2000000\r
x-ratelimit-remaining-requests: 9999\r
x-ratelimit-remaining-tokens: 1999000\r
x-ratelimit-reset-requests: 6ms\r
x-ratelimit-reset-tokens: 30ms\r
x-request-id: req_00000000000000000000000000000000\r
x-envoy-upstream-service-time: 815\r
cf-cache-status: DYNAMIC\r
Set-Cookie: __cf_bm=0; path=/; domain=.example.com; HttpOnly; Secure\r
Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r
X-Content-Type-Options: nosniff\r
Server: cloudflare\r
CF-RAY: 0000000000000000-FRA\r
alt-svc: h3=":443"; ma=86400\r
\r
"""
"""As vendors answer: two dozen fields."""


class Wire:
    """A transport that keeps the last that was written, and tells whom it belongs to."""

    def __init__(self, owner: Any, written: list[Any]) -> None:
        self.last = b""
        self._owner = owner
        self._written = written

    def write(self, data: bytes) -> None:
        self.last = data
        self._written.append(self._owner)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 50000) if name == "peername" else None

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Door:
    traffic = Traffic()
    number = 4000

    def entered(self, connection: EdgeConnection) -> None: ...
    def left(self, connection: EdgeConnection) -> None: ...


class Load:
    """Clients that all ask at once, and upstreams that answer at once, piece by piece."""

    def __init__(self, *, stream: bool) -> None:
        environ = {"BENCH_UPSTREAM": "127.0.0.1:9", "BENCH_PORT": "4000"}
        file = str(HERE / "conf" / "agentgateway.yaml")
        document = read(file, environ=environ)
        runtime = Runtime(file, document, environ, StaticConfig.model_validate(document.data["config"]))
        self._asked: list[H1Connection] = []
        transport: Any = runtime._lends.transport
        make = transport._pool
        transport._pool = lambda origin: self._opened(make(origin), origin)
        self._clients = [EdgeConnection(Door(), runtime, lambda transport: UNKNOWN) for _ in range(CONNECTIONS)]  # type: ignore[arg-type]
        self.wires = [Wire(client, []) for client in self._clients]
        for client, wire in zip(self._clients, self.wires, strict=True):
            client.connection_made(wire)  # type: ignore[arg-type]
        body = bodies.call(stream=stream)
        self._call = HEAD.format(len(body)).encode() + body
        canned = pipeline.Canned()
        chunks = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in canned.chunks]
        if stream:
            head = REPLY_HEAD.format("text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")
            self._pieces = [head.encode(), *chunks, b"0\r\n\r\n"]
        else:
            head = REPLY_HEAD.format("application/json", f"Content-Length: {len(canned.body)}")
            self._pieces = [head.encode() + canned.body]
        self.units = CONNECTIONS * (len(chunks) if stream else 1)

    def _opened(self, pool: Pool, origin: Origin) -> Pool:
        """A pool whose connections are all there."""
        for _ in range(CONNECTIONS):
            connection = H1Connection(pool, pool.loop, max_head=65536, label=origin.label)
            connection.connection_made(Wire(connection, self._asked))  # type: ignore[arg-type]
            pool._slots += 1
            pool.release(connection)
        return pool

    async def burst(self) -> None:
        """A call of each client."""
        for client in self._clients:
            client.data_received(self._call)
        asked, self._asked[:] = self._asked[:], []
        for piece in self._pieces:
            for upstream in asked:
                upstream.data_received(piece)
            if piece is self._pieces[0]:
                await asyncio.sleep(0)  # the heads of streams go out
        for wire in self.wires:
            wire._written.clear()


class Steps:
    """Counts instructions and calls."""

    def __init__(self) -> None:
        self.instructions: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: object) -> Steps:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            self.calls[frame.f_code] += 1
        elif event == "opcode":
            self.instructions[frame.f_code] += 1
        return self


async def counted(load: Load, rows: int) -> None:
    steps = Steps()
    sys.settrace(steps)
    await load.burst()
    sys.settrace(None)
    ours = {code for code in steps.calls if code.co_filename != __file__}
    instructions, calls = (
        sum(found[code] for code in ours) / load.units for found in (steps.instructions, steps.calls)
    )
    print(f"{instructions:.0f} instructions, {calls:.0f} calls\n")
    for code in sorted(ours, key=lambda code: -steps.instructions[code])[:rows]:
        each, times = steps.instructions[code] / load.units, steps.calls[code] / load.units
        print(f"{each:8.1f} {times:7.2f}  {Path(code.co_filename).name} {code.co_qualname}")


async def clocked(load: Load, bursts: int) -> None:
    for _ in sys.stdin:
        began = time.process_time()
        for _ in range(bursts):
            await load.burst()
        access_log.LINES.flush()
        print((time.process_time() - began) / (bursts * load.units) * 1e6, flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", action="store_true", help="streams, by chunk, in place of buffered calls")
    parser.add_argument("--clock", action="store_true", help="a round for each line of input")
    parser.add_argument("--rows", type=int, default=50, help="functions to show (50)")
    arguments = parser.parse_args()
    access_log.LINES.outlet = Outlet(os.open(os.devnull, os.O_WRONLY))
    load = Load(stream=arguments.stream)
    for _ in range(8):
        await load.burst()
    if not all(b"200 OK" in wire.last or arguments.stream for wire in load.wires):
        sys.exit(f"not answered: {load.wires[0].last!r}")
    if arguments.clock:
        await clocked(load, 1 if arguments.stream else BURSTS)
    else:
        await counted(load, arguments.rows)


if __name__ == "__main__":
    asyncio.run(main())
