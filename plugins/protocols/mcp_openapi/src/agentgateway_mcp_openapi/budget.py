"""How much work a check of a value may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import local
from typing import Any

from jsonschema.exceptions import ValidationError

from agentgateway_mcp_openapi.schemas import IN_PLACE

STEPS = 200_000
"""Of one check, which is half a second at most. A step is a keyword in front of a value, or one item or member that it
looks at; what has parts of its own, or goes elsewhere, is `DEARER`."""
STEPS_BESIDE = 2_000_000
"""Of one that runs in a thread: of a large answer."""
DEARER = dict.fromkeys(("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas"), 10)
EACH = frozenset(
    (
        *("items", "contains", "uniqueItems", "propertyNames", "patternProperties", "additionalProperties"),
        *("unevaluatedItems", "unevaluatedProperties"),
    )
)
"""Keywords that look at every item, or every member."""
PASSED_ON = 4
"""For an error, at each part that it comes out of."""
CHARACTERS = 64
"""Of a text, or a message, that are a step."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class Spent(Exception):
    """A check would take too long."""


class Budget(local):
    """The steps that are left of a check: one at a time in each thread."""

    def __init__(self) -> None:
        self._left = 0

    def renew(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Raises `Spent`."""
        self._left -= steps
        if self._left < 0:
            raise Spent

    def counted(self, word: str, check: Keyword) -> Keyword:
        """A keyword that takes its steps. Its errors quote values: those that are long take more."""
        looks_at_each, price = word in EACH, DEARER.get(word, 1)

        def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self.spend(price + size(instance) if looks_at_each else price)
            for error in check(validator, value, instance, schema) or ():
                self.spend(PASSED_ON + len(error.message) // CHARACTERS)
                yield error

        return checked

    def spend_on_unevaluated(self, validator: Any, instance: Any, schema: Any) -> None:
        """To find what others have looked at takes a way through every part, and a look for each member in a list."""
        if isinstance(instance, dict | list):
            self.spend(self._parts(validator, schema) * (1 + len(instance)) + len(instance) ** 2 // CHARACTERS)

    def _parts(self, validator: Any, schema: Any) -> int:
        """The parts of a schema about one value, those behind references each time that they are referred to."""
        found = 0
        waiting = [schema]
        while waiting:
            one = waiting.pop()
            found += 1
            self.spend(1)
            if not isinstance(one, dict):
                continue
            for word in ("$ref", "$dynamicRef"):
                if isinstance(one.get(word), str):
                    waiting.append(validator._resolver.lookup(one[word]).contents)
            for word in IN_PLACE:
                waiting.extend(one[word] if isinstance(one.get(word), list) else [one.get(word)])
            if isinstance(one.get("dependentSchemas"), dict):
                waiting.extend(one["dependentSchemas"].values())
        return found


def size(instance: Any) -> int:
    return len(instance) if isinstance(instance, dict | list) else 0


def all_differ(items: list[Any]) -> bool:
    """Whether no two items are the same, in time linear in their size."""
    return len({frozen(one) for one in items}) == len(items)


def frozen(value: Any) -> Any:
    """The same for equal JSON alone: 1 is 1.0 and not true."""
    if isinstance(value, dict):
        return frozenset((key, frozen(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(frozen(inner) for inner in value)
    return (bool, value) if isinstance(value, bool) else value
