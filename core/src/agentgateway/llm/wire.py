"""Reading JSON that somebody else wrote: small steps that check, and name the field when they refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Fate, Json, Untranslatable, nothing


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


def wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: expected {expected}", param=field)


def text(holder: Json, key: str, at: str) -> str:
    value = holder.get(key)
    if type(value) is not str:
        raise wrong(join(at, key), "a string")
    return value


def optional_text(holder: Json, key: str, at: str) -> str | None:
    value = holder.get(key)
    if value is not None and type(value) is not str:
        raise wrong(join(at, key), "a string")
    return value


def optional_flag(holder: Json, key: str, at: str) -> bool | None:
    value = holder.get(key)
    if value is not None and type(value) is not bool:
        raise wrong(join(at, key), "true or false")
    return value


def optional_number(holder: Json, key: str, at: str) -> float | None:
    value = holder.get(key)
    if value is not None and type(value) is not float and type(value) is not int:
        raise wrong(join(at, key), "a number")
    return value


def optional_count(holder: Json, key: str, at: str) -> int | None:
    """An integer from 0 to a billion."""
    value = holder.get(key)
    if value is not None and (type(value) is not int or not 0 <= value <= 1_000_000_000):
        raise wrong(join(at, key), "a whole number")
    return value


def mapping(value: Any, at: str) -> Json:
    if type(value) is not dict:
        raise wrong(at, "an object")
    return value


def optional_mapping(holder: Json, key: str, at: str) -> Json | None:
    value = holder.get(key)
    return None if value is None else mapping(value, join(at, key))


def objects(value: Any, at: str) -> list[tuple[Json, str]]:
    """The objects of an array, each with its path. None counts as an empty array."""
    if value is None:
        return []
    if type(value) is not list:
        raise wrong(at, "an array")
    return [(mapping(item, f"{at}[{i}]"), f"{at}[{i}]") for i, item in enumerate(value)]


def texts(value: Any, at: str) -> tuple[str, ...]:
    if type(value) is not list or any(type(item) is not str for item in value):
        raise wrong(at, "an array of strings")
    return tuple(value)


def join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def check_fields(fields: Mapping[str, Fate], holder: Json, at: str = "", prefix: str = "") -> None:
    """Refuse what the canonical call cannot hold: fields that are listed so, and those nobody listed.

    A refused field that says nothing (null, false, 0, empty) is let through. Raises `Untranslatable`.
    """
    for key, value in holder.items():
        fate = fields.get(prefix + key)
        if fate != "carried" and fate != "dropped" and (fate is None or value):
            raise Untranslatable(join(at, key))


def amount(fields: Json | None, *keys: str) -> int:
    """The first of those counters that is a whole number above zero, else 0."""
    if fields is not None:
        for key in keys:
            value = fields.get(key)
            if type(value) is int and value > 0:
                return value
    return 0
