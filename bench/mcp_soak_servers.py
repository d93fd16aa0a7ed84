"""MCP servers for the soak, with sessions: one over HTTP, which streams and talks to whoever listens, and a program.

python bench/mcp_soak_servers.py http PORT
python bench/mcp_soak_servers.py stdio
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from itertools import count
from typing import Any

VERSION = "2025-11-25"
EVENTS = 5
PAUSE = 0.05
TICK_SECONDS = 3.0
TOOL = {
    "name": "say",
    "description": "Says a word.",
    "inputSchema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def result(message: dict[str, Any]) -> dict[str, Any]:
    """The response. A call's has the word in it, and some more."""
    method, params = message.get("method"), message.get("params", {})
    found: dict[str, Any] = {}
    if method == "initialize":
        info = {"name": "soak", "version": "1"}
        found = {"protocolVersion": VERSION, "capabilities": {"tools": {}, "logging": {}}, "serverInfo": info}
    elif method == "tools/list":
        found = {"tools": [TOOL]}
    elif method == "tools/call":
        found = {
            "content": [{"type": "text", "text": params["arguments"]["word"]}, {"type": "text", "text": "a" * 500}]
        }
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": found}


def told(data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": data}}


def event(message: Any) -> bytes:
    text = b"event: message\ndata: %b\n\n" % json.dumps(message).encode()
    return b"%x\r\n%b\r\n" % (len(text), text)


def whole(status: int, document: Any = None, session: str = "") -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    own = f"mcp-session-id: {session}\r\n" if session else ""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{own}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class HttpServer:
    """Sessions last as long as the process."""

    def __init__(self) -> None:
        self._sessions: set[str] = set()
        self._numbers = count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                verb, _, rest = (await reader.readuntil(b"\r\n\r\n")).decode().lower().partition(" ")
                headers = dict(line.split(": ", 1) for line in rest.split("\r\n")[1:] if ": " in line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(verb, headers, json.loads(body) if body else {}, writer)
                await writer.drain()
        writer.close()

    async def _answer(
        self, verb: str, headers: dict[str, str], message: dict[str, Any], writer: asyncio.StreamWriter
    ) -> None:
        session, method = headers.get("mcp-session-id", ""), message.get("method")
        if method == "initialize":
            self._sessions.add(fresh := f"{os.getpid()}-{next(self._numbers)}")
            writer.write(whole(200, result(message), fresh))
        elif method == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            writer.write(whole(404, {"jsonrpc": "2.0", "id": message["id"], "error": error}))
        elif session not in self._sessions:
            writer.write(whole(404, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no session"}}))
        elif verb == "delete":
            self._sessions.discard(session)
            writer.write(whole(200))
        elif verb == "get":
            await self._talk(writer)
        elif "id" not in message:
            writer.write(whole(202))
        elif message.get("params", {}).get("arguments", {}).get("streamed"):
            await self._stream(message, writer)
        else:
            writer.write(whole(200, result(message)))

    async def _talk(self, writer: asyncio.StreamWriter) -> None:
        """To somebody who listens: a number every few seconds."""
        writer.write(HEAD)
        for number in count():
            writer.write(event(told(number)))
            await writer.drain()
            await asyncio.sleep(TICK_SECONDS)

    async def _stream(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for number in range(EVENTS):
            writer.write(event(told(f"{message['params']['arguments']['word']} {number}")))
            await writer.drain()
            await asyncio.sleep(PAUSE)
        writer.write(event(result(message)) + b"0\r\n\r\n")


async def http(port: int) -> None:
    server = await asyncio.start_server(HttpServer().serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def stdio() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
        elif "id" in message:
            print(json.dumps(result(message)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "http":
        asyncio.run(http(int(sys.argv[2])))
    else:
        stdio()
