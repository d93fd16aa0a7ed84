"""The pipeline alone: no sockets, no event loop's wakeups, one coroutine driven by hand.

A real configuration (`conf/agentgateway.yaml`) is compiled as the server compiles it; only the transport is replaced,
by one that answers at once with bytes it has. Measured is the CPU time from the request's head and body to the reply
written and logged, the making of the `Exchange` included; the access log's lines are formatted and written to
/dev/null. Best of several rounds, because other people's work on the machine only ever adds.

    python bench/pipeline.py             µs a call, and µs a streamed chunk
    python bench/pipeline.py --profile   where they go
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import bodies
import machine
import sampler
import spans
from processes import SERVER_CORE

from agentgateway._host import access_log, pipeline
from agentgateway._host.load import read
from agentgateway._host.outlet import Outlet
from agentgateway._host.routes import Listener
from agentgateway._host.runtime import Runtime
from agentgateway._host.static_config import StaticConfig
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.exchange import Body, Exchange, Headers, Request, Source

HERE = Path(__file__).parent
CHUNKS = 100
HEADERS = [
    (b"host", b"127.0.0.1:4000"),
    (b"authorization", b"Bearer sk-bench"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"user-agent", b"OpenAI/Python 3.52.0"),
    (b"x-stainless-lang", b"python"),
    (b"content-length", b"1784"),
]
COMPLETION = {
    "id": "chatcmpl-mock0001",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "mock-model",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "aaaaa " * 106, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 120, "completion_tokens": 80, "total_tokens": 200},
    "service_tier": "default",
    "system_fingerprint": "fp_mock",
}
CHUNK = {
    "id": "chatcmpl-mock0001",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "mock-model",
    "system_fingerprint": "fp_mock",
    "choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}],
}
USAGE = {**CHUNK, "choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": CHUNKS, "total_tokens": 220}}


def event(document: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(document, separators=(",", ":")).encode()


class Canned:
    """A transport that has the answer already."""

    def __init__(self) -> None:
        self.body = json.dumps(COMPLETION, separators=(",", ":")).encode()
        self.chunks = [event(CHUNK)] * CHUNKS + [event(USAGE), b"data: [DONE]\n\n"]
        self._head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]

    async def send(self, origin: Any, head: bytes, body: Any, *, expect_stream: bool, **_: Any) -> Any:
        if expect_stream:
            return CannedStream(self.chunks)
        response = UpstreamResponse(None, None, 0)  # type: ignore[arg-type]
        response.status = 200
        response.headers = self._head[:]
        response.finished(self.body)
        return response


class CannedStream:
    """An upstream's streamed answer, all of it here."""

    status = 200
    body = None

    def __init__(self, chunks: list[bytes]) -> None:
        self.headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        self._left = iter(chunks)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._left:
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Nothing is open."""


def listener() -> Listener:
    environ = {"BENCH_UPSTREAM": "127.0.0.1:9", "BENCH_PORT": "4000"}
    file = str(HERE / "conf" / "agentgateway.yaml")
    document = read(file, environ=environ)
    runtime = Runtime(file, document, environ, StaticConfig.model_validate(document.data["config"]))
    runtime._lends.transport = Canned()  # type: ignore[assignment]
    (bind,) = runtime.gateway.binds.values()
    return bind.listeners[0].listener


async def write(exchange: Exchange) -> None:
    """What a face does, without the socket: the reply whole, or to its last chunk."""
    reply = exchange.reply
    assert reply is not None
    if isinstance(reply.body, bytes):
        exchange.sent_bytes += len(reply.body)
        return
    async for chunk in reply.body:
        exchange.sent_bytes += len(chunk)


def call(at: Listener, body: bytes) -> Exchange:
    """One request through the pipeline."""
    exchange = exchange_of(at, body)
    drive(pipeline.run(exchange, at, write))
    return exchange


def exchange_of(at: Listener, body: bytes) -> Exchange:
    """What a face makes of a request."""
    request = Request("POST", "/v1/chat/completions", Headers(HEADERS[:]), Body(body), authority="127.0.0.1:4000")
    exchange = Exchange(request, Source("127.0.0.1", 50000))
    exchange.place = at.place
    return exchange


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """To its end, which it must reach without waiting."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("the pipeline waited for something")


def cost(once: Callable[[], object], *, count: int, rounds: int) -> float:
    """CPU microseconds of a call: the least round of `rounds`, each of `count`."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(count):
            once()
        access_log.LINES.flush()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def check(at: Listener) -> None:
    """The pipeline really does what is measured."""
    exchange = call(at, bodies.call())
    assert exchange.status == 200 and exchange.usage is not None and exchange.usage.total_tokens == 200, exchange.error
    assert exchange.principal is not None and exchange.principal.claims["team"] == "platform"
    refused = Request("POST", "/v1/chat/completions", Headers(), Body(bodies.call()))
    stranger = Exchange(refused)
    drive(pipeline.run(stranger, at, write))
    assert stranger.status == 401, stranger
    streamed = call(at, bodies.call(stream=True))
    assert streamed.usage is not None and streamed.usage.output_tokens == CHUNKS, streamed.error


async def measure(rounds: int) -> dict[str, float]:
    """Inside a running loop, as in the server, so that log lines are written in batches."""
    at = listener()
    check(at)
    small, large, stream = bodies.call(), bodies.call(turns=200), bodies.call(stream=True)
    old = small.replace(b'"max_completion_tokens"', b'"max_tokens"')
    whole = cost(lambda: call(at, stream), count=50, rounds=rounds)
    return {
        "buffered": cost(lambda: call(at, small), count=2000, rounds=rounds),
        "buffered, rewritten (max_tokens)": cost(lambda: call(at, old), count=2000, rounds=rounds),
        "buffered, 200 KB": cost(lambda: call(at, large), count=40, rounds=rounds),
        f"stream of {CHUNKS} chunks": whole,
        "passed-through chunk (stream / chunks)": whole / (CHUNKS + 2),
    }


async def profile(seconds: float) -> None:
    at = listener()
    check(at)
    small = bodies.call()
    total, rows = spans.table(at, lambda to: call(to, small), 3000)
    rows.append(("making the Exchange", cost(lambda: exchange_of(at, small), count=3000, rounds=9)))
    rows.append(("the pipeline's own code", total - sum(us for _, us in rows)))
    say(f"{total:.1f} µs of wall clock a call (median), by participant:\n")
    for name, us in sorted(rows, key=lambda row: -row[1]):
        say(f"{us:8.2f} µs {us / total:6.1%}  {name}")
    functions(lambda: call(at, small), seconds)


def functions(once: Callable[[], object], seconds: float) -> None:
    watch, calls = sampler.Sampler(), 0
    watch.start()
    began = time.process_time()
    while time.process_time() - began < seconds:
        for _ in range(100):
            once()
        access_log.LINES.flush()
        calls += 100
    shares = watch.stop()
    say(f"\n{watch.seconds / calls * 1e6:.1f} µs of CPU a call, by function (itself; with all it calls):\n")
    say("\n".join(sampler.table(shares, calls, 50)))


def say(line: str) -> None:
    """Beside the access log, which has standard output to itself."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="store_true", help="where the time goes, by participant and by function")
    parser.add_argument("--rounds", type=int, default=15, help="rounds, the cheapest counts (15)")
    arguments = parser.parse_args()
    access_log.LINES.outlet = Outlet(os.open(os.devnull, os.O_WRONLY))
    if arguments.profile:
        asyncio.run(profile(8.0))
        return
    results = asyncio.run(measure(arguments.rounds))
    for name, us in results.items():
        print(f"{us:9.2f} µs  {name}")
    print(f"{machine.calibration(SERVER_CORE):9.1f} ms  calibration loop (see README.md): the machine's speed just now")


if __name__ == "__main__":
    main()
