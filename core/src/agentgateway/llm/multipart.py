"""`multipart/form-data` (RFC 7578), cut into parts while its bytes come; nothing of a part's content is kept.

It is strict, because whoever reads the form after us must find the same parts in it: no preamble and no epilogue, no
blanks behind a boundary, no lines without CR, no part whose name could be read in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from agentgateway.errors import InvalidRequest

HEAD_LIMIT = 8 * 1024
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 section 5.1.1
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_WORD})=(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_FIELD = re.compile(rf"({_WORD}):[ \t]*([^\x00\r\n]*)")
_UNCODED = frozenset(("7bit", "8bit", "binary"))


@dataclass(frozen=True, slots=True)
class Part:
    """A part: the name of its field, whether it is a file, and the character set it names, lower-case."""

    name: str
    file: bool
    charset: str = ""


class Piece(NamedTuple):
    """Some bytes of a form, as they came; all of them joined are the form. `begins` is set on the head of a part,
    `content` on what is inside of one."""

    raw: bytes
    begins: Part | None = None
    content: bool = False


def boundary_of(content_type: str) -> str | None:
    """The boundary of a form; None for another media type. Raises `InvalidRequest` for a form without one."""
    kind, _, _ = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return None
    given = parameters(content_type[len(kind) :])
    boundary = given.get("boundary") if given is not None else None
    if boundary is None or _BOUNDARY.fullmatch(boundary) is None:
        raise malformed("its content-type names no boundary")
    return boundary


def content_type(boundary: str) -> str:
    plain = re.fullmatch(_WORD, boundary) is not None
    return f"multipart/form-data; boundary={boundary}" if plain else f'multipart/form-data; boundary="{boundary}"'


def parameters(text: str) -> dict[str, str] | None:
    """The parameters of a header's value, from the first `;` on; None for what has another form or says one twice."""
    found: dict[str, str] = {}
    at = 0
    while match := _PARAMETER.match(text, at):
        at, name = match.end(), match[1].lower()
        if name in found:
            return None
        found[name] = match[3] if match[2] is None else match[2]
    return found if not text[at:].strip(" \t;") else None


def malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"the form cannot be read: {why}", code="invalid_form")


class Scanner:
    """One form. `feed` gives the pieces that are certain now; it holds back less than a boundary and a part's head."""

    __slots__ = ("_at", "_between", "_buffer", "_state", "closed")

    def __init__(self, boundary: str) -> None:
        self._between = b"\r\n--" + boundary.encode("ascii")
        self._buffer = b""
        self._at = 0
        self._state: Callable[[list[Piece]], bool] = self._opening
        self.closed = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """Raises `InvalidRequest`."""
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        pieces: list[Piece] = []
        while self._state(pieces):
            pass
        return pieces

    def end(self) -> None:
        """The bytes have ended. Raises `InvalidRequest` when the form had not."""
        if not self.closed or self._left:
            raise malformed("it ends before its last boundary")

    @property
    def _left(self) -> int:
        return len(self._buffer) - self._at

    # Each state takes what it can from what is left, and says whether the next one may go on.

    def _opening(self, pieces: list[Piece]) -> bool:
        first = self._between[2:]
        if not first.startswith(self._buffer[: len(first)]):
            raise malformed("it does not begin with its boundary")
        return self._left >= len(first) and self._take(len(first), pieces, self._delimited)

    def _delimited(self, pieces: list[Piece]) -> bool:
        """Behind a boundary: the end of its line, or of the form."""
        if self._left < 2:
            return False
        if self._buffer.startswith(b"--", self._at):
            self.closed = True
            return self._take(2, pieces, self._over)
        if not self._buffer.startswith(b"\r\n", self._at):
            raise malformed("there is something behind a boundary")
        return self._take(2, pieces, self._head)

    def _head(self, pieces: list[Piece]) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._at, self._at + HEAD_LIMIT)
        if end < 0:
            if self._left >= HEAD_LIMIT:
                raise malformed("the head of a part is too long")
            return False
        part = read_head(self._buffer[self._at : end])
        return self._take(end + 4 - self._at, pieces, self._beginning, begins=part)

    def _beginning(self, pieces: list[Piece]) -> bool:
        """Right behind a head: some parsers take a boundary there for the end of an empty part, others for content."""
        first = self._between[2:]
        if self._buffer.startswith(first, self._at):
            raise malformed("a part begins with the boundary")
        if first.startswith(self._buffer[self._at : self._at + len(first)]):
            return False
        self._state = self._content
        return True

    def _content(self, pieces: list[Piece]) -> bool:
        end = self._buffer.find(self._between, self._at)
        size = end - self._at if end >= 0 else self._left - len(self._between) + 1
        if size > 0:
            self._take(size, pieces, self._content, content=True)
        return end >= 0 and self._take(len(self._between), pieces, self._delimited)

    def _over(self, pieces: list[Piece]) -> bool:
        """Behind the last boundary: the end of its line, or nothing."""
        rest = self._buffer[self._at : self._at + 3]
        if not b"\r\n".startswith(rest):
            raise malformed("there is something behind its last boundary")
        if len(rest) == 2:
            self._take(2, pieces, self._past)
        return False

    def _past(self, pieces: list[Piece]) -> bool:
        if self._left:
            raise malformed("there is something behind its last boundary")
        return False

    def _take(
        self,
        size: int,
        pieces: list[Piece],
        state: Callable[[list[Piece]], bool],
        *,
        begins: Part | None = None,
        content: bool = False,
    ) -> bool:
        """The next bytes as a piece; what follows them is for that state."""
        pieces.append(Piece(self._buffer[self._at : self._at + size], begins, content))
        self._at += size
        self._state = state
        return True


def read_head(raw: bytes) -> Part:
    """The head of a part, without the empty line. Raises `InvalidRequest`."""
    fields: dict[str, str] = {}
    for line in raw.decode("latin-1").split("\r\n"):
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in fields:
            raise malformed("the head of a part is doubtful")
        fields[match[1].lower()] = match[2].strip(" \t")
    if fields.get("content-transfer-encoding", "binary").lower() not in _UNCODED:
        raise malformed("a part has a transfer encoding")
    kind, semicolon, rest = fields.get("content-disposition", "").partition(";")
    given = parameters(semicolon + rest)
    if kind.strip().lower() != "form-data" or given is None or "name*" in given:
        raise malformed("a part has no plain name")
    name = given.get("name", "\\")
    if "\\" in name:
        raise malformed("a part has no plain name")
    file = "filename" in given or "filename*" in given
    return Part(name.encode("latin-1").decode("utf-8", "replace"), file, charset_of(fields.get("content-type", "")))


def charset_of(content_type: str) -> str:
    """What a part's media type says of its characters, lower-case; `?` for what is doubtful."""
    _, semicolon, rest = content_type.partition(";")
    given = parameters(semicolon + rest)
    return "?" if given is None else given.get("charset", "").lower()
