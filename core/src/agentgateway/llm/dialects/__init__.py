"""The installed dialects, by name and by the path a request came to."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentgateway.exchange import Headers
    from agentgateway.llm.calls import Dialect

GROUP = "agentgateway.dialects"


@cache
def _points() -> dict[str, EntryPoint]:
    """Looked for once: every look reads what is said of every distribution that is installed."""
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises KeyError."""
    found: Dialect = _points()[name].load()()
    return found


@cache
def installed() -> tuple[Dialect, ...]:
    return tuple(map(dialect, sorted(_points())))


@cache
def operations() -> tuple[str, ...]:
    """What can be asked for in one of them: `chat`, `embeddings`, …"""
    return tuple(dict.fromkeys(["chat", *(found.operation for found in installed() if not found.unread)]))


@cache
def endings() -> tuple[tuple[str, Dialect], ...]:
    """Path endings with their dialects, longest first."""
    found = [(ending, one) for one in installed() for ending in one.paths]
    return tuple(sorted(found, key=lambda item: -len(item[0])))


LONGEST_REMEMBERED = 512
"""Characters of a path whose dialect is kept."""


def by_path(path: str) -> Dialect | None:
    """The dialect that a path's ending names."""
    return _known(path) if len(path) <= LONGEST_REMEMBERED else _by_path(path)


def _by_path(path: str) -> Dialect | None:
    for ending, found in endings():
        if path.endswith(ending):
            return found
    return None


_known = lru_cache(1024)(_by_path)


def by_header(headers: Headers) -> Dialect | None:
    """The dialect whose clients send a header of their own, for paths that several vendors share (`/v1/models`)."""
    for found in installed():
        if found.client_header and found.client_header in headers:
            return found
    return None
