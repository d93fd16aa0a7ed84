"""What operations answer, as the output schemas of their tools.

Clients check each result against the schema of its tool, and raise where it does not fit. So a schema is told only
where all answers of success have the same one, and only what every client checks alike is left in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pydantic_core import to_json

from agentgateway_mcp_openapi.document import Document, DocumentError
from agentgateway_mcp_openapi.results import is_json
from agentgateway_mcp_openapi.schemas import Schema, Schemas, everywhere, referred

LARGEST = 32 * 1024
"""Bytes of a tool's output schema: lists are for models, and answers have many parts."""
PARTS = 64
"""Parts of `allOf` and the like in which an object is looked for."""
LEFT_OUT = ("pattern", "format", "examples", "default")
"""Keywords that clients check each in a way of its own, or that say nothing to them."""


class Definition(NamedTuple):
    """Its size in JSON, what it refers to, and whether it can be told at all."""

    size: int
    refers: tuple[str, ...]
    sound: bool


class Answers:
    """The output schemas of one document: `translate` each, `settle` them, then `whole` is what a tool has."""

    def __init__(self, document: Document, check: Callable[[Schema], None]) -> None:
        """`check` raises `DocumentError` for what is no schema."""
        self._document = document
        self._schemas = Schemas(document, answers=True)
        self._check = check
        self._known: dict[str, Definition] = {}

    def translate(self, operation: dict[str, Any], where: str) -> Schema | None:
        """The schema of an operation's structured results; None where there is none that holds for each of them. What
        is wrong with the description of an answer takes nothing from the tool but its schema."""
        try:
            given = self._given(operation, where)
            shape = self._shape(given, where, iter(range(PARTS)))
            return wrapped(self._schemas.translate(given, where), shape) if shape else None
        except DocumentError:
            return None

    def settle(self) -> None:
        self._schemas.settle()

    def whole(self, schema: Schema) -> Schema | None:
        """With the definitions that it needs; None for one that is too large, or no schema."""
        own = self._looked_at(schema)
        left, waiting, sound = LARGEST - own.size, [*own.refers], own.sound
        needed: dict[str, Schema] = {}
        while waiting and sound and left >= 0:
            name = waiting.pop()
            if name not in needed:
                needed[name] = self._schemas.all()[name]
                known = self._known.get(name)
                if known is None:
                    known = self._known[name] = self._looked_at(needed[name])
                left, sound = left - known.size, known.sound
                waiting.extend(known.refers)
        if not sound or left < 0:
            return None
        return {**schema, **({"$defs": dict(sorted(needed.items()))} if needed else {})}

    def _given(self, operation: dict[str, Any], where: str) -> Any:
        """The schema of every answer of success; None where they differ, or one is no JSON."""
        responses = operation.get("responses")
        responses = responses if isinstance(responses, dict) else {}
        good = {status: one for status, one in responses.items() if status[:1] == "2"}
        found: list[Any] = []
        for status, one in good.items():
            content = self._document.resolved(one, f"{where}.{status}").get("content")
            if not isinstance(content, dict) or not content or not all(is_json(bare(media)) for media in content):
                return None
            found.extend(
                self._document.resolved(media, f"{where}.{status}").get("schema") for media in content.values()
            )
        return found[0] if found and all(one == found[0] for one in found) else None

    def _shape(self, schema: Any, where: str, parts: Iterator[int]) -> str | None:
        """`object` or `array`, where a schema lets nothing else pass."""
        if next(parts, None) is None or not isinstance(schema, dict):
            return None
        found = self._document.resolved(schema, where)
        kind = found.get("type")
        if found.get("nullable") is True:
            return None
        if kind is not None:
            (kind,) = kind if isinstance(kind, list) and len(kind) == 1 else (kind,)
            return kind if kind in ("object", "array") else None
        for key in ("allOf", "anyOf", "oneOf"):
            if isinstance(found.get(key), list) and found[key]:
                shapes = {self._shape(one, where, parts) for one in found[key]}
                shapes -= {None} if key == "allOf" else set()
                return shapes.pop() if len(shapes) == 1 else None
        return None

    def _looked_at(self, schema: Schema) -> Definition:
        sound = not any("patternProperties" in one for one in everywhere(schema))
        for one in everywhere(schema):
            for keyword in LEFT_OUT:
                one.pop(keyword, None)
        try:
            self._check(schema)
        except DocumentError:
            sound = False
        return Definition(len(to_json(schema)), tuple(referred(schema)), sound)


def bare(media: str) -> str:
    return media.partition(";")[0].strip().lower()


def wrapped(schema: Schema, shape: str) -> Schema:
    """The schema of `structuredContent`, which is an object: a list is its member `data`."""
    if shape == "object":
        return {**schema, "type": "object"}
    return {"type": "object", "properties": {"data": schema}, "required": ["data"]}
