"""Targets of kind `mcp`: servers that speak Streamable HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agentgateway.errors import UpstreamError
from agentgateway.exchange import HOP_BY_HOP, Exchange, Headers, Outgoing, Reply, Stream
from agentgateway.interfaces import Host
from agentgateway.llm.sse import Parser
from agentgateway.settings import PluginConfig, problem
from agentgateway.streams import aclose
from agentgateway_mcp.eras import wrapped
from agentgateway_mcp.errors import METHOD_NOT_FOUND, McpError
from agentgateway_mcp.messages import HEADED_BY, MODERN
from agentgateway_mcp.servers import Answer, Ask, Said, Server

OWN = HOP_BY_HOP | frozenset(
    (
        *(b"accept", b"accept-encoding", b"content-encoding", b"content-length", b"content-type", b"host", b"origin"),
        *(b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id", b"last-event-id"),
        *(b"cookie", b"authorization"),
    )
)
"""Headers of the client's that are between it and the gateway."""
SAYS = {
    "send": [(b"accept", b"application/json, text/event-stream"), (b"content-type", b"application/json")],
    "listen": [(b"accept", b"text/event-stream")],
    "end": [(b"accept", b"*/*")],
}
COPIES = b"mcp-param-"
HEADABLE = re.compile(r"[!-~\xa1-\xff](?:[ -~\xa0-\xff]*[!-~\xa1-\xff])?")
"""What can stand in a header as it is (RFC 9110, section 5.5)."""
METHODS = {"send": "POST", "listen": "GET", "end": "DELETE"}


class StreamableHttpConfig(PluginConfig):
    """Where the server is."""

    host: str = Field(min_length=1)
    """`http://host:port/path`, `https://host/path`, or only `host` or `host:port`."""
    port: int | None = Field(None, ge=1, le=65535)
    """The port, where `host` has none."""
    path: str = Field("/mcp", pattern="^/")
    """The path, where `host` has none."""

    @model_validator(mode="after")
    def _an_address(self) -> Self:
        try:
            parts = split(self.host)
            fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
            _ = parts.port
        except ValueError:
            fine = False
        if not fine or parts.fragment:
            raise problem("not an address", "write http://host:port/path, https://host/path or host:port")
        return self

    @field_validator("port", "path")
    @classmethod
    def _said_once(cls, given: Any, info: ValidationInfo) -> Any:
        try:
            parts = split(info.data.get("host", ""))
            in_host = parts.port if info.field_name == "port" else parts.path
        except ValueError:
            return given  # it is no address, which is said anyway
        if in_host and given is not None and in_host != given:
            raise problem(f"`host` has another {info.field_name}", "leave one of the two out")
        return given

    @property
    def address(self) -> tuple[str, str]:
        """Scheme and authority; path and query."""
        parts = split(self.host)
        port = f":{self.port}" if parts.port is None and self.port is not None else ""
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{parts.netloc}{port}", f"{parts.path or self.path}{query}"


def split(host: str) -> SplitResult:
    """The parts of an address, whose scheme may be missing. Raises ValueError."""
    return urlsplit(host if "://" in host else f"http://{host}")


class StreamableHttp(Server):
    """A server behind one URL, asked by POST, listened to by GET (specification 2025-11-25, "Streamable HTTP")."""

    Config = StreamableHttpConfig

    def __init__(self, config: StreamableHttpConfig, host: Host) -> None:
        super().__init__(config, host)
        self._url, self._target = config.address

    @property
    def endpoint(self) -> str:
        return self._url.partition("://")[2]

    @property
    def url(self) -> str:
        return self._url + self._target

    async def prepare(self, exchange: Exchange) -> None:
        ask = asked(exchange)
        headers = carried(exchange)
        headers.raw += SAYS[ask.purpose]
        if ask.version and ask.method != "initialize":
            headers.add("mcp-protocol-version", ask.version)
        if ask.session is not None:
            headers.add("mcp-session-id", ask.session)
        if ask.resume_from is not None:
            headers.add("last-event-id", ask.resume_from)
        if ask.version >= MODERN and ask.method:
            headers.raw += routing(ask)
        if ask.fields:
            headers.update(ask.fields)
        exchange.outgoing = Outgoing(METHODS[ask.purpose], self._url, self._target, headers, ask.message)

    async def send(self, exchange: Exchange) -> Answer:
        reply = await self.host.send(exchange, stream=True)
        answer = Answer(reply.status, headers=reply.headers, session=reply.headers.get("mcp-session-id"))
        kind = (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if kind == "text/event-stream" and reply.status == 200:
            stream = reply.body if not isinstance(reply.body, bytes) else at_once(reply.body)
            answer.messages = Events(stream, self.host.body_limit)
        else:
            answer.whole = await read(reply, self.host.body_limit)
        return answer


def carried(exchange: Exchange) -> Headers:
    """The client's headers, without those that are between it and the gateway. Copies of arguments are among these: the
    arguments that a server gets may be others."""
    headers = exchange.request.headers.end_to_end(OWN)
    headers.raw = [pair for pair in headers.raw if not pair[0].startswith(COPIES)]
    return headers


def asked(exchange: Exchange) -> Ask:
    assert isinstance(exchange.call, Ask)
    return exchange.call


def routing(ask: Ask) -> list[tuple[bytes, bytes]]:
    """The headers that repeat what the body says, by the names that this server knows. Raises `McpError` for a method
    that no header can say."""
    if HEADABLE.fullmatch(ask.method) is None:
        raise McpError(METHOD_NOT_FOUND, "Method not found", status=200 if ask.wants_answer else 400)
    fields = [(b"mcp-method", ask.method.encode("latin-1"))]
    params = ask.document.get("params")
    name = params.get(HEADED_BY.get(ask.method, "")) if isinstance(params, dict) else None
    if isinstance(name, str):
        fields.append((b"mcp-name", wrapped(name).encode("latin-1")))
    return fields


async def read(reply: Reply, limit: int) -> bytes:
    """A whole body. Raises `UpstreamError` for one that is too long."""
    if isinstance(reply.body, bytes):
        return reply.body
    body = bytearray()
    try:
        async for piece in reply.body:
            body += piece
            if len(body) > limit:
                raise UpstreamError("the server's answer is too large", detail=f"over {limit} bytes")
    finally:
        await aclose(reply.body)
    return bytes(body)


async def at_once(body: bytes) -> AsyncGenerator[bytes, None]:
    """A stream that came whole."""
    yield body


class Events:
    """The messages of an event stream. `events` are what came, to the byte, for who passes them on."""

    def __init__(self, stream: Stream, limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self._said: AsyncGenerator[Said, None] | None = None

    def __aiter__(self) -> AsyncIterator[Said]:
        return self

    async def __anext__(self) -> Said:
        if self._said is None:
            self._said = messages_in(self.stream, self.limit)
        return await self._said.__anext__()

    async def aclose(self) -> None:
        if self._said is not None:
            await self._said.aclose()
        await aclose(self.stream)


async def messages_in(stream: Stream, limit: int) -> AsyncGenerator[Said, None]:
    parser = Parser(limit)
    async for chunk in stream:
        for event in parser.feed(chunk):
            if (said := said_in(event.raw, event.data)) is not None:
                yield said
    for event in parser.end():
        if (said := said_in(event.raw, event.data)) is not None:
            yield said


def event(said: Said) -> bytes:
    """A message as an event (WHATWG HTML, section 9.2)."""
    place = b"id: %b\n" % said.event.encode() if said.event is not None else b""
    pause = b"retry: %d\n" % said.retry if said.retry is not None else b""
    name = b"event: message\n" if said.data else b""
    return b"%b%b%bdata: %b\n\n" % (place, pause, name, said.data)


RETRY = 10
"""Characters behind `retry:` at most, a space among them: more is some mistake, or worse."""


def said_in(raw: bytes, data: bytes | None) -> Said | None:
    """What an event says; None for a comment. One without data still may say from where to go on."""
    place, pause = None, None
    if b"id:" in raw or b"retry:" in raw:
        for line in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"id":
                place = value.removeprefix(b" ").decode("utf-8", "replace")
            elif field == b"retry" and value.strip().isdigit() and len(value) <= RETRY:
                pause = int(value)
    if not data and place is None and pause is None:
        return None
    return Said(data or b"", place, pause)
