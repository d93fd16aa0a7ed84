"""Reading streams in OpenAI's responses format: https://platform.openai.com/docs/api-reference/responses-streaming"""

from __future__ import annotations

from collections.abc import Iterator

from agentgateway.errors import UpstreamError
from agentgateway.llm.calls import Json, StreamDecoder
from agentgateway.llm.chat import (
    Delta,
    Ended,
    ErrorFacts,
    Failed,
    Part,
    PartEnded,
    PartKind,
    PartStarted,
    Refusal,
    SignatureDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolArgumentsDelta,
    ToolUse,
)
from agentgateway.llm.dialects.completions_reply import words
from agentgateway.llm.dialects.completions_stream import DONE, TRUNCATED, UNREADABLE
from agentgateway.llm.dialects.responses_reply import (
    decode_call,
    decode_reply,
    decode_stop,
    facts_of,
    failure,
    read_usage,
)
from agentgateway.llm.dialects.responses_thoughts import from_vendor
from agentgateway.llm.sse import Event

_ENDS = ("response.completed", "response.incomplete")
_KINDS: dict[str, PartKind] = {"output_text": "text", "refusal": "refusal"}
_Place = tuple[object, ...]


def ends(event: Event) -> bool:
    """Some servers write `[DONE]` after the vendor's own end."""
    if event.document is not None:
        return event.document.get("type") in _ENDS
    return event.data is not None and event.data.strip() == DONE


class _Open:
    """A part that is being told; `heard` once anything of it was."""

    __slots__ = ("heard", "index", "kind", "section")

    def __init__(self, index: int, kind: PartKind) -> None:
        self.index = index
        self.kind = kind
        self.heard = False
        self.section: object = None


class Decoder(StreamDecoder):
    """Parts are told apart by the place of their item in the output and their own place in it. What the vendor repeats
    when a part is done counts only where no piece of it came. Items of tools that ran at the vendor are left out."""

    def __init__(self) -> None:
        self._started = self._over = self._called = self._refused = False
        self._next = 0
        self._open: dict[_Place, _Open] = {}

    def feed(self, event: Event) -> list[Delta]:
        if self._over or event.data is None:
            return []
        document = event.document
        if document is None:
            return self.end() if event.data.strip() == DONE else self._fail(UNREADABLE)
        try:
            return list(self._event(document))
        except UpstreamError as error:
            return self._fail(ErrorFacts(error.status, error.message, code=error.code))

    def end(self) -> list[Delta]:
        return [] if self._over else self._fail(TRUNCATED)

    def _fail(self, facts: ErrorFacts) -> list[Delta]:
        self._over = True
        return [Failed(facts)]

    def _event(self, document: Json) -> Iterator[Delta]:
        item, part = _object(document.get("item")), _object(document.get("part"))
        match document.get("type"):
            case "response.created" | "response.in_progress" | "response.queued":
                yield from self._start(_object(document.get("response")))
            case "response.output_item.added":
                if item.get("type") == "function_call":
                    yield from self._call(document, item)
            case "response.output_item.done":
                yield from self._item_done(document, item)
            case "response.content_part.added":
                if (kind := _KINDS.get(words(part.get("type")))) is not None:
                    yield from self._part(_place(document), kind)
            case "response.content_part.done":
                yield from self._close(_place(document))
            case "response.output_text.delta":
                yield from self._text(document, "text", words(document.get("delta")))
            case "response.output_text.done":
                yield from self._text(document, "text", words(document.get("text")), whole=True)
            case "response.refusal.delta":
                yield from self._text(document, "refusal", words(document.get("delta")))
            case "response.refusal.done":
                yield from self._text(document, "refusal", words(document.get("refusal")), whole=True)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from self._thought(document, words(document.get("delta")))
            case "response.function_call_arguments.delta":
                yield from self._arguments(document, words(document.get("delta")))
            case "response.function_call_arguments.done":
                yield from self._arguments(document, words(document.get("arguments")), whole=True)
            case "response.completed" | "response.incomplete":
                yield from self._finish(_object(document.get("response")))
            case "response.failed":
                yield from self._fail(failure(_object(document.get("response"))))
            case "error":
                yield from self._fail(facts_of(document.get("error") or document))

    def _start(self, response: Json) -> Iterator[Delta]:
        if not self._started:
            self._started = True
            created = response.get("created_at")
            made = int(created) if isinstance(created, int | float) else None
            yield Started(words(response.get("id")), words(response.get("model")), created=made)

    def _part(self, place: _Place, kind: PartKind, identity: str = "", name: str = "") -> Iterator[Delta]:
        """Make sure that the part at that place is open. Raises `UpstreamError` when it is of another kind."""
        if place in self._open:
            if self._open[place].kind != kind:
                raise UpstreamError(UNREADABLE.message)
        else:
            self._open[place] = _Open(self._next, kind)
            self._next += 1
            yield PartStarted(self._next - 1, kind, id=identity, name=name)

    def _close(self, place: _Place) -> Iterator[Delta]:
        part = self._open.pop(place, None)
        if part is not None:
            yield PartEnded(part.index)

    def _text(self, document: Json, kind: PartKind, text: str, *, whole: bool = False) -> Iterator[Delta]:
        place = _place(document)
        if whole and place in self._open and self._open[place].heard:
            return
        yield from self._part(place, kind)
        part = self._open[place]
        self._refused = self._refused or kind == "refusal"
        if text:
            part.heard = True
            yield TextDelta(part.index, text)

    def _thought(self, document: Json, text: str) -> Iterator[Delta]:
        """Pieces of a thought, or of its summaries, which an empty line keeps apart."""
        place = _item_place(document)
        yield from self._part(place, "thinking")
        part = self._open[place]
        section = (document.get("type"), document.get("summary_index"), document.get("content_index"))
        if part.heard and section != part.section:
            text = f"\n\n{text}"
        part.section = section
        if text:
            part.heard = True
            yield ThinkingDelta(part.index, text)

    def _call(self, document: Json, item: Json) -> Iterator[Delta]:
        self._called = True
        call = decode_call(item)
        yield from self._part(_item_place(document), "tool_use", call.id, call.name)

    def _arguments(self, document: Json, text: str, *, whole: bool = False) -> Iterator[Delta]:
        part = self._open.get(_item_place(document))
        if part is None or part.kind != "tool_use" or (whole and part.heard):
            return
        if text:
            part.heard = True
            yield ToolArgumentsDelta(part.index, text)

    def _item_done(self, document: Json, item: Json) -> Iterator[Delta]:
        place = _item_place(document)
        match item.get("type"):
            case "function_call":
                yield from self._call(document, item)
                yield from self._arguments(document, words(item.get("arguments")), whole=True)
                yield from self._close(place)
            case "reasoning":
                thought = from_vendor("", words(item.get("id")), words(item.get("encrypted_content")))
                yield from self._seal(place, thought)
            case "message":
                for own in [own for own in self._open if own[:1] == place]:
                    yield from self._close(own)

    def _seal(self, place: _Place, thought: Thinking) -> Iterator[Delta]:
        if thought.signature is not None:
            yield from self._part(place, "thinking")
            yield SignatureDelta(self._open[place].index, thought.signature)
        yield from self._close(place)
        if thought.redacted is not None:
            yield PartStarted(self._next, "redacted_thinking", data=thought.redacted)
            yield PartEnded(self._next)
            self._next += 1

    def _finish(self, response: Json) -> Iterator[Delta]:
        """Some servers tell everything here and nothing before."""
        yield from self._start(response)
        if not self._next and response.get("output"):
            for part in decode_reply(response).parts:
                yield from self._whole(part)
        for place in list(self._open):
            yield from self._close(place)
        self._over = True
        usage = response.get("usage")
        reason = decode_stop(response, called=self._called, refused=self._refused)
        yield Ended(reason, None, read_usage(usage) if isinstance(usage, dict) else None)

    def _whole(self, part: Part) -> Iterator[Delta]:
        place: _Place = ("whole", self._next)
        match part:
            case Text() | Refusal():
                kind: PartKind = "text" if isinstance(part, Text) else "refusal"
                self._refused = self._refused or kind == "refusal"
                yield from self._part(place, kind)
                yield TextDelta(self._open[place].index, part.text)
            case ToolUse():
                self._called = True
                yield from self._part(place, "tool_use", part.id, part.name)
                yield ToolArgumentsDelta(self._open[place].index, part.arguments)
            case Thinking():
                yield from self._part(place, "thinking")
                yield ThinkingDelta(self._open[place].index, part.text)
                yield from self._seal(place, part)
        yield from self._close(place)


def _place(document: Json) -> _Place:
    return _index(document, "output_index"), _index(document, "content_index")


def _item_place(document: Json) -> _Place:
    return (_index(document, "output_index"),)


def _index(document: Json, key: str) -> int:
    """Where something stands; -1, which no vendor uses, when the event does not say."""
    index = document.get(key)
    return index if isinstance(index, int) else -1


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
