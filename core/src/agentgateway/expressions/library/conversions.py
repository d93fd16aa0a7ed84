"""Conversions between types, sizes, and what belongs nowhere else."""

import random
import uuid
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library.function import Function, function, text
from agentgateway.expressions.library.moments import duration_text, timestamp_text
from agentgateway.expressions.values import (
    NUMBER_KINDS,
    Uint,
    as_int,
    as_uint,
    contains,
    kind,
    no_overload,
    size,
    truncate,
)


def _digits(value: str) -> int:
    negative, digits = value[:1] == "-", value.removeprefix("-")
    number = int(digits[2:], 16) if digits[:2] in ("0x", "0X") else int(digits)
    return -number if negative else number


def to_int(value: Any) -> int:
    match kind(value):
        case "int" | "uint" | "bool":
            return as_int(int(value))
        case "double":
            return as_int(truncate(value))
        case "string":
            return as_int(_digits(value))
        case "timestamp":
            return as_int(int(value.timestamp()))
    raise no_overload("int", value)


def to_uint(value: Any) -> Uint:
    match kind(value):
        case "int" | "uint" | "bool":
            return as_uint(int(value))
        case "double":
            return as_uint(truncate(value))
        case "string":
            return as_uint(_digits(value))
    raise no_overload("uint", value)


def to_double(value: Any) -> float:
    if kind(value) in ("int", "uint", "double", "bool", "string"):
        return float(value)
    raise no_overload("double", value)


_TRUE = frozenset({"true", "True", "TRUE", "t", "1"})
_FALSE = frozenset({"false", "False", "FALSE", "f", "0"})


def to_bool(value: Any) -> bool:
    value_kind = kind(value)
    if value_kind in ("bool", "int", "uint"):
        return bool(value)
    if value_kind == "string" and (value in _TRUE or value in _FALSE):
        return value in _TRUE
    raise no_overload("bool", value)


def to_string(value: Any) -> str:
    match kind(value):
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "uint" | "double":
            return str(float(value)) if kind(value) == "double" else str(int(value))
        case "bytes":
            return str(value, "utf-8")
        case "timestamp":
            return timestamp_text(value)
        case "duration":
            return duration_text(value)
    if isinstance(value, (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface)):
        return str(value)
    raise no_overload("string", value)


def to_bytes(value: Any) -> bytes:
    match kind(value):
        case "bytes":
            return bytes(value)
        case "string":
            return bytes(value, "utf-8")
    raise no_overload("bytes", value)


def has_part(container: Any, part: Any) -> bool:
    """`contains`: a substring of a string, a part of bytes, an element of a list, a key of a map."""
    container_kind = kind(container)
    if container_kind in ("string", "bytes"):
        if kind(part) != container_kind:
            raise no_overload("contains", container, part)
        return part in container
    return contains(part, container)


def extreme(name: str, choose: Callable[..., Any]) -> Callable[..., Any]:
    """`min` or `max` of the arguments, or of one list: numbers of any type, or strings, or moments."""

    def chosen(*arguments: Any) -> Any:
        candidates = arguments[0] if len(arguments) == 1 and kind(arguments[0]) == "list" else arguments
        kinds = {kind(candidate) for candidate in candidates}
        if not (kinds <= NUMBER_KINDS or (len(kinds) == 1 and kinds <= {"string", "timestamp", "duration"})):
            raise no_overload(name, *candidates)
        if not candidates:
            raise ExpressionError(f"{name}() of nothing")
        return choose(candidates)

    return chosen


def merge(left: Any, right: Any) -> dict[Any, Any]:
    if not isinstance(left, Mapping) or not isinstance(right, Mapping):
        raise no_overload("merge", left, right)
    return {**left, **right}


def fail(message: Any = "") -> Any:
    """The message stays unsaid: it may have been computed from the request."""
    text("fail", message)
    raise ExpressionError("fail() was called")


FUNCTIONS: tuple[Function, ...] = (
    function("int", to_int, 1),
    function("uint", to_uint, 1),
    function("double", to_double, 1),
    function("bool", to_bool, 1),
    function("string", to_string, 1),
    function("bytes", to_bytes, 1),
    function("dyn", lambda value: value, 1),
    function("size", size, 1),
    function("contains", has_part, 2),
    function("min", extreme("min", min), 1, None),
    function("max", extreme("max", max), 1, None),
    function("merge", merge, 2),
    function("fail", fail, 0, 1, pure=False),
    function("random", random.SystemRandom().random, 0, pure=False),
    function("uuid", lambda: str(uuid.uuid4()), 0, pure=False),
)
