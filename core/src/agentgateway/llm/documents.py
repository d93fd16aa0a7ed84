"""JSON in and out of model traffic: parsed once, and never so that two parsers could read two different things.

A body with the same key twice in one object is refused: a gateway that checks the last `model` in front of a vendor
that obeys the first checks nothing (RFC 8259 section 4 leaves the choice to each parser).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import InvalidRequest

_BLANKS = b" \t\n\r"


def parse(raw: bytes) -> dict[str, Any]:
    """The object in a request's body.

    Raises `InvalidRequest` for malformed JSON, bytes that are not UTF-8, nesting deeper than 200, numbers beyond a
    double's range, anything but an object, and duplicate keys.
    """
    try:
        document = read_object(raw)
    except ValueError as error:
        raise no_object(error) from None
    check(document, raw)
    return document


def check(document: dict[str, Any], raw: bytes, flat: Sequence[Any] = ()) -> None:
    """Refuse duplicate keys and numbers beyond a double's range; `flat` as in `duplicate_in`. Raises
    `InvalidRequest`."""
    try:
        duplicate = duplicate_in(document, raw, flat)
    except ValueError as error:
        raise no_object(error) from None
    if duplicate is not None:
        raise InvalidRequest(f"the body has the key {duplicate[:64]!r} twice in one object")


def no_object(error: ValueError) -> InvalidRequest:
    """What a request's body is that `read_object` or `duplicate_in` could not read."""
    return InvalidRequest(f"the body is not a JSON object: {error}")


def read_object(raw: bytes) -> dict[str, Any]:
    """The object, whatever its keys. Raises `ValueError`."""
    document = from_json(raw, allow_inf_nan=False)
    if type(document) is not dict:
        raise ValueError("expected an object")
    return document


def duplicate_in(document: dict[str, Any], raw: bytes, flat: Sequence[Any] = ()) -> str | None:
    """A key that occurs twice in one object of `raw`, which is what `document` was read from; the last one counts.
    Raises `ValueError` for a number that became an infinity.

    `flat` is an array in the document that is known to hold only objects of two keys whose values are texts.
    """
    keys = 2 * len(flat) + _count_keys(document, flat)
    pieces = raw.split(b":")
    pieces.pop()
    if _in_texts(pieces, len(pieces) - keys):
        return None
    return find_duplicate(raw)


def _in_texts(pieces: list[bytes], expected: int) -> bool:
    """Whether at least so many of the colons behind these pieces stand in texts: those that end no key. In valid JSON
    every key was counted then, because one that was not would leave a colon too few."""
    if not expected:
        return True
    for piece in pieces:
        if piece[-1:] > b'"':  # neither a quote nor a blank
            expected -= 1
            if not expected:
                return True
    for piece in pieces:
        if piece[-1:] <= b'"' and not _may_end_a_key(piece):
            expected -= 1
            if not expected:
                return True
    return False


def _may_end_a_key(piece: bytes) -> bool:
    """Whether its last byte but blanks is a quote without a backslash: so it is behind every key, and also in a string
    that begins with a colon."""
    piece = piece.rstrip(_BLANKS)
    if piece[-1:] != b'"':
        return False
    return piece[-2:-1] != b"\\" or _backslashes(piece) % 2 == 0


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


def _count_keys(document: dict[str, Any], known: Sequence[Any] = ()) -> int:
    """Keys of all objects of the document, those in the array `known` left out. Raises `ValueError` for a number that
    became an infinity."""
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
                if value is not known:
                    stack.append(value)
            elif kind is float and not isfinite(value):
                raise ValueError("number out of range")
    return keys
