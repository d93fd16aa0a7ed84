"""Where a request may go: below its base, whatever the arguments say and however often a server decodes them.

Arguments are percent-encoded wholly, so that the URL has the segments of its template. That is not taken for granted:
the finished URL is taken apart again, decoded until nothing changes, read as lenient servers read paths (`\\` for `/`,
`..;x`, `%2e`, `%c0%ae`, `%u002e`, full-width dots), and refused when any reading has a dot segment.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

MAX_ROUNDS = 8
"""Layers of percent-encoding that are looked through; one with more is refused."""
MAX_TARGET = 16 * 1024
"""Characters of path and query together: what common servers take."""
TARGET = re.compile(r"/(?!/)[!$-;=?-\[\]_a-z~]*|/")
"""Characters of a path and a query (RFC 3986), without `#` and `\\`; never `//` in front, which would be an
authority."""
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
OVERLONG = {
    **dict.fromkeys((b"\xc0\xae", b"\xe0\x80\xae", b"\xf0\x80\x80\xae"), b"."),
    **dict.fromkeys((b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"), b"/"),
    **dict.fromkeys((b"\xc1\x9c", b"\xe0\x81\x9c", b"\xf0\x80\x81\x9c"), b"/"),
}
"""Forms of `.`, `/` and `\\` that UTF-8 forbids and old servers read."""
LOOKALIKES = str.maketrans({"\\": "/", "⁄": "/", "∕": "/", "∖": "/", "⧵": "/", "⧸": "/", "。": ".", "｡": "."})
WIDE_ESCAPE = re.compile(r"%u([0-9A-Fa-f]{4})")


class UnsafeUrl(ValueError):
    """A URL that might lead elsewhere."""


@dataclass(frozen=True, slots=True)
class Base:
    """Where operations live: scheme and authority (`https://api.example.com`), and a path (`/v1`, or empty)."""

    url: str
    path: str

    def prove(self, target: str) -> None:
        """That path and query, put behind the authority, lead there and stay below the base. Raises `UnsafeUrl`."""
        if len(target) > MAX_TARGET:
            raise UnsafeUrl(f"the URL is longer than {MAX_TARGET} characters")
        if target.startswith("//"):
            raise UnsafeUrl("the URL begins with `//`, behind which another server would stand")
        if TARGET.fullmatch(target) is None or BAD_ESCAPE.search(target):
            raise UnsafeUrl("the URL has characters that a URL has not")
        parts, own = urlsplit(self.url + target), urlsplit(self.url)
        if (parts.scheme, parts.netloc) != (own.scheme, own.netloc) or parts.fragment:
            raise UnsafeUrl("the URL leads to another server")
        if parts.path != self.path and not parts.path.startswith(f"{self.path}/"):
            raise UnsafeUrl("the URL leaves its base")
        if climbs(parts.path):
            raise UnsafeUrl("the URL has dot segments")


def climbs(path: str) -> bool:
    """Whether any server might read a dot segment in a path."""
    for _ in range(MAX_ROUNDS):
        if any(map(dots_only, _as_lenient(path).split("/"))):
            return True
        decoded = _decoded(path)
        if decoded == path:
            return False
        path = decoded
    return True


def _as_lenient(path: str) -> str:
    return unicodedata.normalize("NFKC", path.translate(LOOKALIKES)).translate(LOOKALIKES)


def _decoded(path: str) -> str:
    raw = unquote_to_bytes(WIDE_ESCAPE.sub(lambda found: chr(int(found[1], 16)), path).encode("utf-8", "replace"))
    for written, meant in OVERLONG.items():
        raw = raw.replace(written, meant)
    return raw.decode("utf-8", "replace")


def dots_only(segment: str) -> bool:
    """Whether a segment is dots, once parameters (`..;x`), blanks and what cannot be seen are gone."""
    bare = segment.partition(";")[0]
    if "." not in bare:
        return False
    return all(character == "." or character.isspace() or not character.isprintable() for character in bare)
