"""What servers list, in the words of clients, remembered by the bytes it came in: what has not changed is neither read
nor written anew. Servers are asked all the same, and pins have had their say before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from agentgateway_mcp import merging

ROOM = 16 * 1024 * 1024
"""Bytes of lists that a backend remembers, as they came and as they went."""

Key = tuple[str, str, str, str | None]
"""The target, the method, the version of the protocol, and the page."""


class Part(NamedTuple):
    """What one server has of a list: its entries in JSON, with commas between them, their names, and the result's other
    members."""

    entries: bytes
    names: frozenset[str]
    rest: dict[str, Any]

    @classmethod
    def of(cls, result: dict[str, Any], key: str, named: str) -> Part:
        things = merging.listed(key, named, {"": result})
        rest = {name: value for name, value in result.items() if name != key}
        return cls(to_json(things)[1:-1], frozenset(thing[named] for thing in things), rest)

    def result(self, key: str) -> dict[str, Any]:
        """The inverse."""
        return {**self.rest, key: from_json(b"[%b]" % self.entries)}


class Listings:
    """The last list that each page came to; the one unused for longest makes room."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._known: OrderedDict[Key, tuple[bytes, Part]] = OrderedDict()

    def get(self, key: Key, raw: bytes) -> Part | None:
        known = self._known.get(key)
        if known is None or known[0] != raw:
            return None
        self._known.move_to_end(key)
        return known[1]

    def keep(self, key: Key, raw: bytes, part: Part) -> None:
        if (before := self._known.pop(key, None)) is not None:
            self._room += size(*before)
        self._known[key] = raw, part
        self._room -= size(raw, part)
        while self._room < 0:
            _, let_go = self._known.popitem(last=False)
            self._room += size(*let_go)


def size(raw: bytes, part: Part) -> int:
    return len(raw) + len(part.entries)


def distinct(parts: Iterable[Part]) -> bool:
    """Whether no name is in two of them."""
    several = list(parts)
    return len(frozenset().union(*(part.names for part in several))) == sum(len(part.names) for part in several)


def response(wanted: Any, key: str, parts: Iterable[Part], more: dict[str, Any]) -> bytes:
    """The response to a request for a list: the entries of all parts, and these members besides."""
    entries = b",".join(part.entries for part in parts if part.entries)
    members = b"".join(b",%b:%b" % (to_json(name), to_json(value)) for name, value in more.items())
    return b'{"jsonrpc":"2.0","id":%b,"result":{"%b":[%b]%b}}' % (to_json(wanted), key.encode(), entries, members)
