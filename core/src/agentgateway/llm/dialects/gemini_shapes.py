"""The shapes of a generateContent call: one spelling of each field, and arrays where arrays are meant.

Google's parsers follow the JSON mapping of protocol buffers (https://protobuf.dev/programming-guides/json/): a field
may be written in camelCase or by its original name (`systemInstruction`, `system_instruction`); and they take one
object for an array of one, as the examples of Vertex write it. Here both become what the tables of fields list, so that
guards and translations read what the vendor reads. The bytes of a call that nobody changes leave as they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Json
from agentgateway.llm.dialects.gemini_fields import FIELDS
from agentgateway.llm.wire import join, wrong

_HUMP = re.compile("(?<=[a-z])([A-Z])")


@dataclass(slots=True)
class Level:
    """The keys of one kind of object: `names` leads from every accepted spelling to the listed one."""

    listed: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    inner: dict[str, Level] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)

    def add(self, path: str) -> None:
        head, _, rest = path.partition(".")
        key = head.removesuffix("[]")
        self.listed.add(key)
        self.names |= {key: key, snake(key): key}
        if head != key:
            self.arrays.add(key)
        if rest:
            self.inner.setdefault(key, Level()).add(rest)


def snake(key: str) -> str:
    """A field's original name."""
    return _HUMP.sub(r"_\1", key).lower()


def levels(fields: Iterable[str]) -> Level:
    """What a table of fields says of objects in objects; one without fields of its own is left alone."""
    top = Level()
    for path in fields:
        top.add(path)
    return top


CALL = levels(FIELDS)


def tidy(holder: Json, level: Level = CALL, at: str = "") -> None:
    """Bring an object, and those in it, into the listed shape. Raises `InvalidRequest` naming the field, also for one
    field in two spellings: two parsers could read two different things."""
    if not level.listed.issuperset(holder):
        _respell(holder, level, at)
    for key, inner in level.inner.items():
        value = holder.get(key)
        if value is None:
            continue
        place = join(at, key)
        if key in level.arrays:
            if type(value) is dict:
                value = holder[key] = [value]
            if type(value) is not list:
                raise wrong(place, "an array")
            for i, item in enumerate(value):
                _tidy_object(item, inner, f"{place}[{i}]")
        else:
            _tidy_object(value, inner, place)


def _tidy_object(value: object, level: Level, at: str) -> None:
    if type(value) is not dict:
        raise wrong(at, "an object")
    tidy(value, level, at)


def _respell(holder: Json, level: Level, at: str) -> None:
    lowered = {name.lower(): name for name in level.listed}
    for key in list(holder):
        listed = level.names.get(key)
        if listed is None and (meant := lowered.get(key.lower()) or level.names.get(key.lower())):
            raise InvalidRequest(f"{join(at, key)}: is spelled `{meant}`", param=join(at, key))
        if listed is not None and listed != key and listed in holder:
            raise InvalidRequest(f"{join(at, key)}: is there twice, also as `{listed}`", param=join(at, key))
    renamed = {level.names.get(key, key): value for key, value in holder.items()}
    holder.clear()
    holder.update(renamed)
