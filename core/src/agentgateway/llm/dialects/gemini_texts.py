"""The texts in documents of Google's generateContent, as segments that guards read and replace.

Parts are unions that grow with the vendor's models, so every text in one is shown but those that are known to be none:
a part nobody has heard of is read, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from zlib import crc32

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Json
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event
from agentgateway.llm.texts import Told, every_text, objects_in

Edited = Callable[[], object]
_SILENT = frozenset(("thought", "thoughtSignature", "mediaResolution", "mediaProcessing", "videoMetadata"))
_FILES = frozenset(("inlineData", "fileData"))
_TOLD = ("finishMessage", "groundingMetadata", "citationMetadata", "urlContextMetadata")
_REPEATED = ("logprobsResult", "groundingMetadata")
"""Where a candidate's text stands once more, in pieces."""


def call_segments(document: Json, edited: Edited) -> Iterator[Segment]:
    system = document.get("systemInstruction")
    if isinstance(system, dict):
        yield from content_segments(system, "systemInstruction", "system", edited)
    for i, content in objects_in(document.get("contents")):
        role = "assistant" if content.get("role") == "model" else "user"
        yield from content_segments(content, f"contents[{i}]", role, edited)


def reply_segments(document: Json, edited: Edited) -> Iterator[Segment]:
    for i, candidate in objects_in(document.get("candidates")):
        at = f"candidates[{i}]"
        replaced = _Replaced(candidate, edited)
        if isinstance(content := candidate.get("content"), dict):
            yield from content_segments(content, f"{at}.content", "assistant", replaced)
        yield from _told(candidate, at, edited)
    yield from _feedback(document, edited)


def event_segments(event: Event) -> Iterator[Segment]:
    """Channels: `candidates[0].content.text` and `.thought`; what is whole in its event has a channel of its own."""
    document = event.document or {}
    for i, candidate in objects_in(document.get("candidates")):
        at = f"candidates[{candidate.get('index', i)}]"
        replaced = _Replaced(candidate, event.mark_changed)
        content = candidate.get("content")
        for j, part in objects_in(content.get("parts") if isinstance(content, dict) else None):
            yield from _pieces(part, f"{at}.content", f"{crc32(event.data or b''):x}.{j}", replaced)
        yield from _told(candidate, at, event.mark_changed)
    yield from _feedback(document, event.mark_changed)


def _pieces(part: Json, at: str, place: str, edited: Edited) -> Iterator[Segment]:
    here = f"{at}.parts[{place}]"
    for segment in part_segments(part, here, "assistant", edited):
        if segment.path == f"{here}.text":
            segment.path = f"{at}.thought" if part.get("thought") is True else f"{at}.text"
        if segment.text:
            yield segment


def _told(candidate: Json, at: str, edited: Edited) -> Iterator[Segment]:
    for key in _TOLD:
        if candidate.get(key):
            yield from every_text(candidate, key, f"{at}.{key}", "assistant", "messages", edited)


def _feedback(document: Json, edited: Edited) -> Iterator[Segment]:
    if isinstance(feedback := document.get("promptFeedback"), dict) and "blockReasonMessage" in feedback:
        at = "promptFeedback.blockReasonMessage"
        yield from every_text(feedback, "blockReasonMessage", at, "assistant", "messages", edited)


def content_segments(content: Json, at: str, role: str, edited: Edited) -> Iterator[Segment]:
    for i, part in objects_in(content.get("parts")):
        yield from part_segments(part, f"{at}.parts[{i}]", role, edited)


def part_segments(part: Json, at: str, role: str, edited: Edited) -> Iterator[Segment]:
    """The texts of a part of any kind; what tools are told is one text, their JSON."""
    scope = "systemPrompt" if role == "system" else "messages"
    for key, value in part.items():
        place = f"{at}.{key}"
        if key in _SILENT:
            continue
        if key in _FILES and isinstance(value, dict):
            if "displayName" in value:
                yield from every_text(value, "displayName", f"{place}.displayName", role, scope, edited)
        elif key == "functionCall" and isinstance(value, dict):
            yield from _call_segments(value, place, edited)
        elif key == "functionResponse" and isinstance(value, dict):
            yield from _answer_segments(value, place, edited)
        else:
            yield from every_text(part, key, place, role, scope, edited)


def _call_segments(call: Json, at: str, edited: Edited) -> Iterator[Segment]:
    if call.get("args") is not None:
        told = dump(call["args"]).decode()
        yield Segment("assistant", "toolInput", f"{at}.args", told, Told(call, "args", edited))
    if "partialArgs" in call:
        yield from every_text(call, "partialArgs", f"{at}.partialArgs", "assistant", "toolInput", edited)


def _answer_segments(answer: Json, at: str, edited: Edited) -> Iterator[Segment]:
    if "response" in answer:
        yield from every_text(answer, "response", f"{at}.response", "tool", "toolOutput", edited)
    for i, part in objects_in(answer.get("parts")):
        for segment in part_segments(part, f"{at}.parts[{i}]", "tool", edited):
            segment.scope = "toolOutput"
            yield segment


class _Replaced:
    """A text of a candidate was replaced: what repeats the old one in pieces goes too."""

    __slots__ = ("_candidate", "_edited")

    def __init__(self, candidate: Json, edited: Edited) -> None:
        self._candidate = candidate
        self._edited = edited

    def __call__(self) -> None:
        for key in _REPEATED:
            self._candidate.pop(key, None)
        self._edited()
