"""Clients of the MCP soak: each has a session, asks now and then, and checks every answer."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mcp_soak_servers import EVENTS, VERSION

PATIENCE = 20.0
"""Seconds for an answer; longer is a wrong one."""
GRACE = 1.0
"""Seconds after the restart of the server in which calls may still fail, while connections are made anew."""
ASK = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}
CUT = (ConnectionError, asyncio.IncompleteReadError)


class Broken(Exception):
    """Not what should have come. `told` is for an error of JSON-RPC, with the right id."""

    def __init__(self, text: str, told: bool = False) -> None:
        super().__init__(text)
        self.told = told


@dataclass
class Tally:
    """What happened. `down` is when the server went, and when it was back."""

    right: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    heard: int = 0
    left: int = 0
    sessions: int = 0
    forgiven: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    down: tuple[float, float] = (float("inf"), float("inf"))
    over: bool = False

    def blame(self, kind: str, began: float, error: Exception) -> None:
        """An error is nobody's fault while the server was away."""
        known = isinstance(error, Broken) and error.told
        text = f"{kind}: {type(error).__name__} {str(error)[:200]}"
        if not self.down[0] < time.monotonic() or began > self.down[1] + GRACE:
            self.wrong.append(text)
        elif kind == "listening":
            self.forgiven["streams that ended"] += 1
        else:
            self.forgiven["told by an error" if known else f"not told ({text})"] += 1


class Wire:
    """A connection to the gateway, made when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.headers: dict[str, str] = {}
        self.status = 0

    async def ask(
        self, verb: str, path: str, session: str = "", message: Any = None
    ) -> AsyncGenerator[dict[str, Any] | str, None]:
        """The messages that come, whole or as a stream; of an event `endpoint` the text."""
        body = json.dumps(message).encode() if message is not None else b""
        own = f"mcp-session-id: {session}\r\nmcp-protocol-version: {VERSION}\r\n" if session else ""
        accept = "text/event-stream" if verb == "GET" else "application/json, text/event-stream"
        head = (
            f"{verb} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: {accept}\r\n{own}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        if self._streams is None or self._streams[0].at_eof():
            self.close()
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        fields = (line.partition(": ") for line in lines[1:])
        self.headers = {name.lower(): value for name, _, value in fields}
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            text = await reader.readexactly(int(self.headers.get("content-length", 0)))
            if text:
                yield json.loads(text)
            return
        waiting = b""
        while size := int(await reader.readuntil(b"\n"), 16):
            waiting += (await reader.readexactly(size + 2))[:-2]
            *events, waiting = waiting.split(b"\n\n")
            for event in events:
                data = event.partition(b"data: ")[2]
                if data:
                    yield data.decode() if event.startswith(b"event: endpoint") else json.loads(data)
        await reader.readline()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


class Session:
    """One client of Streamable HTTP. `listens` says whether it also has a GET stream."""

    kind = "http"

    def __init__(self, port: int, path: str, tally: Tally, pace: float, *, listens: bool = False) -> None:
        self._port, self._path, self._tally, self._pace, self._listens = port, path, tally, pace, listens
        self._wire = Wire(port)
        self._numbers = count(1)
        self._session = ""
        self._listening: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Sessions one after the other until it is over."""
        while not self._tally.over:
            await asyncio.sleep(random.uniform(0, self._pace))
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._open()
            except (*CUT, Broken, TimeoutError) as error:
                self._tally.blame(f"{self.kind}, opening", began, error)
                await self._end()
                continue
            self._tally.open[self.kind] += 1
            self._tally.sessions += 1
            for _ in range(random.randrange(10, 60)):
                await self._pause()
                if self._tally.over or not await self._call():
                    break
            await self._end()
            self._tally.open[self.kind] -= 1

    async def _pause(self) -> None:
        left = random.uniform(0, 2 * self._pace)
        while left > 0 and not self._tally.over:
            await asyncio.sleep(min(0.5, left))
            left -= 0.5

    async def _open(self) -> None:
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": ASK}
        (got,) = [one async for one in self._wire.ask("POST", self._path, message=message)]
        result_in(got, 0)
        self._session = self._wire.headers["mcp-session-id"]
        if self._listens:
            self._listening = asyncio.create_task(self._listen())

    async def _end(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None
        with suppress(*CUT):
            if self._session:
                async for _ in self._wire.ask("DELETE", self._path, self._session):
                    pass
        self._wire.close()
        self._session = ""

    async def _call(self) -> bool:
        """Whether the session is as before."""
        how = random.choices(("whole", "streamed", "left"), (65, 30, 5))[0]
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._asked(how)
        except (*CUT, Broken, TimeoutError) as error:
            self._tally.blame(f"{self.kind}, {how}", began, error)
            self._wire.close()
            return how != "left"
        return True

    async def _asked(self, how: str) -> None:
        number = next(self._numbers)
        word = f"w{random.randrange(10**12)}"
        arguments = {"word": word, "streamed": how != "whole"}
        params = {"name": "say", "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        seen = 0
        async with aclosing(self._wire.ask("POST", self._path, self._session, message)) as messages:
            async for one in messages:
                if isinstance(one, dict) and one.get("method") == "notifications/message":
                    check(one["params"]["data"], f"{word} {seen}")
                    seen += 1
                    if how == "left":
                        self._wire.close()
                        self._tally.left += 1
                        return
                else:
                    check(result_in(one, number)["content"][0]["text"], word)
        if self._wire.status != 200:
            raise Broken(f"status {self._wire.status}")
        check(seen, EVENTS if how != "whole" else 0)
        self._tally.right[f"{self.kind}, {how}"] += 1

    async def _listen(self) -> None:
        """Hear the server count."""
        while True:
            wire, began, expected = Wire(self._port), time.monotonic(), 0
            try:
                async with aclosing(wire.ask("GET", self._path, self._session)) as messages:
                    async for one in messages:
                        assert isinstance(one, dict)
                        if one.get("method") != "notifications/message":
                            raise Broken(f"status {wire.status}: {one}")
                        check(one["params"]["data"], expected)
                        expected += 1
                        self._tally.heard += 1
                raise Broken(f"the stream ended, status {wire.status}")
            except (*CUT, Broken) as error:
                self._tally.blame("listening", began, error)
                await asyncio.sleep(1)
            finally:
                wire.close()


class Program(Session):
    """A client of a program, which does not stream."""

    kind = "stdio"

    async def _asked(self, how: str) -> None:
        await super()._asked("whole")


class Streamed(Session):
    """A client of the transport of 2024-11-05: everything comes on the stream that it opens first."""

    kind = "sse"

    def __init__(self, port: int, path: str, tally: Tally, pace: float) -> None:
        super().__init__(port, path, tally, pace)
        self._down = Wire(port)
        self._heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._endpoint: asyncio.Future[str] | None = None

    async def _open(self) -> None:
        self._endpoint, self._heard = asyncio.get_running_loop().create_future(), asyncio.Queue()
        self._listening = asyncio.create_task(self._read(self._endpoint))
        await self._endpoint
        await self._post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": ASK})
        await self._answer(0)

    async def _read(self, endpoint: asyncio.Future[str]) -> None:
        try:
            async with aclosing(self._down.ask("GET", self._path)) as messages:
                async for one in messages:
                    if isinstance(one, str):
                        endpoint.set_result(one)
                    else:
                        self._heard.put_nowait(one)
        except CUT:
            pass
        finally:
            self._down.close()
            self._heard.put_nowait(None)
            if not endpoint.done():
                endpoint.set_exception(Broken("no endpoint"))

    async def _post(self, message: dict[str, Any]) -> None:
        assert self._endpoint is not None
        target = self._endpoint.result()
        path = target if target.startswith("/") else self._path + target
        async for one in self._wire.ask("POST", path, message=message):
            raise Broken(f"posted: {one}")
        check(self._wire.status, 202)

    async def _answer(self, number: int, word: str = "") -> dict[str, Any]:
        seen = 0
        while (one := await self._heard.get()) is not None:
            if one.get("method") == "notifications/message":
                if word and str(one["params"]["data"]).startswith(word):
                    check(one["params"]["data"], f"{word} {seen}")
                    seen += 1
                continue
            return {**result_in(one, number), "seen": seen}
        raise Broken("the stream ended")

    async def _asked(self, how: str) -> None:
        number, word = next(self._numbers), f"w{random.randrange(10**12)}"
        params = {"name": "say", "arguments": {"word": word, "streamed": how != "whole"}}
        await self._post({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        if how == "left":
            self._tally.left += 1
            await self._end()
            return await self._open()
        result = await self._answer(number, word)
        check(result["content"][0]["text"], word)
        check(result["seen"], EVENTS if how == "streamed" else 0)
        self._tally.right[f"{self.kind}, {how}"] += 1


def result_in(message: Any, number: int) -> dict[str, Any]:
    """The result of a response. Raises `Broken` for anything else."""
    if not isinstance(message, dict) or message.get("id") != number or not isinstance(message.get("result"), dict):
        told = isinstance(message, dict) and message.get("id") == number and "error" in message
        raise Broken(f"no result: {str(message)[:160]}", told)
    found: dict[str, Any] = message["result"]
    return found


def check(got: object, wanted: object) -> None:
    if got != wanted:
        raise Broken(f"{got!r} instead of {wanted!r}")
