"""CEL's operators over native Python values.

The types are told apart strictly, as in CEL and unlike in Python: `bool` is no `int`, `int` (64 bit), `uint` and
`double` do not mix in arithmetic, nothing is truthy. Results and errors follow cel-python; where cel-python lets
Python shine through (`true == 1`, `"a" * 3`) the CEL specification decides. `docs/expressions.md` lists each case.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agentgateway.expressions.errors import ExpressionError, MissingError

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
UINT_MAX = 2**64 - 1
DURATION_MAX = timedelta(seconds=315_576_000_000)  # google.protobuf.Duration: +-10,000 years


class Uint(int):
    """CEL's unsigned 64-bit integer, which is another type than `int`."""

    __slots__ = ()


# Subclasses join as they are met, so that a header map costs one dictionary access after the first request.
KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null",
    list: "list",
    tuple: "list",
    dict: "map",
    datetime: "timestamp",
    timedelta: "duration",
}
_BASES = (Uint, int, float, str, bytes, list, tuple, datetime, timedelta)
KEY_KINDS = frozenset({"string", "int", "uint", "bool"})
NUMBER_KINDS = frozenset({"int", "uint", "double"})
_ORDERED_KINDS = NUMBER_KINDS | {"bool", "string", "bytes", "timestamp", "duration"}
_UNEQUAL_KINDS = frozenset({"bool", "string", "bytes"})


def kind(value: Any) -> str:
    """CEL's name of the value's type; of a type CEL does not know, its Python name."""
    found = KINDS.get(type(value))
    if found is None:
        base = next((base for base in _BASES if isinstance(value, base)), None)
        found = "map" if isinstance(value, Mapping) else KINDS[base] if base else type(value).__name__
        KINDS[type(value)] = found
    return found


def no_overload(name: str, *operands: Any) -> ExpressionError:
    return ExpressionError(f"no such overload: {name}({', '.join(kind(operand) for operand in operands)})")


def equals(left: Any, right: Any) -> bool:
    """`==`: errors between types that cannot be compared, except that null compares with everything."""
    left_kind, right_kind = kind(left), kind(right)
    if left_kind == right_kind:
        if left_kind == "list":
            return len(left) == len(right) and _all_equal(zip(left, right, strict=True))
        if left_kind == "map":
            return _maps_equal(left, right)
        return bool(left == right)
    if left_kind == "null" or right_kind == "null" or {left_kind, right_kind} <= _UNEQUAL_KINDS:
        return False
    raise no_overload("_==_", left, right)


def _all_equal(pairs: Iterable[tuple[Any, Any]]) -> bool:
    """CEL's `&&` over the pairs: an unequal pair outweighs one that cannot be compared."""
    failure: ExpressionError | None = None
    for left, right in pairs:
        try:
            if not equals(left, right):
                return False
        except ExpressionError as error:
            if failure is not None:
                raise
            failure = error
    if failure is not None:
        raise failure
    return True


def _maps_equal(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
    if len(left) != len(right) or not all(has_key(right, key) for key in left):
        return False
    return _all_equal((left[key], right[key]) for key in left)


def has_key(mapping: Mapping[Any, Any], key: Any) -> bool:
    """Whether `key` is in the map, as the same type: Python's `1 == True == 1.0` does not hold here."""
    key_kind = kind(key)
    if key_kind == "string" or (type(mapping) is dict and key not in mapping):
        return key in mapping
    return any(stored == key and kind(stored) == key_kind for stored in mapping)


def compare(name: str, left: Any, right: Any) -> bool:
    """`<`, `<=`, `>`, `>=`. A double or uint on the left compares with any number, an int only with an int."""
    left_kind, right_kind = kind(left), kind(right)
    same = left_kind == right_kind and left_kind in _ORDERED_KINDS
    if same or (left_kind in ("double", "uint") and right_kind in NUMBER_KINDS):
        try:
            return bool(COMPARISONS[name](left, right))
        except TypeError:
            raise ExpressionError("timestamps with and without a zone do not compare") from None
    raise no_overload(f"_{name}_", left, right)


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def contains(item: Any, container: Any) -> bool:
    """`item in container`: an element of a list, a key of a map."""
    container_kind = kind(container)
    if container_kind not in ("list", "map"):
        raise no_overload("_in_", item, container)
    if type(item) is str and container_kind == "map" and (item in container or type(container) is not dict):
        return item in container
    failure: ExpressionError | None = None
    for element in container:
        try:
            if equals(element, item):
                return True
        except ExpressionError as error:
            failure = error
    if failure is not None:
        raise failure
    return False


def index(container: Any, key: Any, name: str = "") -> Any:
    """`container[key]`; `name` says in an error what was looked for.

    Raises `MissingError` for an absent key and for a list index out of range.
    """
    container_kind, key_kind = kind(container), kind(key)
    if container_kind == "map" and key_kind in KEY_KINDS:
        if key_kind != "string" and not has_key(container, key):
            if type(container) is dict and key in container:  # as another type
                raise no_overload("_[_]", container, key)
            raise MissingError(name)
        try:
            return container[key]
        except KeyError:
            raise MissingError(name) from None
    if container_kind == "list" and key_kind in ("int", "uint"):
        if 0 <= key < len(container):
            return container[key]
        raise MissingError(name or "list index out of range")
    raise no_overload("_[_]", container, key)


def size(value: Any) -> int:
    """Code points, bytes, elements or entries."""
    if kind(value) not in ("string", "bytes", "list", "map"):
        raise no_overload("size", value)
    return len(value)


def as_int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise ExpressionError("int overflow")


def as_uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise ExpressionError("uint overflow")


def as_duration(value: timedelta) -> timedelta:
    if abs(value) <= DURATION_MAX:
        return value
    raise ExpressionError("duration overflow")


def truncate(value: float) -> int:
    if not math.isfinite(value):
        raise ExpressionError("int overflow")
    return math.trunc(value)


def _quotient(left: int, right: int) -> int:
    if right == 0:
        raise ExpressionError("division by zero")
    magnitude = abs(left) // abs(right)
    return magnitude if (left < 0) == (right < 0) else -magnitude


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise ExpressionError("modulus by zero")
    magnitude = abs(left) % abs(right)
    return -magnitude if left < 0 else magnitude


def _ratio(left: float, right: float) -> float:
    """IEEE 754 division, which Python refuses for a zero divisor."""
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


_Operation = Callable[[Any, Any], Any]
_ARITHMETIC: dict[tuple[str, str, str], _Operation] = {
    ("+", "int", "int"): lambda a, b: as_int(a + b),
    ("-", "int", "int"): lambda a, b: as_int(a - b),
    ("*", "int", "int"): lambda a, b: as_int(a * b),
    ("/", "int", "int"): lambda a, b: as_int(_quotient(a, b)),
    ("%", "int", "int"): lambda a, b: as_int(_remainder(a, b)),
    ("+", "uint", "uint"): lambda a, b: as_uint(int(a) + int(b)),
    ("-", "uint", "uint"): lambda a, b: as_uint(int(a) - int(b)),
    ("*", "uint", "uint"): lambda a, b: as_uint(int(a) * int(b)),
    ("/", "uint", "uint"): lambda a, b: as_uint(_quotient(int(a), int(b))),
    ("%", "uint", "uint"): lambda a, b: as_uint(_remainder(int(a), int(b))),
    ("+", "double", "double"): operator.add,
    ("-", "double", "double"): operator.sub,
    ("*", "double", "double"): operator.mul,
    ("/", "double", "double"): _ratio,
    ("+", "string", "string"): operator.add,
    ("+", "bytes", "bytes"): operator.add,
    ("+", "list", "list"): lambda a, b: [*a, *b],
    ("+", "duration", "duration"): lambda a, b: as_duration(a + b),
    ("-", "duration", "duration"): lambda a, b: as_duration(a - b),
    ("+", "timestamp", "duration"): operator.add,
    ("+", "duration", "timestamp"): operator.add,
    ("-", "timestamp", "duration"): operator.sub,
    ("-", "timestamp", "timestamp"): lambda a, b: as_duration(a - b),
}


def arithmetic(name: str, left: Any, right: Any) -> Any:
    """`+ - * / %`: operands of one type (or a timestamp and a duration); an int leaving its 64 bits is an error."""
    operation = _ARITHMETIC.get((name, kind(left), kind(right)))
    if operation is None:
        raise no_overload(f"_{name}_", left, right)
    try:
        return operation(left, right)
    except (OverflowError, TypeError):  # a date beyond year 9999; an instant with a zone and one without
        raise ExpressionError(f"timestamp overflow in _{name}_") from None


def negate(value: Any) -> Any:
    value_kind = kind(value)
    if value_kind == "int":
        return as_int(-value)
    if value_kind == "double":
        return -value
    raise no_overload("-_", value)


def invert(value: Any) -> bool:
    if type(value) is not bool:
        raise no_overload("!_", value)
    return not value


def make_map(keys: Iterable[Any], values: Iterable[Any]) -> dict[Any, Any]:
    """A map literal; a repeated key is an error, and so is a key that is no string, int, uint or bool."""
    made: dict[Any, Any] = {}
    for key, value in zip(keys, values, strict=True):
        if kind(key) not in KEY_KINDS:
            raise no_overload("map key", key)
        if key in made:
            raise ExpressionError("duplicate key in a map")
        made[key] = value
    return made
