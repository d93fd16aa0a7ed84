"""Replies that pass as they come, with an eye on what they cost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from pydantic_core import from_json

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Exchange
from agentgateway.llm.calls import Dialect
from agentgateway.llm.usage import UsageMeter


def look_at(exchange: Exchange, body: bytes, dialect: Dialect) -> None:
    """Usage and model of a whole reply, if it is a document that tells them."""
    try:
        document = from_json(body)
    except ValueError:
        return
    if isinstance(document, dict):
        exchange.usage = dialect.usage(document)
        exchange.response_model = dialect.reply_model(document)


class WatchedStream:
    """Server-sent events in a format that nobody here knows; settles `exchange.usage` when it ends, however it ends."""

    def __init__(self, exchange: Exchange, source: AsyncIterator[bytes], dialect: Dialect) -> None:
        self._exchange = exchange
        self._source = source
        self._meter = UsageMeter(dialect)

    def __aiter__(self) -> WatchedStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._source.__anext__()
        except StopAsyncIteration:
            self._settle()
            raise
        except UpstreamError as error:
            self._settle()
            self._exchange.error = error
            raise
        self._meter.see(chunk)
        if self._exchange.first_token_at is None:
            self._exchange.first_token_at = time.monotonic()
        return chunk

    def _settle(self) -> None:
        usage = self._meter.usage()
        self._exchange.usage = None if usage.estimated else usage
        self._exchange.response_model = self._meter.model

    async def aclose(self) -> None:
        self._settle()
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
