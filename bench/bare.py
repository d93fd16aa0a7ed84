"""The floor: an asyncio protocol with llhttp that answers each request at once, on uvloop where that is installed.

    python bench/bare.py PORT

It says what the gateway's upstream says in these benchmarks, so it serves as that, too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import cast

from httptools import HttpRequestParser

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
BODY = json.dumps(COMPLETION, separators=(",", ":")).encode()
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Bare(asyncio.Protocol):
    """A connection: every message that is complete gets the same reply."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._parser = HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(REPLY)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


def loop_factory() -> asyncio.AbstractEventLoop:
    """The loop that the gateway runs on, too."""
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(int(sys.argv[1])))
