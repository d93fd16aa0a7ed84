"""What the backend `ai` does with replies that may tell what a thing used: they stay as they are."""

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentgateway._host.builtin.ai_kept import Ledger, ending, told
from agentgateway.errors import StoreFailed, UpstreamError
from agentgateway.exchange import Body, Exchange, Headers, Reply, Request
from agentgateway.llm.kept import LONGEST
from agentgateway.llm.resources import ResourceCall, resource_call
from agentgateway.stores import MemoryStore
from agentgateway.testing import make

USAGE = {"input_tokens": 10, "output_tokens": 4}
MESSAGE = {"model": "claude-haiku-4-5", "usage": USAGE}
LINE = json.dumps({"custom_id": "one", "result": {"type": "succeeded", "message": MESSAGE}}).encode()
RESULTS = "/v1/messages/batches/msgbatch_1/results"


def batch(**more: Any) -> bytes:
    made = {"id": "batch_1", "object": "batch", "status": "completed", "created_at": time.time()}
    return json.dumps({**made, "model": "gpt-5", "usage": USAGE, **more}, indent=1).encode()


class Source:
    """A body in pieces, which knows whether it was closed."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = list(pieces)
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        self.closed = True


def asked(path: str, config: dict[str, Any] | None = None) -> Exchange:
    exchange = Exchange(Request("GET", path, Headers.of({"anthropic-version": "2023-06-01"}), Body(b"")))
    exchange.call = resource_call(exchange.request)
    (exchange.target,) = make("agentgateway.backends", "ai", config or {"provider": {"openAI": {}}}).targets()
    return exchange


async def answered(exchange: Exchange, body: bytes | AsyncIterator[bytes], ledger: Ledger, **headers: str) -> Reply:
    fields = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    reply = Reply(200, Headers.of(fields), body, upstream=True)
    assert isinstance(exchange.call, ResourceCall)
    await told(exchange, reply, exchange.call, ledger)
    return reply


async def all_of(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    return b"".join([chunk async for chunk in reply.body])


@pytest.mark.parametrize("announced", [{}, {"content_length": str(LONGEST + 100)}])
async def test_a_document_beyond_the_limit_passes_as_it_comes(announced, caplog):
    exchange, source = asked("/v1/batches/batch_1"), Source(b"a" * LONGEST, b"b" * 99, b"c")
    reply = await answered(exchange, source, Ledger(MemoryStore()), **announced)
    assert not isinstance(reply.body, bytes) and exchange.usage is None
    assert await all_of(reply) == b"a" * LONGEST + b"b" * 99 + b"c"
    (line,) = caplog.messages
    assert line == f"the usage in the answer to /v1/batches/batch_1 is not counted: it has more than {LONGEST} bytes"


async def test_a_document_stays_the_same_to_the_byte():
    exchange, text = asked("/v1/batches/batch_1"), batch()
    reply = await answered(exchange, Source(text[:9], text[9:]), Ledger(MemoryStore()))
    assert await all_of(reply) == text
    assert exchange.usage is not None and exchange.usage.total_tokens == 14


async def test_one_that_breaks_off_closes_what_it_comes_from():
    source = Source(b"{", UpstreamError("it broke"))
    with pytest.raises(UpstreamError):
        await answered(asked("/v1/batches/batch_1"), source, Ledger(MemoryStore()))
    assert source.closed


@pytest.mark.parametrize("path", ["/v1/batches/batch_1", RESULTS])
async def test_what_is_compressed_is_not_looked_at(path, caplog):
    exchange, text = asked(path), gzip.compress(batch())
    reply = await answered(exchange, text, Ledger(MemoryStore()), content_encoding="gzip")
    assert reply.body == text and exchange.usage is None
    assert "is not counted: it is compressed" in caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"usage": {', b'{"usage": {"input_tokens": 1}}', b"\xff\xfe"])
async def test_what_is_no_batch_is_no_trouble(body):
    exchange = asked("/v1/batches/batch_1")
    assert (await answered(exchange, body, Ledger(MemoryStore()))).body == body
    assert exchange.usage is None


async def test_two_vendors_may_have_the_same_id():
    ledger = Ledger(MemoryStore())
    there = {"provider": {"openAI": {}}, "hostOverride": "other.example:443"}
    exchanges = [asked("/v1/batches/b", config) for config in (None, there, None, there)]
    for exchange in exchanges:
        await answered(exchange, batch(), ledger)
    assert [exchange.usage is not None for exchange in exchanges] == [True, True, False, False]


async def test_lines_that_cannot_be_read_are_told_once(caplog):
    exchange = asked(RESULTS)
    reply = await answered(exchange, Source(LINE, b"\n{\n{\n"), Ledger(MemoryStore()))
    assert await all_of(reply) == LINE + b"\n{\n{\n" and exchange.usage is None
    assert caplog.messages == [f"the usage in the answer to {RESULTS} is not counted: a line is not a JSON object"]


async def test_lines_are_counted_before_the_last_of_them_leave():
    exchange = asked(RESULTS)
    reply = await answered(exchange, Source(LINE + b"\n", b"", LINE), Ledger(MemoryStore()))
    seen = [exchange.usage is not None async for _ in reply.body]  # type: ignore[union-attr]
    assert seen == [False, True]


async def test_lines_that_break_off_are_passed_on_as_far_as_they_came():
    exchange, got = asked(RESULTS), []
    reply = await answered(exchange, Source(LINE, b"\n", UpstreamError("it broke")), Ledger(MemoryStore()))
    with pytest.raises(UpstreamError):
        async for chunk in reply.body:  # type: ignore[union-attr]
            got.append(chunk)
    assert got == [LINE, b"\n"] and exchange.usage is None


class SlowStore(MemoryStore):
    """Marks, and answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.asked = asyncio.Event()

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        done = await super().swap(key, old, new, ttl=ttl)
        self.asked.set()
        await self.may.wait()
        return done


async def test_a_client_that_leaves_while_the_store_works_is_counted():
    exchange, store = asked("/v1/batches/batch_1"), SlowStore()
    waiting = asyncio.create_task(answered(exchange, batch(), Ledger(store)))
    await store.asked.wait()
    waiting.cancel()
    store.may.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert exchange.usage is not None and exchange.usage.total_tokens == 14


class ForgetfulStore(MemoryStore):
    """Fails at the second thing."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        if self._values:
            raise StoreFailed(detail="out of order")
        return await super().swap(key, old, new, ttl=ttl)


async def test_what_was_marked_before_the_store_failed_is_counted(caplog):
    rows = [json.loads(batch(id=name)) for name in ("a", "b", "c")]
    exchange = asked("/v1/batches")
    await answered(exchange, json.dumps({"object": "list", "data": rows}).encode(), Ledger(ForgetfulStore()))
    assert exchange.usage is not None and exchange.usage.total_tokens == 14
    assert caplog.messages == ["the usage in the answer to /v1/batches is not counted: the store failed: out of order"]
    assert caplog.records[0].levelno == logging.WARNING


def last_event(**more: Any) -> bytes:
    made = {"id": "resp_1", "status": "completed", "model": "gpt-5", "background": True, "created_at": time.time()}
    document = {"type": "response.completed", "response": {**made, "usage": USAGE, **more}}
    return b"data: " + json.dumps(document).encode()


@pytest.mark.parametrize("end", [b"\n\n", b"\n", b""])
async def test_the_last_event_is_counted_with_or_without_its_end(end):
    exchange = asked("/v1/responses/resp_1")
    pieces = [b"data: {}\n\n", last_event(), end]
    body = ending(exchange, Source(*pieces), Ledger(MemoryStore()))
    assert [chunk async for chunk in body] == pieces
    assert exchange.usage is not None and exchange.usage.total_tokens == 14


async def test_an_event_beyond_the_limit_passes_and_is_told_once(caplog):
    exchange = asked("/v1/responses/resp_1")
    pieces = [b"data: " + b"x" * LONGEST, b"y", b"\n\n"]
    body = ending(exchange, Source(*pieces), Ledger(MemoryStore()))
    assert [chunk async for chunk in body] == pieces
    assert exchange.usage is None and len(caplog.messages) == 1


async def test_a_stream_left_before_its_end_has_used_nothing():
    exchange = asked("/v1/responses/resp_1")
    source = Source(b"data: {}\n\n", last_event() + b"\n\n")
    body = ending(exchange, source, Ledger(MemoryStore()))
    await anext(body)
    await body.aclose()
    assert source.closed and exchange.usage is None
