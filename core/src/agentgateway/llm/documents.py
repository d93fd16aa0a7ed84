"""JSON in and out of model traffic: parsed once, and never so that two parsers could read two different things.

A body with the same key twice in one object is refused: a gateway that checks the last `model` in front of a vendor
that obeys the first checks nothing (RFC 8259 section 4 leaves the choice to each parser).
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import InvalidRequest

_BLANKS = b" \t\n\r"
_MAY_END_A_KEY = frozenset((b'"', b" ", b"\t", b"\n", b"\r"))


def parse(raw: bytes) -> dict[str, Any]:
    """The object in a request's body.

    Raises `InvalidRequest` for malformed JSON, bytes that are not UTF-8, nesting deeper than 200, numbers beyond a
    double's range, anything but an object, and duplicate keys.
    """
    try:
        document, duplicate = parse_lenient(raw)
    except ValueError as error:
        raise InvalidRequest(f"the body is not a JSON object: {error}") from None
    if duplicate is not None:
        raise InvalidRequest(f"the body has the key {duplicate[:64]!r} twice in one object")
    return document


def parse_lenient(raw: bytes) -> tuple[dict[str, Any], str | None]:
    """The object, and a key that occurs twice in one object if any does (the last one counts). Raises `ValueError`."""
    document = read_object(raw)
    return document, duplicate_in(document, raw)


def read_object(raw: bytes) -> dict[str, Any]:
    """The object, whatever its keys. Raises `ValueError`."""
    document = from_json(raw, allow_inf_nan=False)
    if type(document) is not dict:
        raise ValueError("expected an object")
    return document


def duplicate_in(document: dict[str, Any], raw: bytes) -> str | None:
    """A key that occurs twice in one object of `raw`, which is what `document` was read from. Raises `ValueError` for a
    number that became an infinity."""
    keys = _count_keys(document)
    if keys == raw.count(b":"):
        return None
    endings = [piece for piece in raw.split(b":") if piece[-1:] in _MAY_END_A_KEY]
    if keys == len(endings) or keys == sum(map(_ends_a_key, endings)):
        return None
    return find_duplicate(raw)


def _ends_a_key(piece: bytes) -> bool:
    """Whether an unescaped quote stands in front of a colon: it does behind every key, and in a string that begins with
    a colon. So this says yes too often or rightly, never too seldom."""
    piece = piece.rstrip(_BLANKS)
    return piece[-1:] == b'"' and (piece[-2:-1] != b"\\" or _backslashes(piece) % 2 == 0)


def _backslashes(piece: bytes) -> int:
    """How many stand in front of the last byte."""
    return len(piece) - 1 - len(piece[:-1].rstrip(b"\\"))


def dump(document: Any) -> bytes:
    return to_json(document)


def find_duplicate(raw: bytes) -> str | None:
    """The first key that valid JSON has twice in one object; slower than counting, and exact."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=look)
    return found[0] if found else None


def _count_keys(document: dict[str, Any]) -> int:
    """Keys of all objects of the document. Raises `ValueError` for a number that became an infinity."""
    keys = 0
    stack: list[Any] = [document]
    for container in stack:  # grows while it is walked
        if type(container) is dict:
            keys += len(container)
            container = container.values()
        for value in container:
            kind = type(value)
            if kind is str:
                continue
            if kind is dict or kind is list:
                stack.append(value)
            elif kind is float and not isfinite(value):
                raise ValueError("number out of range")
    return keys
