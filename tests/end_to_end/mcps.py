"""MCP servers on loopback that say what a test would have them say, and a client that asks by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urljoin

import httpx

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

Json = dict[str, Any]
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
ACCEPT = "application/json, text/event-stream"
INFO = {"name": "test", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def tool(name: str, *parameters: str, **more: Any) -> Json:
    schema = {
        "type": "object",
        "properties": {one: {"type": "string"} for one in parameters},
        "required": list(parameters),
    }
    return {"name": name, "description": f"Does {name}.", "inputSchema": schema, **more}


def said(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}], "isError": False}


@dataclass
class Server:
    """`answers` has the result of each method, or a function of the request's parameters. `events` are messages before
    the result, which makes the answer a stream of pieces of `size` bytes."""

    name: str
    answers: dict[str, Any] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    size: int = 4096
    modern: bool = True
    legacy: bool = True
    sessions: set[str] = field(default_factory=set)
    opened: int = 0
    hangs: bool = False
    status: int = 200
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))

    def asked(self, method: str) -> list[Received]:
        return [one for one in self.upstream.received if one.method == "POST" and one.json().get("method") == method]

    def answer(self, request: Received) -> Any:
        if request.method == "DELETE":
            self.sessions.discard(request.headers.get("mcp-session-id", ""))
            return reply(200, b"")
        if request.method == "GET":
            return reply(405, b"")
        message = request.json()
        if "id" not in message or "method" not in message:
            return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
        wanted, method = message["id"], message["method"]
        headers = {}
        if not self.legacy and request.headers.get("mcp-protocol-version", "") < MODERN:
            error = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": [MODERN]}}
            return reply(400, {"jsonrpc": "2.0", "id": wanted, "error": error})
        if method == "initialize":
            self.opened += 1
            headers["mcp-session-id"] = f"{self.name}-{self.opened}"
            self.sessions.add(headers["mcp-session-id"])
        elif request.headers.get("mcp-protocol-version", "") < MODERN:
            if request.headers.get("mcp-session-id") not in self.sessions:
                return reply(404, {"jsonrpc": "2.0", "id": wanted, "error": {"code": -32600, "message": "no session"}})
        elif not self.modern:
            return reply(400, {"jsonrpc": "2.0", "id": wanted, "error": {"code": -32000, "message": "unsupported"}})
        result = {**CAPABLE, **self.answers}.get(method)
        if result is None:
            error = {"code": -32601, "message": f"Method not found: {method}"}
            return reply(404, {"jsonrpc": "2.0", "id": wanted, "error": error})
        if callable(result):
            result = result(message.get("params", {}))
        last = {"jsonrpc": "2.0", "id": wanted, **(result if "error" in result else {"result": result})}
        return self._stream(last) if self.events or self.hangs else reply(self.status, last, headers=headers)

    async def _stream(self, last: Json) -> AsyncIterator[bytes]:
        yield stream_head()
        messages = [*self.events, last]
        text = b"".join(b"event: message\ndata: " + json.dumps(one).encode() + b"\n\n" for one in messages)
        for start in range(0, len(text), self.size):
            yield chunk(text[start : start + self.size])
            while self.hangs:
                await asyncio.sleep(0.02)
                yield chunk(b": waiting\n\n")
        yield LAST


class Legacy:
    """A server of the transport of 2024-11-05."""

    def __init__(self) -> None:
        self.streams: list[asyncio.Queue[bytes | None]] = []
        self.upstream = Upstream(self.answer)

    def answer(self, request: Received) -> bytes | AsyncIterator[bytes]:
        if request.method == "GET":
            self.streams.append(asyncio.Queue())
            return self.stream(len(self.streams) - 1)
        (number,) = parse_qs(request.target.partition("?")[2])["s"]
        message = request.json()
        results: Json = {
            "initialize": {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "legacy"}},
            "tools/list": {"tools": [tool("say")]},
            "tools/call": said(f"stream {number}"),
        }
        if message.get("method") in results:
            last = {"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}
            self.streams[int(number)].put_nowait(f"event: message\ndata: {json.dumps(last)}\n\n".encode())
        return reply(202, b"")

    async def stream(self, number: int) -> AsyncIterator[bytes]:
        yield stream_head()
        yield chunk(f"event: endpoint\ndata: /m?s={number}\n\n".encode())
        while (event := await self.streams[number].get()) is not None:
            yield chunk(event)
        yield LAST

    def end(self) -> None:
        for stream in self.streams:
            stream.put_nowait(None)


CAPABLE: dict[str, Any] = {
    "initialize": lambda params: {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "scripted", "version": "1"},
    },
    "server/discover": {
        "resultType": "complete",
        "supportedVersions": [MODERN],
        "capabilities": {"tools": {}},
        "ttlMs": 1000,
        "cacheScope": "public",
    },
    "ping": {},
}


@dataclass
class Client:
    """Asks by hand. `session` is the id that `open` got."""

    http: httpx.AsyncClient
    path: str = "/mcp"
    headers: dict[str, str] = field(default_factory=dict)
    session: str | None = None

    async def open(self, capabilities: Json | None = None) -> Json:
        params = {"protocolVersion": LEGACY, "capabilities": capabilities or {}, "clientInfo": INFO}
        got = await self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        self.session = got.headers.get("mcp-session-id")
        result: Json = got.json()["result"]
        return result

    async def send(self, message: Any, **headers: str) -> httpx.Response:
        given = {"content-type": "application/json", "accept": ACCEPT, **self.headers}
        if self.session is not None:
            given |= {"mcp-session-id": self.session, "mcp-protocol-version": LEGACY}
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.http.post(self.path, content=content, headers={**given, **headers})

    async def old(self, method: str, **params: Any) -> Json:
        """A request in a session; the response."""
        return answer_in(await self.send({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))

    async def new(self, method: str, **params: Any) -> Json:
        """A request of the version without sessions; the response."""
        return answer_in(await self.modern(method, params))

    async def modern(self, method: str, params: Json, **headers: str) -> httpx.Response:
        named = params.get("name") or params.get("uri")
        given = {"mcp-protocol-version": MODERN, "mcp-method": method, **({"mcp-name": named} if named else {})}
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": ENVELOPE}}
        bare = Client(self.http, self.path, self.headers)
        return await bare.send(message, **{**given, **headers})


def answer_in(got: httpx.Response) -> Json:
    """The response, however it came."""
    if got.headers["content-type"].startswith("text/event-stream"):
        return messages_in(got.text)[-1]
    document: Json = got.json()
    return document


def messages_in(text: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line]


@dataclass
class Stream:
    """A client of the transport of 2024-11-05: its stream, and the messages that came on it."""

    http: httpx.AsyncClient
    url: str
    headers: dict[str, str]
    opened: httpx.Response
    endpoint: str = ""
    heard: "asyncio.Queue[Json]" = field(default_factory=asyncio.Queue)
    others: list[Json] = field(default_factory=list)
    reading: "asyncio.Task[None] | None" = None

    async def read(self) -> None:
        name = ""
        async for line in self.opened.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name == "endpoint":
                self.endpoint = line.removeprefix("data: ")
            elif line.startswith("data: "):
                self.heard.put_nowait(json.loads(line.removeprefix("data: ")))

    @property
    def ticket(self) -> str:
        return self.endpoint.partition("sessionId=")[2]

    async def post(self, message: Any, **headers: str) -> httpx.Response:
        return await self.http.post(urljoin(self.url, self.endpoint), json=message, headers={**self.headers, **headers})

    async def send(self, method: str, id: Any = None, **params: Any) -> httpx.Response:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        return await self.post(message if id is None else {**message, "id": id})

    async def ask(self, method: str, **params: Any) -> Json:
        """The response to a request."""
        posted = await self.send(method, "asked", **params)
        assert (posted.status_code, posted.content) == (202, b""), posted.text
        return await self.answer("asked")

    async def answer(self, id: Any) -> Json:
        async with asyncio.timeout(20):
            while True:
                message = await self.heard.get()
                if message.get("id") == id:
                    return message
                self.others.append(message)

    async def open(self) -> Json:
        answered = await self.ask("initialize", protocolVersion=LEGACY, capabilities={}, clientInfo=INFO)
        assert (await self.send("notifications/initialized")).status_code == 202
        result: Json = answered["result"]
        return result


@asynccontextmanager
async def streamed(http: httpx.AsyncClient, url: str, headers: dict[str, str]) -> AsyncIterator[Stream]:
    """A stream, until it is left."""
    async with http.stream("GET", url, headers={"accept": "text/event-stream", **headers}) as opened:
        stream = Stream(http, url, headers, opened)
        stream.reading = asyncio.create_task(stream.read())
        async with asyncio.timeout(20):
            while not stream.endpoint:
                assert not stream.reading.done(), opened
                await asyncio.sleep(0.005)
        try:
            yield stream
        finally:
            stream.reading.cancel()
            await asyncio.gather(stream.reading, return_exceptions=True)


Scripted = Callable[..., Server]
