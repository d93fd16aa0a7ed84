"""The texts of a document, for guards: every string, wherever it stands, but for the protocol's own words.

What those are depends on the place, never on a key alone: `name` is the protocol's word in a tool, and a text in a
tool's arguments. `grammar.py` has the places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
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
        for key, value in holder.items():
            if (type(value) is str and key in place.own) or (key in place.lists and only_words(value)):
                continue
            below = f"{path}.{key}" if path else key
            slot: Slot | None = None
            if not is_plain(key) and key not in place.within and not place.keyed:
                slot = Slot(holder, key, edited)
                found.append(Segment(role, EVERY, below, key, slot.rename))
            if type(value) is str:
                found.append(Segment(role, EVERY, below, value, (slot or Slot(holder, key, edited)).put))
            elif value and type(value) in (dict, list):
                stack.append((below, value, place.within.get(key) or place.each or FREE))
            elif place is FREE and is_long(value):
                found.append(Segment(role, EVERY, below, str(value), (slot or Slot(holder, key, edited)).put))
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


class Slot:
    """A member of an object, whose key and text may both be replaced, in any order."""

    __slots__ = ("_edited", "_holder", "_key")

    def __init__(self, holder: dict[str, Any], key: str, edited: Callable[[], None]) -> None:
        self._holder = holder
        self._key = key
        self._edited = edited

    def put(self, text: str) -> None:
        self._holder[self._key] = text
        self._edited()

    def rename(self, key: str) -> None:
        """Another key at the same place; numbered where it would be another member's."""
        others = self._holder.keys() - {self._key}
        name = next(one for one in numbered(key) if one not in others)
        members = [(name if old == self._key else old, value) for old, value in self._holder.items()]
        self._holder.clear()
        self._holder.update(members)
        self._key = name
        self._edited()


def numbered(key: str) -> Iterator[str]:
    yield key
    number = 2
    while True:
        yield f"{key} {number}"
        number += 1
