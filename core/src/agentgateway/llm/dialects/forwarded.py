"""Calls of OpenAI's API that go to a server of the same kind and nowhere else: read for routing, guards and usage, and
passed on as they are. Pages: https://platform.openai.com/docs/api-reference/{completions,images,audio,moderations}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Head, Json, Untranslatable, nothing
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import completions_errors
from agentgateway.llm.dialects.completions_stream import DONE, Encoder
from agentgateway.llm.sse import Event
from agentgateway.llm.texts import Texts, objects_in
from agentgateway.llm.wire import amount, check_head

_MODEL = frozenset(("model", "stream"))


class Forwarded(Dialect):
    """`texts` are keys of a call that hold what somebody wrote, `answers` those of a reply's `data` and `choices`."""

    texts: ClassVar[tuple[str, ...]] = ()
    answers: ClassVar[tuple[str, ...]] = ()

    def read(self, document: Json, path: str) -> Head:
        return check_head(document, _MODEL, ())

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> Any:
        raise Untranslatable(self.operation, f"a call of `{self.operation}`")

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """There is no conversation to put messages around."""

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        texts = Texts("user", "messages", edited)
        return [segment for key in self.texts if key in document for segment in texts.all(document, key, key)]

    def unreadable(self, document: Json) -> str:
        return next((key for key in self.texts if has_tokens(document.get(key))), "")

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(self._answered(document, edited))

    def _answered(self, document: Json, edited: Callable[[], object]) -> Iterator[Segment]:
        texts = Texts("assistant", "messages", edited)
        for holder in ("choices", "data"):
            for i, one in objects_in(document.get(holder)):
                for key in self.answers:
                    yield from texts.one(one, key, f"{holder}[{one.get('index', i)}].{key}")

    def event_segments(self, event: Event) -> list[Segment]:
        return list(self._answered(event.document or {}, event.mark_changed))

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        """Errors in their streams are those of chat."""
        return Encoder(include_usage=include_usage)

    def read_usage(self, fields: Json) -> Usage:
        """OpenAI writes `prompt_tokens` and `completion_tokens` in the older of these, `input_tokens` and
        `output_tokens` in the newer."""
        read = amount(fields, "input_tokens") or amount(fields, "prompt_tokens")
        return Usage(read, amount(fields, "output_tokens") or amount(fields, "completion_tokens"))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return completions_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return completions_errors.encode_error(facts)


def has_tokens(value: Any) -> bool:
    """Whether a prompt is written in tokens, or in lists of them."""
    return type(value) is list and any(type(one) is int or has_tokens(one) for one in value)


class TextCompletions(Forwarded):
    """The older completions, which are streamed like chat."""

    name = "text_completions"
    operation: ClassVar[str] = "text_completions"
    paths: ClassVar[tuple[str, ...]] = ("/v1/completions",)
    texts: ClassVar[tuple[str, ...]] = ("prompt", "suffix")
    answers: ClassVar[tuple[str, ...]] = ("text",)
    end_marker: ClassVar[bytes] = b"[DONE]"
    text_keys: ClassVar[tuple[bytes, ...]] = (b"text",)

    def ends(self, event: Event) -> bool:
        return event.data is not None and event.data.strip() == DONE

    def concludes(self, event: Event) -> bool:
        choices = (event.document or {}).get("choices")
        return any(choice.get("finish_reason") is not None for _, choice in objects_in(choices))


class Moderations(Forwarded):
    name = "moderations"
    operation: ClassVar[str] = "moderations"
    paths: ClassVar[tuple[str, ...]] = ("/v1/moderations",)
    texts: ClassVar[tuple[str, ...]] = ("input",)


class Images(Forwarded):
    """Pictures from texts. Streams of partial pictures pass as they come."""

    name = "images"
    operation: ClassVar[str] = "images"
    paths: ClassVar[tuple[str, ...]] = ("/v1/images/generations",)
    texts: ClassVar[tuple[str, ...]] = ("prompt",)
    answers: ClassVar[tuple[str, ...]] = ("revised_prompt",)
    end_marker: ClassVar[bytes] = b"image_generation.completed"

    def ends(self, event: Event) -> bool:
        return (event.document or {}).get("type") == "image_generation.completed"


class ImageEdits(Images):
    """Pictures from pictures and texts: a form, or a document that names the pictures."""

    name = "image_edits"
    operation: ClassVar[str] = "image_edits"
    paths: ClassVar[tuple[str, ...]] = ("/v1/images/edits",)
    end_marker: ClassVar[bytes] = b"image_edit.completed"
    forms: ClassVar[bool] = True
    form_texts: ClassVar[tuple[str, ...]] = ("prompt",)

    def ends(self, event: Event) -> bool:
        return (event.document or {}).get("type") == "image_edit.completed"


class ImageVariations(Images):
    name = "image_variations"
    operation: ClassVar[str] = "image_variations"
    paths: ClassVar[tuple[str, ...]] = ("/v1/images/variations",)
    forms: ClassVar[bool] = True
    form_texts: ClassVar[tuple[str, ...]] = ("prompt",)


class Transcriptions(Forwarded):
    """Texts from sound. Replies are documents, streams of events, or plain text as the client likes."""

    name = "transcriptions"
    operation: ClassVar[str] = "transcriptions"
    paths: ClassVar[tuple[str, ...]] = ("/v1/audio/transcriptions",)
    texts: ClassVar[tuple[str, ...]] = ("prompt", "keywords")
    forms: ClassVar[bool] = True
    form_texts: ClassVar[tuple[str, ...]] = ("prompt", "keywords")
    plain_replies: ClassVar[bool] = True
    end_marker: ClassVar[bytes] = b"transcript.text.done"
    text_keys: ClassVar[tuple[bytes, ...]] = (b"delta",)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        """The text, and where it stands again by sentence and by word."""
        texts = Texts("assistant", "messages", edited)
        found = list(texts.one(document, "text", "text"))
        for holder, key in (("segments", "text"), ("words", "word")):
            for i, one in objects_in(document.get(holder)):
                found.extend(texts.one(one, key, f"{holder}[{i}].{key}"))
        return found

    def event_segments(self, event: Event) -> list[Segment]:
        """Pieces of the text, and the whole of it in other events."""
        texts = Texts("assistant", "messages", event.mark_changed)
        document = event.document or {}
        whole = f"{document.get('type')}.text"
        return [*texts.one(document, "delta", "text"), *texts.one(document, "text", whole)]

    def ends(self, event: Event) -> bool:
        return (event.document or {}).get("type") == "transcript.text.done"


class Translations(Transcriptions):
    name = "translations"
    operation: ClassVar[str] = "translations"
    paths: ClassVar[tuple[str, ...]] = ("/v1/audio/translations",)


class Speech(Forwarded):
    """Sound from texts: the reply is no document, and passes as it comes."""

    name = "speech"
    operation: ClassVar[str] = "speech"
    paths: ClassVar[tuple[str, ...]] = ("/v1/audio/speech",)
    texts: ClassVar[tuple[str, ...]] = ("input", "instructions")
    replies: ClassVar[bool] = False
