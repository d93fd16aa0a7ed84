"""Writing streams in OpenAI's responses format: https://platform.openai.com/docs/api-reference/responses-streaming"""

from __future__ import annotations

from dataclasses import dataclass, field

from agentgateway.llm.calls import Json, StreamEncoder
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
from agentgateway.llm.dialects.completions_errors import encode_error
from agentgateway.llm.dialects.responses_reply import (
    new_call,
    new_message,
    new_response,
    new_thought,
    outcome,
    refusal_part,
    text_part,
)
from agentgateway.llm.dialects.responses_thoughts import ciphertext, summary
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import encode


@dataclass(slots=True, eq=False)
class _Item:
    """An item of the output, and where it stands there. `open` counts its unfinished parts; `last` says that no other
    part will come."""

    item: Json
    index: int
    open: int = 0
    last: bool = False


@dataclass(slots=True, eq=False)
class _Part:
    """A part that is being told; `place` is where it stands in its item."""

    owner: _Item
    kind: PartKind
    place: int = 0
    data: str = ""
    said: list[str] = field(default_factory=list)
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.said)


class Encoder(StreamEncoder):
    """Every piece is numbered, and everything is told twice: in pieces, and whole when a part, an item and the response
    are done. Neighbouring texts are the content of one message."""

    def __init__(self) -> None:
        self._over = self._refused = False
        self._sequence = 0
        self._response: Json = {}
        self._items: list[_Item] = []
        self._message: _Item | None = None
        self._parts: dict[int, _Part] = {}

    def feed(self, delta: Delta) -> bytes:
        if self._over:
            return b""
        match delta:
            case Started():
                self._response = new_response(delta.id, delta.model, delta.created)
                return self._whole("created") + self._whole("in_progress")
            case PartStarted():
                return self._start(delta)
            case TextDelta():
                return self._text(self._parts[delta.index], delta.text)
            case ThinkingDelta():
                return self._thought(self._parts[delta.index], delta.text)
            case SignatureDelta():
                self._parts[delta.index].signature += delta.signature
                return b""
            case ToolArgumentsDelta():
                return self._arguments(self._parts[delta.index], delta.json)
            case PartEnded():
                return self._finish(self._parts.pop(delta.index))
            case Ended():
                return self._end(delta)
            case Failed():
                return self.fail(delta.facts)

    def end(self) -> bytes:
        return b""

    def fail(self, facts: ErrorFacts) -> bytes:
        """Two events: some clients wait for the one, some for the other. The error stands flat, as it is documented,
        and in an object, as the vendor sends it: only so the official SDK raises it
        (https://github.com/openai/openai-dotnet/issues/881)."""
        if self._over:
            return b""
        error = encode_error(facts)["error"]
        flat = {"code": error["code"], "message": error["message"], "param": error["param"]}
        out = self._event("error", **flat, error=error)
        code = (
            "rate_limit_exceeded" if facts.status == 429 else "invalid_prompt" if facts.status < 500 else "server_error"
        )
        self._response = self._response or new_response("", "")
        self._response |= {"status": "failed", "error": {"code": code, "message": facts.message}}
        out += self._whole("failed")
        self._over = True
        return out

    def _start(self, part: PartStarted) -> bytes:
        if part.kind in ("text", "refusal"):
            return self._start_text(part)
        out = self._close_message()
        call = part.kind == "tool_use"
        item = new_call(part.id, part.name, "in_progress") if call else new_thought("in_progress")
        owner, added = self._add(item)
        self._parts[part.index] = _Part(owner, part.kind, data=part.data)
        return out + added

    def _start_text(self, part: PartStarted) -> bytes:
        out = b""
        if self._message is None:
            self._message, out = self._add(new_message("in_progress"))
        owner = self._message
        owner.open += 1
        told = self._parts[part.index] = _Part(owner, part.kind, len(owner.item["content"]))
        owner.item["content"].append(_content(told))
        return out + self._piece(told, "content_part.added", part=_content(told))

    def _add(self, item: Json) -> tuple[_Item, bytes]:
        owner = _Item(item, len(self._items))
        self._items.append(owner)
        return owner, self._event("response.output_item.added", output_index=owner.index, item=item)

    def _text(self, part: _Part, text: str) -> bytes:
        part.said.append(text)
        if part.kind == "refusal":
            return self._piece(part, "refusal.delta", delta=text)
        return self._piece(part, "output_text.delta", delta=text, logprobs=[])

    def _thought(self, part: _Part, text: str) -> bytes:
        out = b""
        if not part.said:
            out = self._summary(part, "reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
        part.said.append(text)
        return out + self._summary(part, "reasoning_summary_text.delta", delta=text)

    def _arguments(self, part: _Part, text: str) -> bytes:
        part.said.append(text)
        return self._of_item(part.owner, "function_call_arguments.delta", delta=text)

    def _finish(self, part: _Part) -> bytes:
        match part.kind:
            case "text" | "refusal":
                return self._finish_text(part)
            case "tool_use":
                return self._finish_call(part)
            case _:
                return self._finish_thought(part)

    def _finish_text(self, part: _Part) -> bytes:
        owner, content = part.owner, _content(part)
        owner.item["content"][part.place] = content
        if part.kind == "refusal":
            self._refused = True
            out = self._piece(part, "refusal.done", refusal=part.text)
        else:
            out = self._piece(part, "output_text.done", text=part.text, logprobs=[])
        out += self._piece(part, "content_part.done", part=content)
        owner.open -= 1
        return out + (self._done(owner) if owner.last and not owner.open else b"")

    def _finish_call(self, part: _Part) -> bytes:
        out = b"" if part.text else self._arguments(part, "{}")
        part.owner.item["arguments"] = part.text
        out += self._of_item(part.owner, "function_call_arguments.done", arguments=part.text)
        return out + self._done(part.owner)

    def _finish_thought(self, part: _Part) -> bytes:
        out = b""
        if text := part.text:
            told = {"type": "summary_text", "text": text}
            out = self._summary(part, "reasoning_summary_text.done", text=text)
            out += self._summary(part, "reasoning_summary_part.done", part=told)
        redacted = part.data if part.kind == "redacted_thinking" else None
        part.owner.item |= {"summary": summary(part.text), **ciphertext(part.signature or None, redacted)}
        return out + self._done(part.owner)

    def _close_message(self) -> bytes:
        """No text follows in the message that is open, if one is."""
        owner, self._message = self._message, None
        if owner is None:
            return b""
        owner.last = True
        return b"" if owner.open else self._done(owner)

    def _done(self, owner: _Item) -> bytes:
        owner.item["status"] = "completed"
        return self._event("response.output_item.done", output_index=owner.index, item=owner.item)

    def _end(self, ended: Ended) -> bytes:
        out = b"".join(self._finish(self._parts.pop(index)) for index in list(self._parts)) + self._close_message()
        self._response = self._response or new_response("", "")
        self._response |= outcome(ended.stop_reason, ended.usage, refused=self._refused)
        out += self._whole(self._response["status"])
        self._over = True
        return out

    def _whole(self, kind: str) -> bytes:
        self._response["output"] = [owner.item for owner in self._items]
        return self._event(f"response.{kind}", response=self._response)

    def _piece(self, part: _Part, kind: str, /, **fields: object) -> bytes:
        return self._of_item(part.owner, kind, content_index=part.place, **fields)

    def _summary(self, part: _Part, kind: str, /, **fields: object) -> bytes:
        return self._of_item(part.owner, kind, summary_index=0, **fields)

    def _of_item(self, owner: _Item, kind: str, **fields: object) -> bytes:
        return self._event(f"response.{kind}", item_id=owner.item["id"], output_index=owner.index, **fields)

    def _event(self, kind: str, **fields: object) -> bytes:
        document = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return encode(dump(document), kind)


def _content(part: _Part) -> Json:
    return refusal_part(part.text) if part.kind == "refusal" else text_part(part.text)
