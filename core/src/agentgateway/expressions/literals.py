"""The text of a literal to its value."""

import re
from typing import Any

from agentgateway.expressions.syntax import Place
from agentgateway.expressions.values import INT_MAX, INT_MIN, UINT_MAX, Uint


def _integer(text: str) -> int:
    return int(text, 16) if "x" in text else int(text)


def _int(text: str, at: Place) -> int:
    value = _integer(text)
    if INT_MIN <= value <= INT_MAX:
        return value
    raise at.error("this number does not fit into 64 bits")


def _uint(text: str, at: Place) -> Uint:
    value = _integer(text[:-1])
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise at.error("this number does not fit into 64 bits without a sign")


_ESCAPE = re.compile(
    r"""\\(?:(?P<char>[abfnrtv"'`?\\])|(?P<octal>[0-3][0-7]{2})|[xX](?P<hex>[0-9a-fA-F]{2})"""
    r"""|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"""
)
_CHARACTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _code(escape: re.Match[str]) -> int:
    if escape["octal"]:
        return int(escape["octal"], 8)
    return int(escape["hex"] or escape["short"] or escape["long"], 16)


def _body(text: str) -> str:
    return text[3:-3] if text[:3] in ('"""', "'''") else text[1:-1]


def _string(text: str, at: Place) -> str:
    """A backslash before any other character stays, as in cel-python."""
    if text[0] in "rR":
        return _body(text[1:])

    def character(escape: re.Match[str]) -> str:
        if escape["char"]:
            return _CHARACTERS.get(escape["char"], escape["char"])
        code = _code(escape)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise at.error(f"{escape[0]} is no character")
        return chr(code)

    return _ESCAPE.sub(character, _body(text))


def _bytes(text: str, at: Place) -> bytes:
    if text[1] in "rR":
        return _body(text[2:]).encode()
    made, last, body = b"", 0, _body(text[1:])
    for escape in _ESCAPE.finditer(body):
        made += body[last : escape.start()].encode()
        last = escape.end()
        if escape["short"] or escape["long"]:
            raise at.error(f"{escape[0]} has no place in bytes")
        char = escape["char"]
        made += _CHARACTERS.get(char, char).encode() if char else bytes([_code(escape)])
    return made + body[last:].encode()


LITERALS: dict[str, Any] = {
    "INT_LIT": _int,
    "UINT_LIT": _uint,
    "FLOAT_LIT": lambda text, at: float(text),
    "STRING_LIT": _string,
    "MLSTRING_LIT": _string,
    "BYTES_LIT": _bytes,
    "BOOL_LIT": lambda text, at: text == "true",
    "NULL_LIT": lambda text, at: None,
}
