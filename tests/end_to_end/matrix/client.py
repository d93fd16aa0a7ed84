"""A client of one connection, which sees the bytes that the gateway sends: of an answer nothing is decoded but its
framing, and that by llhttp."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

from httptools import HttpResponseParser

from .facts import Json


@dataclass
class Answer:
    """One answer; `headers` are lower-cased."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    @property
    def content(self) -> bytes:
        return bytes(self.body)

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = True


class Client:
    """Asks one thing after another. A connection that the gateway ends is followed by another one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._authority, self._address = parts.netloc, (parts.hostname, parts.port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def post(self, target: str, document: Json, headers: Mapping[str, str]) -> Answer:
        """Raises `EOFError` where the gateway leaves before it has answered, and `httptools.HttpParserError`."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        body = json.dumps(document).encode()
        fields = {
            "host": self._authority,
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = Answer()
        parser = HttpResponseParser(answer)
        while not answer.whole:
            data = await reader.read(65536)
            if not data:
                raise EOFError(f"the gateway left in the middle of its answer: {answer}")
            parser.feed_data(data)
        answer.status = parser.get_status_code()
        if not parser.should_keep_alive():
            self._leave()
        return answer

    def _leave(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
