"""The beginning of a streamed answer, read ahead of the client, so that another target can be asked while that is still
possible: once the first token has left, it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from agentgateway.errors import UpstreamError
from agentgateway.llm.chat import (
    Delta,
    Ended,
    Failed,
    PartStarted,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    ToolArgumentsDelta,
)
from agentgateway.llm.dialect import Dialect

ANSWERS = (TextDelta, ThinkingDelta, SignatureDelta, ToolArgumentsDelta, PartStarted, Ended)


async def begun(source: AsyncIterator[bytes], speaks: Dialect) -> AsyncIterator[bytes]:
    """The stream, once its answer has begun. Raises `UpstreamError`, and closes the source, when it breaks, ends or
    says that it failed before."""
    parser, decoder = speaks.parser(), speaks.decoder()
    read: list[bytes] = []
    try:
        async for chunk in source:
            read.append(chunk)
            for event in parser.feed(chunk):
                if answers(decoder.feed(event)):
                    return ReadAhead(read, source)
        for event in parser.end():
            if answers(decoder.feed(event)):
                return ReadAhead(read, source)
        answers(decoder.end())
    except BaseException:
        await close(source)
        raise
    raise UpstreamError("the upstream's stream ended before its answer")


def answers(deltas: Iterable[Delta]) -> bool:
    """Whether the answer begins here. Raises `UpstreamError` for a failure that the vendor tells in its stream."""
    for delta in deltas:
        if isinstance(delta, Failed):
            facts = delta.facts
            raise UpstreamError(facts.message, status=facts.status, code=facts.code)
        if isinstance(delta, ANSWERS):
            return True
    return False


class ReadAhead:
    """A stream whose first chunks were read already."""

    __slots__ = ("_read", "_source")

    def __init__(self, read: list[bytes], source: AsyncIterator[bytes]) -> None:
        self._read = read[::-1]
        self._source = source

    def __aiter__(self) -> ReadAhead:
        return self

    async def __anext__(self) -> bytes:
        return self._read.pop() if self._read else await self._source.__anext__()

    async def aclose(self) -> None:
        await close(self._source)


async def close(source: AsyncIterator[bytes]) -> None:
    end = getattr(source, "aclose", None)
    if end is not None:
        await end()
