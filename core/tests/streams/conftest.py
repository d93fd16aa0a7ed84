"""A source that knows whether it was closed, and a dialect as small as can be."""

from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from pydantic_core import to_json

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, ErrorFacts, StreamEncoder
from agentgateway.llm.sse import Event


class Source:
    """Chunks, one at a time; counts how often it was asked and closed."""

    def __init__(self, chunks: Iterable[bytes], error: Exception | None = None) -> None:
        self._chunks = iter(chunks)
        self._error = error
        self.asked = 0
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.asked += 1
        for chunk in self._chunks:
            return chunk
        raise self._error or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


class TinyEncoder(StreamEncoder):
    def fail(self, facts: ErrorFacts) -> bytes:
        return b"data: " + to_json({"error": facts.message, "status": facts.status}) + b"\n\n"


class TinyDialect(Dialect):
    """Events `{"c": channel, "t": text, "s": scope}`, and `[END]`."""

    name = "tiny"

    def event_segments(self, event: Event) -> list[Segment]:
        document = event.document
        if not document or "t" not in document:
            return []

        def put(text: str) -> None:
            document["t"] = text
            event.mark_changed()

        return [Segment("assistant", document.get("s", "messages"), str(document["c"]), document["t"], put)]

    def ends(self, event: Event) -> bool:
        return event.data == b"[END]"

    def encoder(self, *, include_usage: bool = False) -> StreamEncoder:
        return TinyEncoder()


@pytest.fixture
def source() -> Callable[..., Source]:
    return Source


@pytest.fixture
def tiny() -> Dialect:
    return TinyDialect()
