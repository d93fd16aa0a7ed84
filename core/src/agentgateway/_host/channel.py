"""Questions and answers between a supervisor and one worker, over a socket pair: frames of JSON, both ways.

A frame is a length of four bytes and an object: `{"ask": n, "what": …}` wants `{"answer": n, …}`, `{"what": …}` wants
nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic_core import from_json, to_json

_LENGTH = struct.Struct(">I")

Fields = dict[str, Any]
Answer = Callable[[Fields], Fields]


class ChannelClosed(ConnectionError):
    """The other end is gone."""


class Channel:
    """One end. `answer` is called with every question and notice of the other end, and must not wait."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Fields]] = {}
        self._closed = False

    @classmethod
    async def over(cls, sock: socket.socket, answer: Answer) -> Channel:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        return cls(reader, writer, answer)

    async def ask(self, what: str, timeout: float, **fields: Any) -> Fields:  # noqa: ASYNC109
        """Raises `ChannelClosed`, and TimeoutError after so many seconds."""
        number = next(self._numbers)
        waiting: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        self._asked[number] = waiting
        try:
            self._send({"ask": number, "what": what, **fields})
            async with asyncio.timeout(timeout):
                return await waiting
        finally:
            del self._asked[number]

    def tell(self, what: str, **fields: Any) -> None:
        """Say something without waiting; to nobody, when the other end is gone."""
        if not self._closed:
            self._send({"what": what, **fields})

    async def run(self) -> None:
        """Receive until the other end closes."""
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                self._received(from_json(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._closed = True
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(ChannelClosed())

    async def close(self) -> None:
        """Send what is left, and close."""
        self._closed = True
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def _received(self, frame: Fields) -> None:
        if "answer" in frame:
            waiting = self._asked.get(frame.pop("answer"))
            if waiting is not None and not waiting.done():
                waiting.set_result(frame)
            return
        number = frame.pop("ask", None)
        answer = self._answer(frame)
        if number is not None:
            self._send({"answer": number, **answer})

    def _send(self, frame: Fields) -> None:
        if self._closed:
            raise ChannelClosed
        body = to_json(frame)
        self._writer.write(_LENGTH.pack(len(body)) + body)
