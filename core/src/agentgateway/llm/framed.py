"""Usage of streams whose events are not lines: met event by event, parsed once for whoever else reads them."""

from __future__ import annotations

from agentgateway.errors import UpstreamError
from agentgateway.llm.calls import Dialect, ErrorFacts, Failed
from agentgateway.llm.sse import CONTENT_TYPE, Event
from agentgateway.llm.usage import UsageMeter


def meter(dialect: Dialect) -> UsageMeter:
    """What counts a stream of that dialect."""
    return UsageMeter(dialect) if dialect.stream_content_type == CONTENT_TYPE else FramedMeter(dialect)


class FramedMeter(UsageMeter):
    """Watches the events of one stream. What cannot be parsed ends the watching and not the stream: that is for those
    to say who need its events."""

    __slots__ = ("_concluded", "_ended", "_events", "_final", "_parser", "_unreadable", "parsed")

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self._parser = dialect.parser()
        self._events: list[Event] = []
        self._final: Event | None = None
        self._unreadable: UpstreamError | None = None
        self._concluded = self._ended = False
        self.parsed = _Parsed(self)

    def see(self, chunk: bytes) -> bool:
        """Whether the vendor told usage in the events that are complete now."""
        if self._unreadable is not None:
            return False
        try:
            self._events = self._parser.feed(chunk)
        except UpstreamError as error:
            self._events, self._unreadable = [], error
        return any([self._meet(event) for event in self._events])

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def complete(self) -> bool:
        """Nobody knows of one that could not be read to its end: its client will."""
        return self._ended or self._concluded or self._unreadable is not None

    @property
    def failure(self) -> ErrorFacts | None:
        deltas = self._dialect.decoder().feed(self._final) if self._final is not None else ()
        return next((delta.facts for delta in deltas if isinstance(delta, Failed)), None)

    def _meet(self, event: Event) -> bool:
        data, document = event.data or b"", event.document or {}
        self._bytes += len(data)
        self._measured = self._bytes
        self._text += sum(map(len, self._texts.findall(data)))
        self.spoke = self._text > 0
        self.model = self.model or self._dialect.reply_model(document)
        self._final = event
        self._ended = self._ended or self._dialect.ends(event)
        self._concluded = self._concluded or self._dialect.concludes(event)
        fields = self._dialect.usage_fields(document)
        if fields is None:
            return False
        self._fields |= {key: value for key, value in fields.items() if value is not None}
        self._complete = self._complete or self._dialect.usage_complete(document)
        return True


class _Parsed:
    """A parser for somebody who reads each chunk right after the meter saw it."""

    __slots__ = ("_meter",)

    def __init__(self, meter: FramedMeter) -> None:
        self._meter = meter

    def feed(self, chunk: bytes) -> list[Event]:
        if self._meter._unreadable is not None:
            raise self._meter._unreadable
        return self._meter._events

    def end(self) -> list[Event]:
        return self._meter._parser.end()

    @property
    def waiting(self) -> int:
        return self._meter._parser.waiting
