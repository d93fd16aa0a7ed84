"""What comes back from a model: streams with an eye on their usage, errors in the client's words."""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol, cast

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Exchange, Reply
from agentgateway.llm import documents
from agentgateway.llm.calls import Dialect, ErrorFacts, LlmCall
from agentgateway.llm.counting import COUNTING
from agentgateway.llm.framed import meter
from agentgateway.llm.streams import EVENT_ENDS, Translator, UsageSieve

LONGEST = 64 * 1024 * 1024


class Pushing(Protocol):
    """A source that can hand its chunks over by itself."""

    def push(self, on_chunk: Callable[[bytes], None], on_end: Callable[[Exception | None], None]) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class LlmStream:
    """The bytes of a streamed reply in the client's dialect; settles `exchange.usage` when it ends, however it ends.

    Equal dialects: chunks pass as they come, but for an event of usage that only the gateway asked for. Otherwise each
    is translated on its way.
    """

    def __init__(
        self,
        exchange: Exchange,
        source: AsyncIterator[bytes],
        speaks: Dialect,
        wanted: Dialect,
        call: LlmCall,
        *,
        hides_usage: bool = False,
    ) -> None:
        self._exchange = exchange
        self._source = source
        self._pushing: Pushing
        self._wanted = wanted
        self._meter = meter(speaks)
        same = speaks.name == wanted.name
        self._translator = None if same else Translator(speaks, wanted, call, parser=self._meter.parsed)
        self._sieve = UsageSieve(wanted) if hides_usage else None
        self._call = call
        self._silent = True  # no token yet
        self._tail = b"\n\n"  # the last chunk, or at least the last four bytes
        self._done = False
        self._fault: Exception | None = None  # met in a chunk that was pushed

    def __aiter__(self) -> LlmStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._done:
            try:
                if self._fault is not None:
                    raise self._fault
                chunk = self._passed(await self._source.__anext__())
                if chunk:
                    return chunk
            except StopAsyncIteration:
                return self._last()
            except UpstreamError as error:
                return self._broken(error)
        raise StopAsyncIteration

    def push(self, on_chunk: Callable[[bytes], None], on_end: Callable[[Exception | None], None]) -> bool:
        """Have every chunk handed to `on_chunk` at once, in the callback of the upstream's socket; behind `on_end`,
        iteration gives what is left to say. Neither may raise. False where the source cannot do that."""
        if not hasattr(self._source, "push"):
            return False
        self._pushing = pushing = cast("Pushing", self._source)

        def pushed(chunk: bytes) -> None:
            if self._fault is not None:
                return
            try:
                passed = self._passed(chunk)
            except Exception as fault:
                self._fault = fault
                on_end(fault)
            else:
                if passed:
                    on_chunk(passed)

        pushing.push(pushed, on_end)
        return True

    def pause(self) -> None:
        """Of what is pushed, no more for a while."""
        self._pushing.pause()

    def resume(self) -> None:
        self._pushing.resume()

    def _passed(self, chunk: bytes) -> bytes:
        """What the client gets for a chunk, perhaps nothing. Raises `UpstreamError` for an event beyond the limit."""
        told = self._meter.see(chunk)
        if self._silent and self._meter.spoke:
            self._silent = False
            self._exchange.first_token_at = self._exchange.first_token_at or time.monotonic()
        if self._translator is not None:
            chunk = self._translator.feed(chunk)
        elif self._sieve is not None:
            chunk = self._sieve.feed(chunk, told)
        if len(chunk) > 3:
            self._tail = chunk
        elif chunk:
            self._tail = (self._tail + chunk)[-4:]
        return chunk

    def _last(self) -> bytes:
        if self._translator is None and not self._meter.complete:
            return self._cut()
        self._settle()
        out = b""
        if self._translator is not None:
            out = self._translator.end()
            if (told := self._translator.failed) is not None:
                self._exchange.error = UpstreamError(told.message, status=told.status, code=told.code)
        elif self._sieve is not None:
            out = self._sieve.end()
        if out:
            return out
        raise StopAsyncIteration

    def _cut(self) -> bytes:
        """The upstream's bytes ended before its answer did. One that said why has told the client itself."""
        facts = self._meter.failure
        if facts is None:
            return self._broken(UpstreamError("the upstream's stream ended before its answer was complete"))
        self._settle()
        self._exchange.error = UpstreamError(facts.message, status=facts.status, code=facts.code)
        raise StopAsyncIteration

    def _broken(self, error: UpstreamError) -> bytes:
        """The upstream died in the middle: say so in the client's words if its last event was whole, else cut. One that
        had said everything is forgiven."""
        if self._meter.ended:
            return self._last()
        self._settle()
        self._exchange.error = error
        if self._translator is not None:
            return self._translator.fail(facts_of(error))
        if self._inside_an_event():
            raise error
        return self._wanted.encoder().fail(facts_of(error))

    def _inside_an_event(self) -> bool:
        """Whether the last bytes that the client got, as they came, are the beginning of an event."""
        parsed = self._meter.parsed
        return not self._tail.endswith(EVENT_ENDS) if parsed is None else parsed.waiting > 0

    def _settle(self) -> None:
        if not self._done:
            self._done = True
            self._exchange.finished = self._meter.ended
            self._exchange.usage = self._meter.usage(self._call)
            if COUNTING.watched:
                learn(self._exchange, self._call)
            self._exchange.response_model = self._meter.model

    async def aclose(self) -> None:
        """End early: the upstream's connection closes, what was seen is what is counted."""
        self._settle()
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


def learn(exchange: Exchange, call: LlmCall) -> None:
    """What a call's vendor counted, for those who will ask how much a call has."""
    target, usage = exchange.target, exchange.usage
    if target is not None and usage is not None and not usage.estimated and call.operation == "chat":
        COUNTING.learn(target.provider, target.model or call.model, call.document, usage.input_tokens)


def facts_of(error: UpstreamError) -> ErrorFacts:
    return ErrorFacts(error.status, error.message, code=error.code)


def translated_error(reply: Reply, speaks: Dialect, wanted: Dialect) -> None:
    """An upstream's error in the client's dialect, its status kept."""
    assert isinstance(reply.body, bytes)
    facts = speaks.decode_error(reply.status, reply.body)
    if speaks.error_header:
        facts = replace(facts, type=reply.headers.get(speaks.error_header) or facts.type)
        reply.headers.remove(speaks.error_header)
    reply.body = documents.dump(wanted.encode_error(facts))
    reply.headers.set("content-type", "application/json")
    reply.headers.remove("content-length")


def decompressed(reply: Reply, coding: str) -> bytes:
    """The body without its content encoding (gzip, deflate), bounded; upstreams were asked not to compress."""
    assert isinstance(reply.body, bytes)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise UpstreamError("the upstream's reply has an unknown encoding", detail=f"content-encoding {coding}")
    reader = zlib.decompressobj(wbits=47 if coding != "deflate" else 15)
    try:
        body = reader.decompress(reply.body, LONGEST)
    except zlib.error as error:
        raise UpstreamError("the upstream's reply cannot be decompressed", detail=str(error)) from None
    if reader.unconsumed_tail:
        raise UpstreamError("the upstream's reply is too large", detail=f"over {LONGEST} bytes decompressed")
    reply.headers.remove("content-encoding")
    reply.headers.remove("content-length")
    return body
