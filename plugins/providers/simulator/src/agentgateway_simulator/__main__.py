"""`python -m agentgateway_simulator --port 0`: serve until a signal, and print where."""

from __future__ import annotations

import argparse
import asyncio
import signal

from agentgateway.settings import parse_duration
from agentgateway_simulator.config import SimulatorConfig
from agentgateway_simulator.server import Server


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m agentgateway_simulator",
        description="A stand-in for OpenAI's and Anthropic's APIs. Prints its address when it is ready.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=4001, help="0 lets the system choose (4001)")
    parser.add_argument("--key", help="refuse calls without this key")
    parser.add_argument("--model", action="append", help="a model of /v1/models; may be repeated (simulator)")
    parser.add_argument("--reply", default="You said: {text}", help="what it answers")
    parser.add_argument("--tokens", type=int, help="answer with so many words of filler text instead")
    parser.add_argument("--pace", type=parse_duration, default=0.0, help="between two chunks of a stream, as in 20ms")
    parser.add_argument("--latency", type=parse_duration, default=0.0, help="before the first byte, as in 1s")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    config = SimulatorConfig.model_construct(
        reply=options.reply, tokens=options.tokens, pace=options.pace, latency=options.latency
    )
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    models = options.model or ["simulator"]
    async with Server(config, key=options.key, models=models, host=options.host, port=options.port) as server:
        print(server.url, flush=True)
        await done.wait()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
