"""Keys of objects that guards replace."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from agentgateway_mcp.texts import FREE, texts_of

STEPS: Counter[str] = Counter()


class Key(str):
    """A key that counts who looks at it, and what is made of it."""

    __slots__ = ()

    def __hash__(self) -> int:
        STEPS["looked at"] += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        STEPS["looked at"] += 1
        return super().__eq__(other)

    def __format__(self, spec: str) -> str:
        STEPS["numbered"] += 1
        return super().__format__(spec)


def masked(count: int, taken: int) -> dict[str, Any]:
    """An object of which so many keys were masked, all alike; so many others look like masked ones."""
    document: dict[str, Any] = {f"<MAIL> {number}": "taken" for number in range(2, 2 + taken)}
    document |= {Key(f"a{number}@b.co"): number for number in range(count)}
    found = [one for one in texts_of(document, FREE, "user", lambda: None) if "@" in one.text]
    assert len(found) == count
    STEPS.clear()
    for one in found:
        one.replace(Key("<MAIL>"))
    return document


@pytest.mark.parametrize("taken", [0, 500])
def test_each_masked_key_takes_a_few_steps(taken: int) -> None:
    document = masked(500, taken)
    assert STEPS["looked at"] < 500 * 20 and STEPS["numbered"] < 500 + taken + 10, STEPS
    assert sorted(map(str, document)) == sorted(["<MAIL>", *(f"<MAIL> {number}" for number in range(2, 501 + taken))])
    assert sorted(value for value in document.values() if value != "taken") == list(range(500))


def test_key_and_text_are_replaced_in_any_order_and_more_than_once() -> None:
    edited: list[str] = []
    document = {"a@b.co": "a", "c@b.co": "c", "x": {"a@b.co": 10**9}}
    key, text, other, _, below, number = texts_of(document, FREE, "user", lambda: edited.append(""))
    assert [one.path for one in (key, text, other, below)] == ["a@b.co", "a@b.co", "c@b.co", "x.a@b.co"]
    changes = [(other, "<MAIL>"), (key, "<MAIL>"), (text, "1"), (key, "<KEY>"), (text, "2"), (other, "<KEY>")]
    for one, new in [*changes, (number, "3"), (below, "<KEY>"), (key, "a@b.co"), (text, "4")]:
        one.replace(new)
    assert document == {"a@b.co": "4", "<KEY> 2": "c", "x": {"<KEY>": "3"}}
    assert len(edited) == 10
