"""Header fields, as they come and as they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    )
)


NAME = itemgetter(0)
"""Of a header field."""


class Headers:
    """Header fields in their order of arrival, names lower-case (RFC 9110 section 5).

    `raw` is what goes on the wire; text is Latin-1, as HTTP has it.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.raw = raw if isinstance(raw, list) else list(raw)

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Headers:
        return cls([(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()])

    def get(self, name: str) -> str | None:
        """The first value of a field, or None."""
        wanted = name.encode("latin-1")
        for key, value in self.raw:
            if key == wanted:
                return value.decode("latin-1")
        return None

    def all(self, name: str) -> list[str]:
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]

    def add(self, name: str, value: str) -> None:
        self.raw.append((name.encode("latin-1"), value.encode("latin-1")))

    def set(self, name: str, value: str) -> None:
        """One field of that name remains, with this value."""
        self.remove(name)
        self.raw.append((name.encode("latin-1"), value.encode("latin-1")))

    def update(self, fields: Iterable[tuple[str, str]]) -> None:
        """`set` each of them, in one pass."""
        given = {name.encode("latin-1"): value.encode("latin-1") for name, value in fields}
        if not given.keys().isdisjoint(map(NAME, self.raw)):
            self.raw = [pair for pair in self.raw if pair[0] not in given]
        self.raw.extend(given.items())

    def remove(self, name: str) -> None:
        unwanted = name.encode("latin-1")
        for key, _ in self.raw:
            if key == unwanted:
                self.raw = [pair for pair in self.raw if pair[0] != unwanted]
                return

    def copy(self) -> Headers:
        return Headers(self.raw[:])

    def end_to_end(self, besides: frozenset[bytes] = HOP_BY_HOP) -> Headers:
        """A copy without what belongs to one connection: the hop-by-hop fields, and those that `Connection` names
        (RFC 9110 section 7.6.1). For what is passed on, before anything is added to it. `besides` is a larger set of
        names to leave out."""
        kept = [pair for pair in self.raw if pair[0] not in besides]
        values = [value for name, value in self.raw if name == b"connection"]
        if values and not besides.issuperset(values):
            named = {part.strip().lower() for value in values for part in value.split(b",")}
            kept = [pair for pair in kept if pair[0] not in named]
        return Headers(kept)

    def __contains__(self, name: str) -> bool:
        return name.encode("latin-1") in map(NAME, self.raw)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw)

    def __repr__(self) -> str:
        return f"<Headers {[name.decode('latin-1') for name, _ in self.raw]}>"
