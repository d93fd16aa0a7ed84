"""The texts in a document, as segments that guards read and replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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


def objects_in(items: Any) -> Iterator[tuple[int, Json]]:
    """The objects of what ought to be an array, each with its place."""
    if type(items) is list:
        for i, item in enumerate(items):
            if type(item) is dict:
                yield i, item
