"""The clients of a soak: connections that call, wait, and check every answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

import echoes
from echoes import Call, Kind
from httptools import HttpParserError, HttpResponseParser

PATIENCE = 30.0
"""Seconds for an answer; longer is wrong."""
PIECES = 4
BEHIND = 1.0
"""Seconds of calls that a client makes up for when it was kept waiting."""
KEPT_ERRORS = 20


class Cut(Exception):
    """The connection ended before the answer did."""


class Connection(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self) -> None:
        self.closed = False
        self.said_close = False
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = HttpResponseParser(self)
        self._parts: list[bytes] = []
        self.first = asyncio.Event()  # some of a body is here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.port: int = transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(ValueError(f"unreadable: {error}: {data[:100]!r}"))
            self.transport.abort()

    def on_message_begin(self) -> None:
        if self._answer is None:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"connection" and value.lower() == b"close":
            self.said_close = True

    def on_body(self, chunk: bytes) -> None:
        self._parts.append(chunk)
        self.first.set()

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result((self._parser.get_status_code(), b"".join(self._parts)))

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self.first.set()
        self._fail(Cut(str(error or "end of file")))

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)

    def expect(self) -> asyncio.Future[tuple[int, bytes]]:
        self._parts.clear()
        self.first.clear()
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer


@dataclass
class Tally:
    """What was seen, by everybody."""

    answered: Counter[Kind] = field(default_factory=Counter)
    left: int = 0
    forgiven: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    doomed: set[int] = field(default_factory=set)
    """Our ports of connections that a killed worker had open."""

    @property
    def total(self) -> int:
        return self.answered.total()

    def fail(self, what: str) -> None:
        self.wrong += 1
        if len(self.errors) < KEPT_ERRORS:
            self.errors.append(what)


class Client:
    """Calls one after the other, on a connection that is kept as long as it goes."""

    def __init__(self, number: int, port: int, tally: Tally) -> None:
        self._number = number
        self._port = port
        self._tally = tally
        self._dice = random.Random(number)
        self._connection: Connection | None = None
        self._calls = 0
        self.pause = 0.0  # seconds between the starts of two calls, on average; 0 for as fast as they are answered
        self.over = False

    async def run(self) -> None:
        """Until `over`. Raises nothing for what the gateway does."""
        due = time.monotonic() + self._dice.random() * self.pause
        while not self.over:
            if self.pause:
                due = max(due + self._dice.expovariate(1 / self.pause), time.monotonic() - BEHIND)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._once(echoes.call(self._number, self._calls, self._dice))
            self._calls += 1
        if self._connection is not None:
            self._connection.transport.close()

    async def _once(self, call: Call) -> None:
        connection = await self._connected()
        if connection is None:
            return
        answer, began = connection.expect(), time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._send(connection, call)
                if call.kind.leaves:
                    await self._leave(connection, call)
                    answer.cancel()
                    return
                status, body = await answer
        except TimeoutError:
            self._failed(connection, f"{call.kind.name}: nothing within {PATIENCE:.0f} s")
        except (Cut, ValueError) as error:
            self._failed(connection, f"{call.kind.name}: {error}")
        else:
            self._tally.answered[call.kind] += 1
            if call.kind is Kind.WHOLE:
                self._tally.latencies.append(time.monotonic() - began)
            if wrong := call.wrong(status, body):
                self._tally.fail(wrong)

    async def _connected(self) -> Connection | None:
        """The connection of the last call if it is still good."""
        connection = self._connection
        if connection is not None and not connection.closed and not connection.said_close:
            return connection
        if connection is not None and connection.closed and not connection.said_close:
            self._failed(connection, "closed between two calls")
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        except OSError as error:
            self._tally.fail(f"no connection: {error}")
            await asyncio.sleep(0.1)
            connection = None
        self._connection = connection
        return connection

    async def _send(self, connection: Connection, call: Call) -> None:
        if call.kind is not Kind.UPLOAD:
            connection.transport.write(call.wire)
            return
        size = len(call.wire) // PIECES + 1
        for at in range(0, len(call.wire), size):
            connection.transport.write(call.wire[at : at + size])
            await asyncio.sleep(0.002)

    async def _leave(self, connection: Connection, call: Call) -> None:
        if call.kind is Kind.LEAVES_STREAM:
            await connection.first.wait()
        await asyncio.sleep(self._dice.random() * (0.3 if call.kind is Kind.LEAVES_STREAM else 0.003))
        connection.transport.abort()
        self._connection = None
        self._tally.left += 1

    def _failed(self, connection: Connection, what: str) -> None:
        """Forgiven on a connection that died with its worker."""
        connection.transport.abort()
        self._connection = None
        if connection.port in self._tally.doomed:
            self._tally.doomed.discard(connection.port)
            self._tally.forgiven += 1
        else:
            self._tally.fail(what)
