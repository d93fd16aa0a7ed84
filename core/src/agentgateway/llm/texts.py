"""The texts in a document, as segments that guards read and replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Json, nothing

_TEXTUAL = frozenset(
    (
        "text",
        "content",
        "refusal",
        "thinking",
        "reasoning",
        "transcript",
        "summary",
        "title",
        "context",
        "stdout",
        "stderr",
    )
)


class Slot:
    """A place in a document that holds a text; calling it with another one edits the document."""

    __slots__ = ("_container", "_edited", "_key")

    def __init__(self, container: Any, key: str | int, edited: Callable[[], object] = nothing) -> None:
        self._container = container
        self._key = key
        self._edited = edited

    def __call__(self, text: str) -> None:
        self._container[self._key] = text
        self._edited()


class Told:
    """A place that holds what a tool is told, an object; calling it with its JSON, or with what a guard made of that,
    puts an object there again."""

    __slots__ = ("_container", "_edited", "_key")

    def __init__(self, container: Json, key: str, edited: Callable[[], object]) -> None:
        self._container = container
        self._key = key
        self._edited = edited

    def __call__(self, text: str) -> None:
        self._container[self._key] = arguments(text)
        self._edited()


def arguments(words: str) -> Json:
    """Arguments as an object. What a model wrote that is none is wrapped as Anthropic advises
    (https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming)."""
    try:
        parsed = from_json(words or "{}", allow_inf_nan=False)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"INVALID_JSON": words}


class Texts:
    """Finds the texts of one speaker; `edited` is called when one is replaced."""

    __slots__ = ("_edited", "_role", "_scope")

    def __init__(self, role: str, scope: str, edited: Callable[[], object] = nothing) -> None:
        self._role = role
        self._scope = scope
        self._edited = edited

    def one(self, holder: Json, key: str, path: str) -> Iterator[Segment]:
        """The text under a key, when there is one."""
        if type(text := holder.get(key)) is str:
            yield Segment(self._role, self._scope, path, text, Slot(holder, key, self._edited))

    def all(self, container: Any, key: str | int, path: str) -> Iterator[Segment]:
        """The text there, or every text inside what is there, in objects of whatever type."""
        value = container[key]
        if type(value) is str:
            yield Segment(self._role, self._scope, path, value, Slot(container, key, self._edited))
        elif type(value) is list:
            for i in range(len(value)):
                yield from self.all(value, i, f"{path}[{i}]")
        elif type(value) is dict:
            for name in value:
                if name in _TEXTUAL:
                    yield from self.all(value, name, f"{path}.{name}")


def every_text(
    container: Any,
    key: str | int,
    at: str,
    role: str,
    scope: str,
    edited: Callable[[], object],
    silent: frozenset[str | int] = frozenset(),
) -> Iterator[Segment]:
    """The text there, or every text inside what is there, in objects with any keys but those that are `silent`."""
    if key in silent:
        return
    value = container[key]
    if isinstance(value, str):
        yield Segment(role, scope, at, value, Slot(container, key, edited))
    elif isinstance(value, dict):
        for name in value:
            yield from every_text(value, name, f"{at}.{name}", role, scope, edited, silent)
    elif isinstance(value, list):
        for i in range(len(value)):
            yield from every_text(value, i, f"{at}[{i}]", role, scope, edited, silent)


def objects_in(items: Any) -> Iterator[tuple[int, Json]]:
    """The objects of what ought to be an array, each with its place."""
    if type(items) is list:
        for i, item in enumerate(items):
            if type(item) is dict:
                yield i, item
