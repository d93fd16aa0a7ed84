"""What a single call may ask of the simulator: `[[simulate error=429]]` in the last user message, or
`simulate:error=429` in the model's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from agentgateway.settings import parse_duration

_BLOCK = re.compile(r"\s?\[\[simulate\s+(.*?)\]\]", re.DOTALL)
_WORD = re.compile(r"([a-zA-Z-]+)(?:=([^\s,]+))?[\s,]*")
_MARK = "simulate:"


class UnknownDirective(ValueError):
    """A word of a directive means nothing, or has a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class Directives:
    """None, False and () are "not said"."""

    error: int | None = None
    retry_after: float | None = None
    latency: float | None = None
    pace: float | None = None
    tokens: int | None = None
    disconnect: bool = False
    after: int | None = None
    tool: tuple[str, ...] = ()
    thinking: bool = False
    json: bool = False
    cached: int | None = None
    text: str | None = None

    def over(self, other: Directives) -> Directives:
        """These, and what the other says where these say nothing."""
        said: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        unsaid = (None, False, ())
        return replace(other, **{name: value for name, value in said.items() if not any(value is no for no in unsaid)})


def read(text: str, model: str) -> Directives:
    """The directives of a call; those in its text win over those in its model's name. Raises `UnknownDirective`."""
    found = Directives()
    for block in _blocks(text, model):
        found = _parsed(block).over(found)
    return found


def without(text: str) -> str:
    """The text without its directives."""
    return _BLOCK.sub("", text).strip() if "[[simulate" in text else text


def _blocks(text: str, model: str) -> Iterator[str]:
    if _MARK in model:
        yield model.partition(_MARK)[2]
    if "[[simulate" in text:
        yield from _BLOCK.findall(text)


def _parsed(block: str) -> Directives:
    words, _, literal = block.partition("text=")
    said: dict[str, Any] = {"text": literal} if literal else {}
    at = 0
    while at < len(words.rstrip()):
        found = _WORD.match(words, at)
        if found is None:
            raise UnknownDirective(f"simulate: `{words[at:].split()[0]}` is not a directive")
        at = found.end()
        name, value = _meant(found[1], found[2])
        said[name] = said.get(name, ()) + value if isinstance(value, tuple) else value
    return Directives(**said)


def _meant(word: str, value: str | None) -> tuple[str, Any]:
    if word in ("thinking", "json", "disconnect") and value is None:
        return word, True
    read = _VALUES.get(word)
    if read is None or value is None:
        raise UnknownDirective(f"simulate: `{word}` is not a directive or lacks its value")
    try:
        return word.replace("-", "_"), read(value)
    except ValueError:
        raise UnknownDirective(f"simulate: `{word}` cannot be {value[:40]}") from None


def _status(value: str) -> int:
    if not 400 <= int(value) <= 599:
        raise ValueError
    return int(value)


def _count(value: str) -> int:
    if not 0 <= int(value) <= 1_000_000:
        raise ValueError
    return int(value)


_VALUES: dict[str, Callable[[str], Any]] = {
    "error": _status,
    "retry-after": parse_duration,
    "latency": parse_duration,
    "pace": parse_duration,
    "tokens": _count,
    "after": _count,
    "cached": _count,
    "tool": lambda value: (value,),
}
