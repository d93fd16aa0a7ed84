"""Streams of model calls on their way: translated to another dialect, or rewritten in their own. No I/O."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.chat import Delta, ErrorFacts, Failed
from agentgateway.llm.dialect import EventParser
from agentgateway.llm.restoring import restoring
from agentgateway.llm.sse import EVENT_LIMIT, Event, Parser

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")


class Translator:
    """Upstream bytes in, client bytes out. `call` is the client's; it says whether usage is wanted in the stream.

    `failed` is set once the stream broke: the client was told, in its own dialect, and no byte follows. `parser` is
    one that somebody reads the same bytes with already.
    """

    def __init__(
        self,
        source: Dialect,
        target: Dialect,
        call: LlmCall,
        *,
        limit: int = EVENT_LIMIT,
        parser: EventParser | None = None,
    ) -> None:
        self._parser = parser or source.parser(limit)
        self._decoder = source.decoder()
        self._encoder = target.encoder(include_usage=call.canonical().include_usage)
        self._restore = restoring(source, call.canonical())
        self.failed: ErrorFacts | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Raises `UpstreamError` for an event beyond the limit; `fail` then tells the client."""
        return self._events(self._parser.feed(chunk))

    def end(self) -> bytes:
        """The upstream's bytes ended."""
        return self._events(self._parser.end()) + self._deltas(self._decoder.end()) + self._encoder.end()

    def fail(self, facts: ErrorFacts) -> bytes:
        """The upstream died: an error in the client's dialect."""
        if self.failed is None:
            self.failed = facts
        return self._encoder.fail(facts)

    def _events(self, events: Iterable[Event]) -> bytes:
        return b"".join(self._deltas(self._decoder.feed(event)) for event in events)

    def _deltas(self, deltas: Iterable[Delta]) -> bytes:
        out = []
        for delta in deltas:
            if isinstance(delta, Failed):
                self.failed = delta.facts
            if self._restore is not None:
                delta = self._restore(delta)
            out.append(self._encoder.feed(delta))
        return b"".join(out)


class UsageSieve:
    """Bytes of a stream in and out, but for the events that tell usage alone (`Dialect.only_usage`); no other byte is
    touched. What is not a whole event yet is held; if one grows beyond the limit, everything passes from there on."""

    def __init__(self, dialect: Dialect, *, limit: int = EVENT_LIMIT) -> None:
        self._dialect = dialect
        self._limit = limit
        self._parser = dialect.parser(sys.maxsize)
        self._holds = False
        self._passes = False

    def feed(self, chunk: bytes, told: bool) -> bytes:
        """`told`: whether usage stands in this chunk, for all that is known (`UsageMeter.see`)."""
        if self._passes or (not (told or self._holds) and chunk.endswith(EVENT_ENDS)):
            return chunk
        out = self._kept(self._parser.feed(chunk))
        self._holds = self._parser.waiting > 0
        if self._parser.waiting > self._limit:
            self._passes = True
            out += self.end()
        return out

    def end(self) -> bytes:
        """What is still held."""
        return self._kept(self._parser.end())

    def _kept(self, events: Iterable[Event]) -> bytes:
        return b"".join([event.raw for event in events if not self._dialect.only_usage(event)])


Edit = Callable[[Event], Iterable[Event] | None]
"""Looks at an event and may change it. Returns the events to send now: None means this one; others may be held."""


def _none() -> Iterable[Event]:
    return ()


class EventRewriter:
    """Bytes of a stream in and out, each event shown to `edit`; events that nobody changed leave to the byte as they
    came. `finish` gives what was held when the stream ends."""

    def __init__(self, edit: Edit, finish: Callable[[], Iterable[Event]] = _none, *, limit: int = EVENT_LIMIT) -> None:
        self._parser = Parser(limit)
        self._edit = edit
        self._finish = finish

    def feed(self, chunk: bytes) -> bytes:
        """Raises `UpstreamError` for an event beyond the limit."""
        return self._events(self._parser.feed(chunk))

    def end(self) -> bytes:
        return self._events(self._parser.end()) + b"".join(event.encode() for event in self._finish())

    def _events(self, events: Iterable[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            sent = self._edit(event)
            out.extend([event.encode()] if sent is None else (one.encode() for one in sent))
        return b"".join(out)
