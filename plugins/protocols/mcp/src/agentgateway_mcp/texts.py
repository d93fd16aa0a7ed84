"""The texts of a document, for guards: every string, wherever it stands, but for the protocol's own words.

What those are depends on the place, never on a key alone: `name` is the protocol's word in a tool, and a text in a
tool's arguments. `grammar.py` has the places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from agentgateway.interfaces import Segment

EVERY = ""
"""The scope of texts that every guard is shown: on these routes there are no others."""
LONG = 10**8
PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$./-]{0,63}")


@dataclass(frozen=True, slots=True)
class Place:
    """An object of the protocol, or each object of a list. Members that are its `own` hold a word, those of `lists` a
    list of words; `within` are places inside it; any other member is `each`, and free JSON where there is none. Keys
    are words, too, where it is `keyed`."""

    own: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    within: Mapping[str, Rule] = field(default_factory=dict)
    each: Rule | None = None
    keyed: bool = False


Rule = Place | Callable[[dict[str, Any]], Place]
"""A place, or how to tell from the object which one it is."""
FREE = Place()
"""JSON of which the protocol says nothing."""


def own(*words: str, each: Rule | None = None, **within: Rule) -> Place:
    """A place with these words and these places inside it; `word[]` is a list of them."""
    lists = frozenset(word.removesuffix("[]") for word in words if word.endswith("[]"))
    return Place(frozenset(words) - {f"{word}[]" for word in lists}, lists, within, each)


def texts_of(document: dict[str, Any], rule: Rule, role: str, edited: Callable[[], None]) -> list[Segment]:
    """The texts, each of which may be replaced: `edited` is told. Keys that are no plain names are texts, too, and so
    are long numbers in free JSON."""
    found: list[Segment] = []
    stack: list[tuple[str, Any, Rule]] = [("", document, rule)]
    for path, holder, ruled in stack:  # grows while it is walked
        if type(holder) is not dict:
            for index, value in enumerate(holder):
                below = f"{path}[{index}]"
                if type(value) is str:
                    found.append(Segment(role, EVERY, below, value, put_at(holder, index, edited)))
                elif value and type(value) in (dict, list):
                    stack.append((below, value, ruled))
                elif ruled is FREE and is_long(value):
                    found.append(Segment(role, EVERY, below, str(value), put_at(holder, index, edited)))
            continue
        place = ruled if isinstance(ruled, Place) else ruled(holder)
        members = Members(holder, edited)
        for key, value in holder.items():
            if (type(value) is str and key in place.own) or (key in place.lists and only_words(value)):
                continue
            below = f"{path}.{key}" if path else key
            slot: Slot | None = None
            if not is_plain(key) and key not in place.within and not place.keyed:
                slot = Slot(members, key)
                found.append(Segment(role, EVERY, below, key, slot.rename))
            if type(value) is str:
                found.append(Segment(role, EVERY, below, value, (slot or Slot(members, key)).put))
            elif value and type(value) in (dict, list):
                stack.append((below, value, place.within.get(key) or place.each or FREE))
            elif place is FREE and is_long(value):
                found.append(Segment(role, EVERY, below, str(value), (slot or Slot(members, key)).put))
    return found


def is_long(value: Any) -> bool:
    """Whether it is a number that may be somebody's: of a card, a telephone, a person."""
    return type(value) is int and abs(value) >= LONG


def only_words(value: Any) -> bool:
    return type(value) is list and all(type(one) is str for one in value)


@lru_cache(4096)
def is_plain(key: str) -> bool:
    return PLAIN_NAME.fullmatch(key) is not None


def put_at(holder: list[Any], index: int, edited: Callable[[], None]) -> Callable[[str], None]:
    def put(text: str) -> None:
        holder[index] = text
        edited()

    return put


class Members:
    """An object whose members may get other keys. One that does is the last from then on: another place would take all
    members to be written again for each."""

    __slots__ = ("_edited", "_holder", "_next")

    def __init__(self, holder: dict[str, Any], edited: Callable[[], None]) -> None:
        self._holder = holder
        self._edited = edited
        self._next: dict[str, int] = {}

    def put(self, key: str, text: str) -> None:
        self._holder[key] = text
        self._edited()

    def rename(self, old: str, key: str) -> str:
        """The key that it has now; numbered where it would be another member's. No number of a key is tried twice."""
        name = key
        while name in self._holder and name != old:
            number = self._next.get(key, 2)
            self._next[key] = number + 1
            name = f"{key} {number}"
        if name != old:
            self._holder[name] = self._holder.pop(old)
        self._edited()
        return name


class Slot:
    """A member of an object, whose key and text may both be replaced, in any order."""

    __slots__ = ("_key", "_members")

    def __init__(self, members: Members, key: str) -> None:
        self._members = members
        self._key = key

    def put(self, text: str) -> None:
        self._members.put(self._key, text)

    def rename(self, key: str) -> None:
        self._key = self._members.rename(self._key, key)
