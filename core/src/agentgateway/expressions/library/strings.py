"""The string functions of CEL and of cel-go's `strings` extension (github.com/google/cel-go/tree/master/ext)."""

from typing import Any

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library.function import Function, function, text, whole
from agentgateway.expressions.values import kind, no_overload

# Unicode White_Space. Python's own strip() also takes the separators U+001C to U+001F.
_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def starts_with(value: Any, prefix: Any) -> bool:
    return text("startsWith", value).startswith(text("startsWith", prefix))


def ends_with(value: Any, suffix: Any) -> bool:
    return text("endsWith", value).endswith(text("endsWith", suffix))


def char_at(value: Any, position: Any) -> str:
    """One past the end is the empty string."""
    at = whole("charAt", position)
    _within("charAt", at, len(text("charAt", value)))
    return str(value[at : at + 1])


def index_of(value: Any, part: Any, start: Any = 0) -> int:
    _within("indexOf", whole("indexOf", start), len(text("indexOf", value)))
    return int(value.find(text("indexOf", part), start))


def last_index_of(value: Any, part: Any, last: Any = None) -> int:
    """`last` is the last place a match may begin."""
    wanted = text("lastIndexOf", part)
    if last is None:
        return text("lastIndexOf", value).rfind(wanted)
    _within("lastIndexOf", whole("lastIndexOf", last), len(text("lastIndexOf", value)))
    return int(value.rfind(wanted, 0, last + len(wanted)))


def substring(value: Any, start: Any, end: Any = None) -> str:
    length = len(text("substring", value))
    stop = length if end is None else whole("substring", end)
    _within("substring", stop, length)
    _within("substring", whole("substring", start), stop)
    return str(value[start:stop])


def _within(name: str, position: int, length: int) -> None:
    if not 0 <= position <= length:
        raise ExpressionError(f"{name}(): position out of range")


def replace(value: Any, old: Any, new: Any, limit: Any = -1) -> str:
    replaced, by, count = text("replace", value), text("replace", new), whole("replace", limit)
    return replaced.replace(text("replace", old), by, max(count, -1))


def split(value: Any, separator: Any, limit: Any = -1) -> list[str]:
    """An empty separator splits into characters; `limit` is the most parts wanted, negative for all."""
    whole_text, by, count = text("split", value), text("split", separator), whole("split", limit)
    if count in (0, 1):
        return [whole_text][:count]
    if by:
        return whole_text.split(by, count - 1 if count > 0 else -1)
    if count < 0 or count >= len(whole_text):
        return list(whole_text)
    return [*whole_text[: count - 1], whole_text[count - 1 :]]


def join(parts: Any, separator: Any = "") -> str:
    if kind(parts) != "list":
        raise no_overload("join", parts)
    return text("join", separator).join(text("join", part) for part in parts)


def lower_ascii(value: Any) -> str:
    checked = text("lowerAscii", value)
    return checked.lower() if checked.isascii() else checked.translate(_LOWER)


def upper_ascii(value: Any) -> str:
    checked = text("upperAscii", value)
    return checked.upper() if checked.isascii() else checked.translate(_UPPER)


def strip_prefix(value: Any, prefix: Any) -> str:
    return text("stripPrefix", value).removeprefix(text("stripPrefix", prefix))


def strip_suffix(value: Any, suffix: Any) -> str:
    return text("stripSuffix", value).removesuffix(text("stripSuffix", suffix))


FUNCTIONS: tuple[Function, ...] = (
    function("startsWith", starts_with, 2),
    function("endsWith", ends_with, 2),
    function("charAt", char_at, 2),
    function("indexOf", index_of, 2, 3),
    function("lastIndexOf", last_index_of, 2, 3),
    function("substring", substring, 2, 3),
    function("replace", replace, 3, 4),
    function("split", split, 2, 3),
    function("join", join, 1, 2),
    function("trim", lambda value: text("trim", value).strip(_SPACE), 1),
    function("lowerAscii", lower_ascii, 1),
    function("upperAscii", upper_ascii, 1),
    function("stripPrefix", strip_prefix, 2),
    function("stripSuffix", strip_suffix, 2),
)
