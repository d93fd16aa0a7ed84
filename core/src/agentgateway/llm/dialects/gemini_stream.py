"""Streams of Google's streamGenerateContent with `alt=sse`: each event is a reply that adds to those before it.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent. Nothing marks the stream's end
but that a candidate has a reason to finish.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.blocks import BlockEncoder
from agentgateway.llm.calls import Json, StreamDecoder
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
    Thinking,
    ThinkingDelta,
    ToolArgumentsDelta,
)
from agentgateway.llm.dialects.gemini_errors import decode_error, encode_error
from agentgateway.llm.dialects.gemini_reply import (
    blocked,
    decode_stop,
    encode_stop,
    failure,
    new_call_id,
    new_id,
    read_usage,
    said,
    went_wrong,
    write_usage,
)
from agentgateway.llm.dialects.gemini_thoughts import signed, thought, wire_signature, withheld
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, encode
from agentgateway.llm.texts import arguments

TRUNCATED = ErrorFacts(502, "the upstream's stream ended before its answer was complete")
UNREADABLE = ErrorFacts(502, "the upstream sent an event that cannot be read")


class Decoder(StreamDecoder):
    """Parts follow each other; pieces of text, and of thought, belong together as long as nothing else comes between
    them. A call of a tool is whole."""

    def __init__(self) -> None:
        self._started = self._over = self._called = False
        self._open: tuple[int, PartKind] | None = None
        self._next = 0
        self._usage: Json = {}
        self._reason: object = None
        self._candidate: Json = {}

    def feed(self, event: Event) -> list[Delta]:
        if self._over or event.data is None:
            return []
        document = event.document
        if document is None:
            return self._fail(UNREADABLE)
        if document.get("error") is not None:
            return self._fail(decode_error(None, event.data))
        try:
            return list(self._event(document))
        except UpstreamError as error:
            return self._fail(ErrorFacts(error.status, error.message))
        except InvalidRequest:
            return self._fail(UNREADABLE)

    def end(self) -> list[Delta]:
        if self._over:
            return []
        if self._reason is None:
            return self._fail(TRUNCATED)
        if not self._next and went_wrong(self._reason):
            return self._fail(ErrorFacts(502, failure(self._candidate)))
        self._over = True
        usage = read_usage(self._usage) if self._usage else None
        return [*self._close(), Ended(decode_stop(self._reason, called=self._called), None, usage)]

    def _fail(self, facts: ErrorFacts) -> list[Delta]:
        self._over = True
        return [Failed(facts)]

    def _event(self, document: Json) -> Iterator[Delta]:
        self._count(document.get("usageMetadata"))
        if not self._started:
            self._started = True
            usage = read_usage(self._usage) if self._usage else None
            yield Started(_text(document, "responseId"), _text(document, "modelVersion"), usage)
        candidates = document.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict) and candidate.get("index") in (None, 0):
                yield from self._candidates(candidate)
        if (refusal := blocked(document)) is not None:
            yield from self._piece("refusal", TextDelta, refusal)
            self._reason = "SAFETY"

    def _count(self, usage: object) -> None:
        """Counts are cumulative, and those of a later event stand."""
        if isinstance(usage, dict):
            self._usage |= {key: value for key, value in usage.items() if value is not None}

    def _candidates(self, candidate: Json) -> Iterator[Delta]:
        for part in said(candidate):
            yield from self._part(part)
        if candidate.get("finishReason") is not None:
            self._reason, self._candidate = candidate["finishReason"], candidate

    def _part(self, part: Json) -> Iterator[Delta]:
        signature, text, call = _text(part, "thoughtSignature"), _text(part, "text"), part.get("functionCall")
        if part.get("thought") is True and not isinstance(call, dict):
            if text or not signature:
                yield from self._piece("thinking", ThinkingDelta, text)
            yield from self._sign(signature)
        elif isinstance(call, dict):
            yield from self._sign(signature)
            yield from self._call(call)
        elif self._open is not None and self._open[1] == "text":
            yield from self._piece("text", TextDelta, text)
            yield from self._sign(signature)
        else:
            yield from self._sign(signature)
            yield from self._piece("text", TextDelta, text)

    def _piece(self, kind: PartKind, made: type[TextDelta | ThinkingDelta], text: str) -> Iterator[Delta]:
        if text:
            yield from self._switch(kind)
            assert self._open is not None
            yield made(self._open[0], text)

    def _sign(self, signature: str) -> Iterator[Delta]:
        """A signature belongs to the thought before it, which may be a silent one, and ends it."""
        if not signature:
            return
        told = signed(Thinking(), signature)
        if told.redacted is not None:
            yield from self._close()
            yield PartStarted(self._new(), "redacted_thinking", data=told.redacted)
            yield PartEnded(self._next - 1)
        elif told.signature is not None:
            yield from self._switch("thinking")
            assert self._open is not None
            yield SignatureDelta(self._open[0], told.signature)
            yield from self._close()

    def _call(self, call: Json) -> Iterator[Delta]:
        """Raises `UpstreamError` for a call in pieces, which nobody asked for."""
        if call.get("willContinue") or call.get("partialArgs"):
            raise UpstreamError(UNREADABLE.message)
        self._called = True
        yield from self._close()
        index = self._new()
        told = call.get("args")
        yield PartStarted(index, "tool_use", id=_text(call, "id") or new_call_id(), name=_text(call, "name"))
        yield ToolArgumentsDelta(index, dump(told if isinstance(told, dict) else {}).decode())
        yield PartEnded(index)

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _switch(self, kind: PartKind) -> Iterator[Delta]:
        if self._open is None or self._open[1] != kind:
            yield from self._close()
            self._open = (self._new(), kind)
            yield PartStarted(self._open[0], kind)

    def _close(self) -> Iterator[Delta]:
        if self._open is not None:
            yield PartEnded(self._open[0])
            self._open = None


def _text(holder: Json, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


class Encoder(BlockEncoder):
    """A call of a tool is told when it is whole, and a signature with the part that follows its thought."""

    def __init__(self) -> None:
        super().__init__()
        self._head: Json = {}
        self._part_open = PartStarted(0, "text")
        self._arguments: list[str] = []
        self._signature = ""

    def _start(self, started: Started) -> bytes:
        self._head = {"modelVersion": started.model, "responseId": started.id or new_id()}
        return b""

    def _opening(self, part: PartStarted) -> bytes:
        self._part_open, self._arguments = part, []
        out = b""
        if self._signature and part.kind in ("thinking", "redacted_thinking"):
            out = self._part(thought(""))
        if part.kind == "redacted_thinking":
            out += self._chunk(withheld(part.data))
        return out

    def _piece(self, delta: Delta) -> bytes:
        match delta:
            case TextDelta():
                return self._part({"text": delta.text})
            case ThinkingDelta():
                return self._chunk(thought(delta.text))
            case SignatureDelta():
                self._signature += delta.signature
            case ToolArgumentsDelta():
                self._arguments.append(delta.json)
        return b""

    def _closing(self) -> bytes:
        part = self._part_open
        if part.kind != "tool_use":
            return b""
        call = {"id": part.id, "name": part.name, "args": arguments("".join(self._arguments))}
        return self._part({"functionCall": call})

    def _part(self, part: Json) -> bytes:
        """A part, with the signature of the thought before it."""
        if self._signature:
            part["thoughtSignature"] = wire_signature(self._signature)
            self._signature = ""
        return self._chunk(part)

    def _chunk(self, part: Json) -> bytes:
        candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
        return encode(dump({"candidates": [candidate], **self._head}))

    def _end(self, ended: Ended) -> bytes:
        part: Json = {"text": ""}
        if self._signature:
            part["thoughtSignature"] = wire_signature(self._signature)
        candidate = {
            "content": {"parts": [part], "role": "model"},
            "finishReason": encode_stop(ended.stop_reason),
            "index": 0,
        }
        usage = write_usage(ended.usage or Usage())
        return encode(dump({"candidates": [candidate], "usageMetadata": usage, **self._head}))

    def _error(self, facts: ErrorFacts) -> bytes:
        return encode(dump(encode_error(facts)))
