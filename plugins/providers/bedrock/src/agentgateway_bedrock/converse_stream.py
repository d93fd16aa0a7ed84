"""Streams of Bedrock's ConverseStream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
"""

from __future__ import annotations

from collections.abc import Iterator

from agentgateway.exchange import Usage
from agentgateway.llm.blocks import BlockEncoder
from agentgateway.llm.calls import Json, PartKind, StreamDecoder
from agentgateway.llm.chat import (
    Delta,
    Ended,
    ErrorFacts,
    Failed,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolArgumentsDelta,
)
from agentgateway.llm.sse import Event
from agentgateway_bedrock.converse_errors import decode_error, exception_type
from agentgateway_bedrock.converse_reply import METRICS, decode_stop, encode_stop, read_usage, write_usage
from agentgateway_bedrock.frames import Frame, event, exception

TRUNCATED = ErrorFacts(502, "the upstream's stream ended before its answer was complete")
UNREADABLE = ErrorFacts(502, "the upstream sent an event that cannot be read")


class Decoder(StreamDecoder):
    """A block of text or thinking begins with its first piece: only those of tools are announced."""

    def __init__(self) -> None:
        self._over = self._started = False
        self._open: dict[int, PartStarted] = {}
        self._hidden: dict[int, str] = {}
        self._next = 0
        self._reason: object = None

    def feed(self, event: Event) -> list[Delta]:
        if self._over:
            return []
        if isinstance(event, Frame) and event.failed:
            return self._fail(decode_error(None, event.data or b"", event.name))
        document = event.document
        if document is None:
            return self._fail(UNREADABLE)
        return list(self._event(event.name, document))

    def end(self) -> list[Delta]:
        """A stop reason without the usage that follows it is a whole answer too."""
        if self._over:
            return []
        return self._fail(TRUNCATED) if self._reason is None else list(self._finish(None))

    def _fail(self, facts: ErrorFacts) -> list[Delta]:
        self._over = True
        return [Failed(facts)]

    def _event(self, name: str | None, document: Json) -> Iterator[Delta]:
        if not self._started:
            self._started = True
            yield Started("", "")
        place = _index(document)
        match name:
            case "contentBlockStart":
                called = _object(_object(document.get("start")).get("toolUse"))
                if called and "type" not in called:
                    yield from self._begin(place, "tool_use", _text(called, "toolUseId"), _text(called, "name"))
            case "contentBlockDelta":
                yield from self._delta(place, _object(document.get("delta")))
            case "contentBlockStop":
                yield from self._close(place)
            case "messageStop":
                self._reason = document.get("stopReason") or "end_turn"
            case "metadata":
                yield from self._finish(read_usage(_object(document.get("usage"))))

    def _begin(self, place: int, kind: PartKind, identity: str = "", name: str = "", data: str = "") -> Iterator[Delta]:
        yield from self._close(place)
        part = self._open[place] = PartStarted(self._next, kind, identity, name, data)
        self._next += 1
        yield part

    def _delta(self, place: int, delta: Json) -> Iterator[Delta]:
        """A piece that does not fit its block breaks the stream: left out, its text would be lost."""
        thought = _object(delta.get("reasoningContent"))
        told = _object(delta.get("toolUse"))
        if isinstance(data := thought.get("redactedContent"), str):
            self._hidden[place] = self._hidden.get(place, "") + data
        elif told:
            part = self._open.get(place)
            if part is None or part.kind != "tool_use":
                return  # of a tool that runs at the vendor
            if text := _text(told, "input"):
                yield ToolArgumentsDelta(part.index, text)
        elif "text" in delta:
            yield from self._piece(place, "text", TextDelta, _text(delta, "text"))
        elif "text" in thought:
            yield from self._piece(place, "thinking", ThinkingDelta, _text(thought, "text"))
        elif "signature" in thought:
            yield from self._piece(place, "thinking", SignatureDelta, _text(thought, "signature"))

    def _piece(
        self, place: int, kind: PartKind, made: type[TextDelta | ThinkingDelta | SignatureDelta], text: str
    ) -> Iterator[Delta]:
        part = self._open.get(place)
        if part is None:
            yield from self._begin(place, kind)
            part = self._open[place]
        if part.kind != kind:
            yield from self._fail(UNREADABLE)
        else:
            yield made(part.index, text)

    def _close(self, place: int) -> Iterator[Delta]:
        if (data := self._hidden.pop(place, None)) is not None:
            yield from self._begin(place, "redacted_thinking", data=data)
        part = self._open.pop(place, None)
        if part is not None:
            yield PartEnded(part.index)

    def _finish(self, usage: Usage | None) -> Iterator[Delta]:
        self._over = True
        for place in sorted({*self._open, *self._hidden}):
            yield from self._close(place)
        yield Ended(decode_stop(self._reason), None, usage)


def _index(document: Json) -> int:
    """Which block an event is about; -1, which the vendor never uses, when it does not say."""
    index = document.get("contentBlockIndex")
    return index if isinstance(index, int) else -1


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(holder: Json, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


class Encoder(BlockEncoder):
    def _start(self, started: Started) -> bytes:
        return event("messageStart", {"role": "assistant"})

    def _piece(self, delta: Delta) -> bytes:
        match delta:
            case TextDelta():
                return self._delta(text=delta.text)
            case ThinkingDelta():
                return self._delta(reasoningContent={"text": delta.text})
            case SignatureDelta():
                return self._delta(reasoningContent={"signature": delta.signature})
            case ToolArgumentsDelta():
                return self._delta(toolUse={"input": delta.json})
            case _:
                return b""

    def _closing(self) -> bytes:
        return event("contentBlockStop", {"contentBlockIndex": self._blocks})

    def _opening(self, part: PartStarted) -> bytes:
        match part.kind:
            case "tool_use":
                start = {"toolUse": {"toolUseId": part.id, "name": part.name}}
                return event("contentBlockStart", {"start": start, "contentBlockIndex": self._blocks})
            case "redacted_thinking":
                return self._delta(reasoningContent={"redactedContent": part.data})
            case _:
                return b""

    def _delta(self, **delta: object) -> bytes:
        return event("contentBlockDelta", {"delta": delta, "contentBlockIndex": self._blocks})

    def _error(self, facts: ErrorFacts) -> bytes:
        return exception(exception_type(facts), {"message": facts.message})

    def _end(self, ended: Ended) -> bytes:
        usage = write_usage(ended.usage or Usage())
        return event("messageStop", {"stopReason": encode_stop(ended.stop_reason)}) + event(
            "metadata", {"usage": usage, "metrics": METRICS}
        )
