"""The circuit breakers of guards, for whoever watches a gateway: which guards are not asked now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agentgateway._host.builtin.placed_guard import Guarding, PlacedGuard

METRIC = ("agentgateway_guardrail_circuit_open", "1 while a guard that failed too often is not asked, else 0.")
LABELS = ("guard", "phase", "at")
"""What the log calls a guard, what it looks at, and its place in the file."""


def placed(parts: Iterable[Any]) -> Iterator[PlacedGuard]:
    """The guards among the parts of a gateway."""
    for part in parts:
        if isinstance(part, Guarding):
            yield from part.placed_guards()


def opened(parts: Iterable[Any]) -> dict[tuple[str, ...], float]:
    """1 for each guard that is not asked now, else 0; by `LABELS`."""
    return {(one.name, one.phase, one.at): float(one.breaker.open_for > 0) for one in placed(parts)}


def told(parts: Iterable[Any]) -> list[dict[str, Any]]:
    """The guards, and how they do, for people; times in seconds."""
    return [
        {
            "guard": one.name,
            "phase": one.phase,
            "at": one.at,
            "failures": one.breaker.failures,
            "openFor": round(one.breaker.open_for, 3),
        }
        for one in placed(parts)
    ]
