"""Streams in Anthropic's messages format: https://docs.anthropic.com/en/docs/build-with-claude/streaming"""

from __future__ import annotations

from collections.abc import Iterator

from agentgateway.exchange import Usage
from agentgateway.llm.blocks import BlockEncoder
from agentgateway.llm.calls import Json, StreamDecoder
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
from agentgateway.llm.dialects.messages_errors import decode_error, encode_error
from agentgateway.llm.dialects.messages_reply import decode_stop, encode_stop, new_id, read_usage, write_usage
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, encode

TRUNCATED = ErrorFacts(502, "the upstream's stream ended before its answer was complete")
UNREADABLE = ErrorFacts(502, "the upstream sent an event that cannot be read")


class Decoder(StreamDecoder):
    """Blocks keep their order. Those of tools that ran at the vendor are left out."""

    def __init__(self) -> None:
        self._over = False
        self._open: dict[int, PartStarted] = {}
        self._next = 0
        self._usage: Json = {}
        self._reason: object = None
        self._sequence: str | None = None

    def feed(self, event: Event) -> list[Delta]:
        if self._over or event.data is None:
            return []
        document = event.document
        if document is None:
            return self._fail(UNREADABLE)
        return list(self._event(document, event.data))

    def end(self) -> list[Delta]:
        """A stop reason without `message_stop` is a whole answer too."""
        if self._over:
            return []
        if self._reason is None:
            return self._fail(TRUNCATED)
        return list(self._finish())

    def _fail(self, facts: ErrorFacts) -> list[Delta]:
        self._over = True
        return [Failed(facts)]

    def _event(self, document: Json, data: bytes) -> Iterator[Delta]:
        match document.get("type"):
            case "message_start":
                yield from self._start(_object(document.get("message")))
            case "content_block_start":
                yield from self._block(_index(document), _object(document.get("content_block")))
            case "content_block_delta":
                part = self._open.get(_index(document))
                if part is not None:
                    yield from self._delta(part, _object(document.get("delta")))
            case "content_block_stop":
                yield from self._close(_index(document))
            case "message_delta":
                delta = _object(document.get("delta"))
                self._count(document)
                self._reason = delta.get("stop_reason") or self._reason
                self._sequence = _text(delta, "stop_sequence") or self._sequence
            case "message_stop":
                yield from self._finish()
            case "error":
                yield from self._fail(decode_error(None, data))

    def _start(self, message: Json) -> Iterator[Delta]:
        self._count(message)
        usage = read_usage(self._usage) if self._usage else None
        yield Started(_text(message, "id"), _text(message, "model"), usage)

    def _count(self, holder: Json) -> None:
        """Counts are cumulative, and those of a later event stand."""
        fields = _object(holder.get("usage"))
        self._usage |= {key: value for key, value in fields.items() if value is not None}

    def _block(self, place: int, block: Json) -> Iterator[Delta]:
        yield from self._close(place)
        match block.get("type"):
            case "text" | "thinking" | "redacted_thinking" | "tool_use" as kind:
                part = self._open[place] = PartStarted(
                    self._next, kind, _text(block, "id"), _text(block, "name"), _text(block, "data")
                )
                self._next += 1
                yield part
                yield from _beginning(part, block)

    def _delta(self, part: PartStarted, delta: Json) -> Iterator[Delta]:
        """A delta that does not fit its block breaks the stream: left out, its text would be lost."""
        match part.kind, delta.get("type"):
            case "text", "text_delta":
                yield TextDelta(part.index, _text(delta, "text"))
            case "thinking", "thinking_delta":
                yield ThinkingDelta(part.index, _text(delta, "thinking"))
            case "thinking", "signature_delta":
                yield SignatureDelta(part.index, _text(delta, "signature"))
            case "tool_use", "input_json_delta":
                if text := _text(delta, "partial_json"):
                    yield ToolArgumentsDelta(part.index, text)
            case _, "text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta":
                yield from self._fail(UNREADABLE)

    def _close(self, place: int) -> Iterator[Delta]:
        part = self._open.pop(place, None)
        if part is not None:
            yield PartEnded(part.index)

    def _finish(self) -> Iterator[Delta]:
        self._over = True
        for part in self._open.values():
            yield PartEnded(part.index)
        usage: Usage | None = read_usage(self._usage) if self._usage else None
        yield Ended(decode_stop(self._reason), self._sequence, usage)


def _beginning(part: PartStarted, block: Json) -> Iterator[Delta]:
    """What a block holds from its start; compatible vendors send a tool's whole input so."""
    if part.kind == "text" and (text := _text(block, "text")):
        yield TextDelta(part.index, text)
    if part.kind == "thinking" and (text := _text(block, "thinking")):
        yield ThinkingDelta(part.index, text)
    if part.kind == "thinking" and (signature := _text(block, "signature")):
        yield SignatureDelta(part.index, signature)
    if part.kind == "tool_use" and block.get("input"):
        yield ToolArgumentsDelta(part.index, dump(block["input"]).decode())


def _index(document: Json) -> int:
    """Which block an event is about; -1, which no vendor uses, when it does not say."""
    index = document.get("index")
    return index if isinstance(index, int) else -1


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(holder: Json, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


class Encoder(BlockEncoder):
    def _start(self, started: Started) -> bytes:
        message: Json = {
            "id": started.id or new_id(),
            "type": "message",
            "role": "assistant",
            "model": started.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(started.usage or Usage()),
        }
        return _event({"type": "message_start", "message": message})

    def _opening(self, part: PartStarted) -> bytes:
        return self._event("content_block_start", content_block=_block(part))

    def _piece(self, delta: Delta) -> bytes:
        match delta:
            case TextDelta():
                return self._delta(type="text_delta", text=delta.text)
            case ThinkingDelta():
                return self._delta(type="thinking_delta", thinking=delta.text)
            case SignatureDelta():
                return self._delta(type="signature_delta", signature=delta.signature)
            case ToolArgumentsDelta():
                return self._delta(type="input_json_delta", partial_json=delta.json)
            case _:
                return b""

    def _closing(self) -> bytes:
        return self._event("content_block_stop")

    def _delta(self, **delta: str) -> bytes:
        return self._event("content_block_delta", delta=delta)

    def _event(self, kind: str, **fields: Json) -> bytes:
        return _event({"type": kind, "index": self._blocks, **fields})

    def _error(self, facts: ErrorFacts) -> bytes:
        return _event(encode_error(facts))

    def _end(self, ended: Ended) -> bytes:
        delta = {"stop_reason": encode_stop(ended.stop_reason), "stop_sequence": ended.stop_sequence}
        usage = write_usage(ended.usage or Usage())
        return _event({"type": "message_delta", "delta": delta, "usage": usage}) + _event({"type": "message_stop"})


def _block(part: PartStarted) -> Json:
    match part.kind:
        case "tool_use":
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": part.data}
        case _:
            return {"type": "text", "text": ""}


def _event(document: Json) -> bytes:
    return encode(dump(document), document["type"])
