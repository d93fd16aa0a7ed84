"""Documents with odd values in them, for tests that nothing a vendor or a client writes crashes anybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

ODD: Sequence[Any] = (
    *(None, True, False, 0, -1, 1.5, 10**40, "", "x", "data:"),
    *([], [1], ["x"], [None], [[]], [{}], {}, {"type": "x"}, {"a": {}}),
)
"""What may stand where something else should."""


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: its container and its key there."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


def spoil(document: dict[str, Any], pick: Callable[[int], int], odd: Sequence[Any] = ODD) -> dict[str, Any]:
    """A copy with something odd, or nothing, in one or two places. `pick(n)` chooses a number below n: with hypothesis
    `lambda n: data.draw(st.integers(0, n - 1))`."""
    spoilt = deepcopy(document)
    for _ in range(1 + pick(2)):
        found = places(spoilt) or [(spoilt, "x")]
        container, key = found[pick(len(found))]
        if pick(2) or isinstance(container, list):
            container[key] = deepcopy(odd[pick(len(odd))])
        else:
            container.pop(key, None)
    return spoilt
