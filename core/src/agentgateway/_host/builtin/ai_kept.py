"""The usage of what vendors keep, counted once: by whoever is the first to see that a batch, or a response made in the
background, has ended.

What was counted is marked in the store that workers share. Where that fails nothing is counted, since nobody could tell
it from what was counted before; clients get their replies all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from pydantic_core import from_json

from agentgateway._host.builtin.ai_entry import entry_of
from agentgateway.errors import StoreFailed, UpstreamError
from agentgateway.exchange import Exchange, Reply, Usage
from agentgateway.interfaces import Store
from agentgateway.llm.dialects.resources import Resource
from agentgateway.llm.kept import LONGEST, NEW, LastResponse, Lines, Sum, Used, background_response
from agentgateway.llm.resources import ResourceCall
from agentgateway.streams import OwnedStream, aclose

logger = logging.getLogger("agentgateway.usage")

REMEMBERED = NEW + 10 * 86400.0
"""Seconds for which a thing that was counted is known as such."""
MARK = b"1"
END_OF_EVENT = b"\n\n"
"""What some servers leave out behind the last one."""


class Ledger:
    """Says of each thing once that it is to be counted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def count(self, exchange: Exchange, used: Sequence[Used]) -> None:
        """Give the exchange the usage of those that nobody has counted; it keeps what it has if that is nothing."""
        if not used:
            return
        counting = asyncio.ensure_future(self._count(exchange, used))
        try:
            await asyncio.shield(counting)
        except asyncio.CancelledError:
            await asyncio.wait((counting,))  # what is marked has to be counted, even if the client has left
            raise

    async def _count(self, exchange: Exchange, used: Sequence[Used]) -> None:
        found = Sum()
        try:
            for one in used:
                if await self._store.swap(key_of(exchange, one), None, MARK, ttl=REMEMBERED):
                    found.add(one)
        except StoreFailed as error:
            not_counted(exchange, f"the store failed: {error.detail or error.message}")
        first = found.used("")
        if first is not None:
            exchange.usage, exchange.response_model = first.usage, first.model


def key_of(exchange: Exchange, one: Used) -> str:
    """A vendor's ids are unique among its accounts, so that its address and the id say which thing it is."""
    entry = entry_of(exchange)
    base = entry.own_base if entry.base is None else entry.base
    return hashlib.sha256(f"{entry.url}{base} {one.id}".encode()).hexdigest()


def not_counted(exchange: Exchange, reason: str) -> None:
    logger.warning("the usage in the answer to %s is not counted: %s", exchange.request.path, reason)


async def told(exchange: Exchange, reply: Reply, call: ResourceCall, ledger: Ledger) -> None:
    """Count what a reply tells. It stays as it is to the byte; documents that may tell something are read first."""
    source = call.dialect
    assert isinstance(source, Resource)
    if reply.status != 200 or call.method != "GET":
        return
    lines = bool(source.results) and call.rest.endswith(source.results)
    if not lines and source.tells is None:
        return
    if reply.headers.get("content-encoding") not in (None, "identity"):
        not_counted(exchange, "it is compressed")
    elif lines:
        await told_in_lines(exchange, reply, source, call.rest.split("/")[1], ledger)
    elif (kind := kind_of(reply)) == "application/json":
        await told_in_document(exchange, reply, source, ledger)
    elif kind == source.stream_content_type:
        reply.body = ending(exchange, reply.body, ledger)


def ending(
    exchange: Exchange, body: bytes | AsyncIterator[bytes], ledger: Ledger, *, made_here: bool = False
) -> EndingStream:
    """A response's events, counted when they tell its end."""
    events = once(body) if isinstance(body, bytes) else body
    return EndingStream(exchange, events, LastResponse(made_here=made_here), ledger)


def kind_of(reply: Reply) -> str:
    return (reply.headers.get("content-type") or "").partition(";")[0].strip().lower()


async def told_in_document(exchange: Exchange, reply: Reply, source: Resource, ledger: Ledger) -> None:
    body = await within(reply, LONGEST)
    if body is None:
        not_counted(exchange, f"it has more than {LONGEST} bytes")
    elif source.tells is not None and source.tells.search(body) is not None:
        try:
            document = from_json(body)
        except ValueError:
            return
        if isinstance(document, dict):
            await ledger.count(exchange, source.used(document))


async def told_in_lines(exchange: Exchange, reply: Reply, source: Resource, identity: str, ledger: Ledger) -> None:
    lines = Lines(source.used)
    if isinstance(reply.body, bytes):
        lines.feed(reply.body)
        await count_lines(exchange, lines, identity, ledger)
    else:
        reply.body = LinesStream(exchange, reply.body, lines, identity, ledger)


async def count_lines(exchange: Exchange, lines: Lines, identity: str, ledger: Ledger) -> None:
    used = lines.end(identity)
    if lines.fault:
        not_counted(exchange, lines.fault)
    elif used is not None:
        await ledger.count(exchange, [used])


async def made(exchange: Exchange, document: object, ledger: Ledger) -> None:
    """Count a response that was to be made in the background and is there already, which will be told again."""
    exchange.usage = None
    await ledger.count(exchange, background_response(document, made_here=True))


class LinesStream:
    """Lines on their way, counted when they were complete. The last of them wait for that: a client that has them all
    may leave at once."""

    def __init__(
        self, exchange: Exchange, source: AsyncIterator[bytes], lines: Lines, identity: str, ledger: Ledger
    ) -> None:
        self._exchange = exchange
        self._source = source
        self._lines = lines
        self._identity = identity
        self._ledger = ledger
        self._held = b""
        self._end: Exception | None = None

    def __aiter__(self) -> LinesStream:
        return self

    async def __anext__(self) -> bytes:
        while self._end is None and (chunk := await self._next()) is not None:
            held, self._held = self._held, chunk
            if held:
                return held
        if held := self._held:
            self._held = b""
            return held
        raise self._end or StopAsyncIteration

    async def _next(self) -> bytes | None:
        """None at the end."""
        try:
            chunk = await self._source.__anext__()
        except StopAsyncIteration as end:
            self._end = end
            await count_lines(self._exchange, self._lines, self._identity, self._ledger)
            return None
        except UpstreamError as error:
            self._end = error
            return None
        self._lines.feed(chunk)
        return chunk

    async def aclose(self) -> None:
        await aclose(self._source)


class EndingStream:
    """Events on their way, of which the last tells the response as it ended. That is counted before it goes on. Where
    it never comes nothing is counted, whatever was seen: the response goes on, and will be told again."""

    def __init__(self, exchange: Exchange, source: AsyncIterator[bytes], last: LastResponse, ledger: Ledger) -> None:
        self._exchange = exchange
        self._source = source
        self._last: LastResponse | None = last
        self._ledger = ledger
        self._usage: Usage | None = None

    def __aiter__(self) -> EndingStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._source.__anext__()
        except StopAsyncIteration:
            await self._look(END_OF_EVENT)
            self._exchange.usage = self._usage
            raise
        except UpstreamError:
            self._exchange.usage = self._usage
            raise
        await self._look(chunk)
        return chunk

    async def _look(self, chunk: bytes) -> None:
        try:
            used = self._last.feed(chunk) if self._last is not None else []
        except UpstreamError as error:
            not_counted(self._exchange, error.detail or error.message)
            self._last = None
            return
        if used:
            self._last = None
            self._exchange.usage = None
            try:
                await self._ledger.count(self._exchange, used)
            finally:
                self._usage = self._exchange.usage

    async def aclose(self) -> None:
        await aclose(self._source)
        self._exchange.usage = self._usage


async def within(reply: Reply, limit: int) -> bytes | None:
    """The body whole. None if it is longer than that: it is still a stream then, and none of it is lost."""
    source = reply.body
    if isinstance(source, bytes):
        return source if len(source) <= limit else None
    announced = reply.headers.get("content-length") or ""
    if announced.isdecimal() and int(announced) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in source:
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                reply.body = OwnedStream(rejoined(chunks, source), source)
                return None
    except BaseException:
        await aclose(source)
        raise
    reply.body = body = b"".join(chunks)
    return body


async def rejoined(chunks: Sequence[bytes], rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """What was read of a stream, and what follows."""
    for chunk in chunks:
        yield chunk
    async for chunk in rest:
        yield chunk


async def once(body: bytes) -> AsyncGenerator[bytes, None]:
    """A stream that arrived whole with its head."""
    yield body
