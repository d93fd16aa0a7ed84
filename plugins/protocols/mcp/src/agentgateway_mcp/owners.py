"""Which server has a tool or prompt, where names do not tell: what the lists of a caller have shown."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MOST = 10_000
"""Names that are remembered; the one that was asked for longest ago goes."""
FRESH = 60.0
"""Seconds after which an owner is looked for again, while calls go to the one that is known."""

Name = tuple[bytes, str, str]
"""Whose lists these are, since servers may show others to others; the kind of a thing; its name."""


class Owner(NamedTuple):
    """The target that has a thing."""

    target: str
    until: float

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.until


class Owners:
    """The names of one backend."""

    def __init__(self) -> None:
        self._known: OrderedDict[Name, Owner] = OrderedDict()

    def get(self, name: Name) -> Owner | None:
        owner = self._known.get(name)
        if owner is not None:
            self._known.move_to_end(name)
        return owner

    def put(self, name: Name, target: str) -> None:
        self._known[name] = Owner(target, time.monotonic() + FRESH)
        self._known.move_to_end(name)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def forget(self, name: Name) -> None:
        self._known.pop(name, None)

    def learn(self, caller: bytes, kind: str, lists: Mapping[str, Iterable[object]]) -> None:
        """From whole lists of all servers, in their order: the first that has a name owns it."""
        seen: set[str] = set()
        for target, things in lists.items():
            for thing in things:
                name = thing.get("name") if isinstance(thing, dict) else None
                if isinstance(name, str) and name not in seen:
                    seen.add(name)
                    self.put((caller, kind, name), target)
