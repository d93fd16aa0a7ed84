"""Streams in OpenAI's chat completions format.

Source: https://platform.openai.com/docs/api-reference/chat-streaming. Reasoning is an EXTENSION: `reasoning_content`
carries its text; `thinking_blocks` carries what ends a block of it, a signature without text, and redacted blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from pydantic_core import from_json

from agentgateway.exchange import Usage
from agentgateway.llm.calls import Json, StreamDecoder, StreamEncoder
from agentgateway.llm.chat import (
    Delta,
    Ended,
    ErrorFacts,
    Failed,
    PartEnded,
    PartKind,
    PartStarted,
    SignatureDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolArgumentsDelta,
)
from agentgateway.llm.dialects.completions_errors import decode_error, encode_error
from agentgateway.llm.dialects.completions_reply import (
    decode_stop,
    dicts,
    encode_stop,
    new_call_id,
    read_usage,
    thoughts,
    words,
    write_usage,
)
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, encode

DONE = b"[DONE]"
TRUNCATED = ErrorFacts(502, "the upstream's stream ended before its answer was complete")
UNREADABLE = ErrorFacts(502, "the upstream sent an event that cannot be read")


class Decoder(StreamDecoder):
    """Text, thinking and refusals follow each other; tool calls may come interleaved, told apart by `index`."""

    def __init__(self) -> None:
        self._started = False
        self._over = False
        self._next = self._last = 0
        self._open: tuple[int, PartKind] | None = None
        self._calls: list[_ToolCall] = []
        self._at: dict[object, _ToolCall] = {}
        self._finish: object = None
        self._refused = False
        self._usage: Usage | None = None

    def feed(self, event: Event) -> list[Delta]:
        if self._over or event.data is None:
            return []
        if event.data.strip() == DONE:
            return self.end()
        document = event.document
        if document is None:
            return self._fail(UNREADABLE)
        if document.get("error"):
            return self._fail(decode_error(_status(document["error"]), event.data))
        return list(self._chunk(document))

    def end(self) -> list[Delta]:
        """A finish reason without `[DONE]` is a whole answer too: some vendors leave the terminator out."""
        if self._over:
            return []
        if self._finish is None:
            return self._fail(TRUNCATED)
        self._over = True
        reason = decode_stop(self._finish, called=bool(self._calls), refused=self._refused)
        return [*self._close(), *self._close_calls(self._calls), Ended(reason, None, self._usage)]

    def _fail(self, facts: ErrorFacts) -> list[Delta]:
        self._over = True
        return [Failed(facts)]

    def _chunk(self, document: Json) -> Iterator[Delta]:
        if not self._started:
            self._started = True
            created = document.get("created")
            identity, model = words(document.get("id")), words(document.get("model"))
            yield Started(identity, model, created=created if isinstance(created, int) else None)
        if isinstance(document.get("usage"), dict):
            self._usage = read_usage(document["usage"])
        for choice in dicts(document.get("choices")):
            if choice.get("index") in (None, 0):
                if isinstance(delta := choice.get("delta"), dict):
                    yield from self._delta(delta)
                self._finish = choice.get("finish_reason") or self._finish

    def _delta(self, delta: Json) -> Iterator[Delta]:
        told = delta.get("reasoning_content") or delta.get("reasoning")
        if thought := words(told) or thoughts(delta.get("content")):
            yield from self._switch("thinking")
            yield ThinkingDelta(self._last, thought)
        for block in dicts(delta.get("thinking_blocks")):
            yield from self._thinking_block(block)
        if text := words(delta.get("content")):
            yield from self._switch("text")
            yield TextDelta(self._last, text)
        if refusal := words(delta.get("refusal")):
            self._refused = True
            yield from self._switch("refusal")
            yield TextDelta(self._last, refusal)
        for call in dicts(delta.get("tool_calls")):
            yield from self._tool_call(call)

    def _thinking_block(self, block: Json) -> Iterator[Delta]:
        if block.get("type") == "redacted_thinking":
            yield from self._close()
            yield PartStarted(self._new(), "redacted_thinking", data=words(block.get("data")))
            yield PartEnded(self._last)
            return
        thought, signature = words(block.get("thinking")), words(block.get("signature"))
        if thought or signature:
            yield from self._switch("thinking")
        if thought:
            yield ThinkingDelta(self._last, thought)
        if signature:
            yield SignatureDelta(self._last, signature)
            yield from self._close()

    def _tool_call(self, piece: Json) -> Iterator[Delta]:
        """Some vendors give every call the same index, or none: another id is another call."""
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        identity = words(piece.get("id"))
        place = piece.get("index") if isinstance(piece.get("index"), int) else None
        call = self._at.get(place)
        if call is None or (identity and identity != call.id):
            yield from self._close()
            yield from self._close_calls([call for call in self._calls if call.is_whole()])
            call = _ToolCall(self._new(), identity)
            self._calls.append(call)
            self._at[place] = call
            yield PartStarted(call.part, "tool_use", id=identity or new_call_id(), name=words(function.get("name")))
        if arguments := words(function.get("arguments")):
            call.arguments.append(arguments)
            if not call.ended:
                yield ToolArgumentsDelta(call.part, arguments)

    def _new(self) -> int:
        self._last = self._next
        self._next += 1
        return self._last

    def _switch(self, kind: PartKind) -> Iterator[Delta]:
        """Make sure that a part of that kind is the open one, and `_last` its index."""
        if self._open is None or self._open[1] != kind:
            yield from self._close()
            self._open = (self._new(), kind)
            yield PartStarted(self._last, kind)
        self._last = self._open[0]

    def _close(self) -> Iterator[Delta]:
        if self._open is not None:
            yield PartEnded(self._open[0])
            self._open = None

    def _close_calls(self, calls: list[_ToolCall]) -> Iterator[Delta]:
        for call in calls:
            if not call.ended:
                call.ended = True
                yield PartEnded(call.part)


class _ToolCall:
    """A call whose arguments are whole JSON has ended: nothing but blanks could follow."""

    def __init__(self, part: int, identity: str) -> None:
        self.part = part
        self.id = identity
        self.arguments: list[str] = []
        self.ended = False

    def is_whole(self) -> bool:
        try:
            from_json("".join(self.arguments))
        except ValueError:
            return False
        return True


def _status(error: Any) -> int:
    """Errors in a stream have no status; some vendors put it into `code`."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return 429 if code == "rate_limit_exceeded" else 502


class Encoder(StreamEncoder):
    def __init__(self, *, include_usage: bool = False) -> None:
        self._include_usage = include_usage
        self._head: Json = {}
        self._calls: dict[int, int] = {}
        self._spoken: set[int] = set()
        self._refusals: set[int] = set()
        self._over = False

    def feed(self, delta: Delta) -> bytes:
        match delta:
            case Started():
                return self._start(delta)
            case TextDelta():
                key = "refusal" if delta.index in self._refusals else "content"
                return self._chunk({key: delta.text})
            case ThinkingDelta():
                return self._chunk({"reasoning_content": delta.text})
            case SignatureDelta():
                block = {"type": "thinking", "thinking": "", "signature": delta.signature}
                return self._chunk({"thinking_blocks": [block]})
            case PartStarted():
                return self._part(delta)
            case ToolArgumentsDelta():
                return self._arguments(delta.index, delta.json)
            case PartEnded():
                silent = delta.index in self._calls and delta.index not in self._spoken
                return self._arguments(delta.index, "{}") if silent else b""
            case Ended():
                return self._end(delta)
            case Failed():
                return self.fail(delta.facts)

    def end(self) -> bytes:
        return b""

    def fail(self, facts: ErrorFacts) -> bytes:
        if self._over:
            return b""
        self._over = True
        return encode(dump(encode_error(facts)))

    def _start(self, started: Started) -> bytes:
        self._head = {
            "id": started.id or f"chatcmpl-{uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": started.created if started.created is not None else int(time.time()),
            "model": started.model,
        }
        return self._chunk({"role": "assistant", "content": ""})

    def _part(self, part: PartStarted) -> bytes:
        if part.kind == "tool_use":
            place = self._calls[part.index] = len(self._calls)
            function = {"name": part.name, "arguments": ""}
            return self._chunk(
                {"tool_calls": [{"index": place, "id": part.id, "type": "function", "function": function}]}
            )
        if part.kind == "redacted_thinking":
            return self._chunk({"thinking_blocks": [{"type": "redacted_thinking", "data": part.data}]})
        if part.kind == "refusal":
            self._refusals.add(part.index)
        return b""

    def _arguments(self, index: int, text: str) -> bytes:
        self._spoken.add(index)
        return self._chunk({"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]})

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        if self._over:
            return b""
        return encode(dump(self._head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))

    def _end(self, ended: Ended) -> bytes:
        if self._over:
            return b""
        out = self._chunk({}, encode_stop(ended.stop_reason))
        if self._include_usage and ended.usage is not None:
            out += encode(dump(self._head | {"choices": [], "usage": write_usage(ended.usage)}))
        self._over = True
        return out + encode(DONE)
