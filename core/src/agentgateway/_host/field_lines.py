"""Header fields as the lines of a head, both ways: each name is looked at once, all values together."""

from __future__ import annotations

from collections.abc import Sequence

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONGEST_REMEMBERED = 256
_MOST_REMEMBERED = 1024

Field = tuple[bytes, bytes]


class NoToken(ValueError):
    """The name of a field is no token (RFC 9110 section 5.6.2)."""


class Nominating(Exception):
    """There is a `Connection` field, which may name others."""


class FieldStarts(dict[bytes, bytes]):
    """What each field's line starts with, `name: `; nothing for the fields in `left_out`. Raises `NoToken`, and
    `Nominating` for a `Connection` that is not left out."""

    def __init__(self, left_out: frozenset[bytes]) -> None:
        super().__init__()
        self._left_out = left_out

    def __missing__(self, name: bytes) -> bytes:
        if not name or name.translate(None, _TOKEN):
            raise NoToken("the name of a header is not a token")
        lowered = name.lower()
        start = b"" if lowered in self._left_out else name + b": "
        if start and lowered == b"connection":
            raise Nominating
        if len(name) <= _LONGEST_REMEMBERED:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[name] = start
        return start


def sendable(head: bytes, lines: int) -> bool:
    """Whether the only line ends of a head are those joining its `lines`, and nothing in it ends a line or a string for
    somebody else (RFC 9112 section 11.1)."""
    # Joining has put that many CR and LF in; whatever is more has come with a field. One pass instead of five: 0.8 µs.
    return len(head) - len(head.translate(None, b"\r\n\0\v\f")) == 2 * (lines - 1)


def without_nominated(headers: Sequence[Field]) -> Sequence[Field]:
    """The fields without those that `Connection` names (RFC 9110 section 7.6.1)."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    nominated = {option.strip().lower() for value in values for option in value.split(b",")}
    nominated.add(b"connection")
    return [field for field in headers if field[0].lower() not in nominated]
