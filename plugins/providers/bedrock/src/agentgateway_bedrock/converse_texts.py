"""The texts in documents of Bedrock's Converse, as segments that guards read and replace.

Blocks are unions that grow with the vendor's models, so every text in one is shown but those that are known to be
none: a block nobody has heard of is read, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Json
from agentgateway.llm.documents import dump
from agentgateway.llm.texts import Told, every_text, objects_in

_NO_TEXT: frozenset[str | int] = frozenset(
    (
        *("bytes", "s3Location", "signature", "redactedContent", "cachePoint"),
        *("toolUseId", "role", "format", "status", "type", "qualifiers"),
    )
)
Edited = Callable[[], object]


def message_segments(message: Any, at: str, edited: Edited) -> Iterator[Segment]:
    role = message.get("role")
    for i, block in objects_in(message.get("content")):
        yield from block_segments(block, f"{at}.content[{i}]", role if isinstance(role, str) else "user", edited)


def block_segments(block: Json, at: str, role: str, edited: Edited) -> Iterator[Segment]:
    """The texts of a block of any type; what tools are told is one text, their JSON."""
    for kind, value in block.items():
        if kind == "toolUse" and isinstance(value, dict):
            told = dump(value.get("input")).decode()
            yield Segment("assistant", "toolInput", f"{at}.toolUse.input", told, Told(value, "input", edited))
        elif kind == "toolResult" and isinstance(value, dict):
            yield from _result_segments(value, f"{at}.toolResult", edited)
        else:
            scope = "systemPrompt" if role == "system" else "messages"
            yield from all_texts(block, kind, f"{at}.{kind}", role, scope, edited)


def _result_segments(result: Json, at: str, edited: Edited) -> Iterator[Segment]:
    for i, block in objects_in(result.get("content")):
        for kind in block:
            place = f"{at}.content[{i}].{kind}"
            if kind == "json":
                text = dump(block["json"]).decode()
                yield Segment("tool", "toolOutput", place, text, _Answer(block, edited))
            else:
                yield from all_texts(block, kind, place, "tool", "toolOutput", edited)


def all_texts(container: Any, key: str | int, at: str, role: str, scope: str, edited: Edited) -> Iterator[Segment]:
    """The text there, or every text inside what is there."""
    return every_text(container, key, at, role, scope, edited, _NO_TEXT)


class _Answer:
    """Puts a text back where a tool's JSON stood: as JSON if it still is, else as a text."""

    __slots__ = ("_block", "_edited")

    def __init__(self, block: Json, edited: Edited) -> None:
        self._block = block
        self._edited = edited

    def __call__(self, text: str) -> None:
        try:
            self._block["json"] = from_json(text)
        except ValueError:
            del self._block["json"]
            self._block["text"] = text
        self._edited()
