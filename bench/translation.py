"""What translation costs: each pair of dialects, a call with its reply, and a chunk of a stream; and what a guard adds.

No sockets. A call is read, translated, written; its reply is read, translated, written. A stream comes in events of one
word each. The diagonal is what a call costs that is not translated: it is read, its reply's usage is read, and a chunk
is looked at for usage. Last, 100 chunks through the whole server, as they pass and with `regex` on replies.

    python bench/translation.py            two tables and a ratio, µs of CPU
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import inf
from pathlib import Path

import bodies
import contestants
import load
import machine
import pipeline
from contestants import direct
from processes import SERVER_CORE

from agentgateway._host import access_log
from agentgateway._host.outlet import Outlet
from agentgateway.exchange import Usage
from agentgateway.llm.calls import ChatReply, Dialect, LlmCall, LlmReply, Text
from agentgateway.llm.chat import Delta, Ended, PartEnded, PartStarted, Started, TextDelta
from agentgateway.llm.dialects import dialect
from agentgateway.llm.documents import dump
from agentgateway.llm.framed import meter
from agentgateway.llm.streams import Translator

NAMES = ("completions", "responses", "messages", "gemini", "converse")
WORDS = 100
REPLY = ChatReply("id-1", "mock-model", (Text("aaaaa " * 106),), "stop", usage=Usage(120, 80))
OUT = Path(__file__).parent / "out"


def call_in(to: Dialect, *, stream: bool) -> tuple[bytes, str]:
    """The benchmarks' call in that dialect, and the path it is sent to."""
    own = LlmCall.read(dialect("completions"), bodies.call(stream=stream), "/v1/chat/completions")
    call = own if to.name == own.dialect.name else own.translated(to)
    return call.body(), to.path("mock-model", stream=stream)


def deltas() -> Sequence[Delta]:
    started = [Started("id-1", "mock-model"), PartStarted(0, "text")]
    return [*started, *[TextDelta(0, " word")] * WORDS, PartEnded(0), Ended("stop", usage=Usage(120, WORDS))]


def chunks_of(speaks: Dialect) -> list[bytes]:
    """A vendor's stream, a chunk for each event."""
    encoder = speaks.encoder(include_usage=True)
    made = [encoder.feed(delta) for delta in deltas()]
    return [chunk for chunk in [*made, encoder.end()] if chunk]


def whole(wanted: Dialect, speaks: Dialect) -> Callable[[], object]:
    """One call of a client of `wanted` to a vendor that speaks the other, and its reply."""
    raw, path = call_in(wanted, stream=False)
    answer = dump(speaks.encode_reply(REPLY))

    def once() -> None:
        call = LlmCall.read(wanted, raw, path)
        call.outbound(speaks, "mock-model").body()
        reply = LlmReply.read(speaks, answer)
        reply.usage()
        if speaks is not wanted:
            reply.translated(wanted, call.canonical()).body()

    return once


def streamed(wanted: Dialect, speaks: Dialect) -> Callable[[], object]:
    raw, path = call_in(wanted, stream=True)
    call, chunks = LlmCall.read(wanted, raw, path), chunks_of(speaks)
    call.canonical()

    def once() -> None:
        watch = meter(speaks)
        translator = None if speaks is wanted else Translator(speaks, wanted, call, parser=watch.parsed)
        for chunk in chunks:
            watch.see(chunk)
            if translator is not None:
                translator.feed(chunk)
        if translator is not None:
            translator.end()
        assert watch.usage(call).output_tokens == WORDS, (speaks.name, watch.usage(call))

    return once


def cost(once: Callable[[], object], rounds: int, seconds: float = 0.01) -> float:
    """CPU microseconds: the least of `rounds`, each about as long as that."""
    began, count = time.process_time(), 0
    while time.process_time() - began < seconds:
        once()
        count += 1
    return pipeline.cost(once, count=count, rounds=rounds)


def table(title: str, measure: Callable[[Dialect, Dialect], float]) -> None:
    print(f"\n{title}\n\n| client ╲ vendor | {' | '.join(NAMES)} |\n|---|{'---|' * len(NAMES)}")
    for wanted in map(dialect, NAMES):
        cells = [measure(wanted, dialect(speaks)) for speaks in NAMES]
        print(f"| {wanted.name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


def guarded(rounds: int) -> None:
    """Whole servers, 32 streams at once: as they pass, and with a guard on replies; in turn."""
    files = bodies.write(OUT / "bodies")
    best = {"as it passes": inf, "with `regex`": inf}
    with ExitStack() as stack:
        mock = direct()
        stack.callback(mock.process.stop)
        field = [contestants.edge(mock.port, OUT), contestants.guarded(mock.port, OUT)]
        for one in field:
            stack.callback(one.process.stop)
        for _ in range(rounds):
            for name, one in zip(best, field, strict=True):
                before = one.process.cpu()
                outcome = load.streamed(one.port, files["stream"], one.headers, connections=32, rounds=1, seconds=20)
                best[name] = min(best[name], (one.process.cpu() - before) / outcome.count * 1e6)
    bare, guard = best.values()
    print(f"\nA chunk through the server: {bare:.1f} µs; with `regex` on replies {guard:.1f} µs, ", end="")
    print(f"{guard / bare:.2f} times as much.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each cell, the cheapest counts (9)")
    rounds = parser.parse_args().rounds
    access_log.LINES.outlet = Outlet(os.open(os.devnull, os.O_WRONLY))
    table("A call and its reply, µs of CPU:", lambda wanted, speaks: cost(whole(wanted, speaks), rounds))
    table("A chunk of a stream, µs of CPU:", lambda wanted, speaks: cost(streamed(wanted, speaks), rounds) / WORDS)
    guarded(rounds)
    print(
        f"\n{machine.calibration(SERVER_CORE):.1f} ms  calibration loop (see README.md): the machine's speed just now"
    )


if __name__ == "__main__":
    main()
