"""What a server says to who may not do what they asked for (RFC 6750 section 3, RFC 9728 section 5.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentgateway.exchange import Headers
from agentgateway_mcp_oauth.config import SCOPE

LONGEST = 8192
_BEARER = re.compile(r"(?:^|,)\s*bearer(?:\s+|$)", re.IGNORECASE)
_PARAMETER = re.compile(r"""\s*,?\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))""")


@dataclass(frozen=True, slots=True)
class Demand:
    """A challenge. `scope` are the scopes it names, None where it names none."""

    status: int
    metadata: str | None = None
    scope: tuple[str, ...] | None = None
    error: str = ""

    @property
    def login(self) -> bool:
        """Whether there has to be another token."""
        return self.status == 401

    @property
    def more(self) -> bool:
        """Whether there has to be one for more."""
        return self.status == 403 and self.error == "insufficient_scope" and bool(self.scope)


def demand(status: int, headers: Headers) -> Demand:
    """The first challenge for a bearer token."""
    for value in headers.all("www-authenticate"):
        begun = _BEARER.search(value) if len(value) <= LONGEST else None
        if begun is not None:
            given = _parameters(value, begun.end())
            scope = scopes_in(given["scope"]) if "scope" in given else None
            return Demand(status, given.get("resource_metadata"), scope, given.get("error", ""))
    return Demand(status)


def scopes_in(text: object) -> tuple[str, ...]:
    """Scopes of a text, each once, in its order; what is none is left out."""
    words = text.split(" ") if isinstance(text, str) else []
    return tuple(dict.fromkeys(word for word in words if SCOPE.fullmatch(word)))


def _parameters(text: str, place: int) -> dict[str, str]:
    """The parameters from there on, up to the next challenge; of two with one name the first."""
    found: dict[str, str] = {}
    while (one := _PARAMETER.match(text, place)) is not None:
        name, quoted, plain = one.groups()
        found.setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        place = one.end()
    return found
