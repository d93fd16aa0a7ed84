"""The texts of OpenAI's responses, as segments that guards read and replace.

A stream says everything more than once: in pieces, then whole when a part, an item and the response are done. Every
telling is a text of its own to guards, so that what they mask is masked in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Json
from agentgateway.llm.sse import Event
from agentgateway.llm.texts import Slot, Texts, objects_in

_ROLES = {"developer": "system"}
_SCOPES = {"system": "systemPrompt", "developer": "systemPrompt"}
_SAID = frozenset(("text", "content", "refusal", "summary", "transcript", "title", "revised_prompt", "annotations"))
_TOLD = frozenset(
    ("arguments", "input", "code", "query", "queries", "command", "commands", "diff", "action", "operation")
)
_ANSWERED = frozenset(("output", "outputs", "results", "logs", "stdout", "stderr"))
_DELTAS_TOLD = ("arguments", "input", "code", "command")
_WHOLE = ("text", "refusal", "arguments", "input", "code", "command", "transcript")

_SOUND = "response.audio.delta"

Edited = Callable[[], object]


def call_segments(document: Json, edited: Edited) -> Iterator[Segment]:
    yield from Texts("system", "systemPrompt", edited).one(document, "instructions", "instructions")
    yield from Texts("user", "messages", edited).one(document, "input", "input")
    for i, item in objects_in(document.get("input")):
        yield from _item(item, f"input[{i}]", edited, "user")
    if isinstance(prompt := document.get("prompt"), dict) and isinstance(values := prompt.get("variables"), dict):
        texts = Texts("user", "messages", edited)
        for name in values:
            yield from texts.all(values, name, f"prompt.variables.{name}")


def reply_segments(document: Json, edited: Edited, at: str = "") -> Iterator[Segment]:
    for i, item in objects_in(document.get("output")):
        yield from _item(item, f"{at}output[{i}]", edited, "assistant")


def _item(item: Json, at: str, edited: Edited, speaker: str) -> Iterator[Segment]:
    """The texts of an item of any type: what is said, what tools are told, and what they answered."""
    said = item.get("role")
    role = said if isinstance(said, str) else "assistant" if item.get("type") not in (None, "message") else speaker
    scope = _SCOPES.get(role, "messages")
    yield from _walk(item, at, _ROLES.get(role, role), scope, edited)


def _walk(holder: Json, at: str, role: str, scope: str, edited: Edited) -> Iterator[Segment]:
    for key in holder:
        if key in _TOLD:
            yield from _every(holder, key, f"{at}.{key}", "assistant", "toolInput", edited)
        elif key in _ANSWERED:
            yield from _every(holder, key, f"{at}.{key}", "tool", "toolOutput", edited)
        elif key in _SAID:
            yield from _parts(holder, key, f"{at}.{key}", role, scope, edited)


def _parts(container: Any, key: Any, at: str, role: str, scope: str, edited: Edited) -> Iterator[Segment]:
    """The texts of what was said: a string, or parts that hold some. One that is replaced takes along what spells it
    out again."""
    value = container[key]
    if type(value) is str:
        yield Segment(role, scope, at, value, Slot(container, key, _Replaced(container, edited)))
    elif type(value) is list:
        for i, _ in enumerate(value):
            yield from _parts(value, i, f"{at}[{i}]", role, scope, edited)
    elif type(value) is dict:
        yield from _walk(value, at, role, scope, edited)


def _every(container: Any, key: Any, at: str, role: str, scope: str, edited: Edited) -> Iterator[Segment]:
    """Every text inside what a tool was told or answered, but for pictures and the words of the format."""
    value = container[key]
    if type(value) is str:
        yield Segment(role, scope, at, value, Slot(container, key, edited))
    elif type(value) is list:
        for i, _ in enumerate(value):
            yield from _every(value, i, f"{at}[{i}]", role, scope, edited)
    elif type(value) is dict:
        for name in value:
            if name not in ("type", "image_url", "file_data", "file_id", "id", "status", "detail"):
                yield from _every(value, name, f"{at}.{name}", role, scope, edited)


class _Replaced:
    """A text was replaced: its log probabilities, which spell out the old one, go too."""

    __slots__ = ("_edited", "_holder")

    def __init__(self, holder: Any, edited: Edited) -> None:
        self._holder = holder
        self._edited = edited

    def __call__(self) -> None:
        if isinstance(self._holder, dict) and self._holder.get("logprobs"):
            self._holder["logprobs"] = []
        self._edited()


def event_segments(event: Event) -> Iterator[Segment]:
    """Channels: `output[0].content[0].output_text`, `output[1].function_call_arguments`, … for pieces; what is told
    whole begins with its event's type."""
    document = event.document or {}
    kind = document.get("type")
    if not isinstance(kind, str):
        return
    edited = event.mark_changed
    channel = f"{_where(document)}.{kind.removeprefix('response.').removesuffix('.delta')}"
    if type(delta := document.get("delta")) is str and kind != _SOUND:
        yield from _own(document, "delta", channel, kind, edited)
    elif type(delta) is dict:
        yield from _every(document, "delta", channel, "tool", "toolOutput", edited)
    for key in _WHOLE:
        if type(document.get(key)) is str:
            yield from _own(document, key, f"{kind}:{_where(document)}", kind, edited)
    at = f"{kind}:{_where(document)}"
    if isinstance(part := document.get("part"), dict):
        yield from _walk(part, at, "assistant", "messages", edited)
    if isinstance(annotation := document.get("annotation"), dict):
        yield from _walk(annotation, at, "assistant", "messages", edited)
    if isinstance(item := document.get("item"), dict):
        yield from _item(item, at, edited, "assistant")
    if isinstance(response := document.get("response"), dict):
        yield from reply_segments(response, edited, f"{kind}:")


def _own(document: Json, key: str, path: str, kind: str, edited: Edited) -> Iterator[Segment]:
    scope = "toolInput" if any(word in kind for word in _DELTAS_TOLD) else "messages"
    yield Segment("assistant", scope, path, document[key], Slot(document, key, _Replaced(document, edited)))


def _where(document: Json) -> str:
    """The place in the output that an event is about."""
    place = f"output[{document.get('output_index')}]"
    for key in ("content", "summary"):
        if (index := document.get(f"{key}_index")) is not None:
            place += f".{key}[{index}]"
    return place
