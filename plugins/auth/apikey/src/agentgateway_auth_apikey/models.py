"""Which models a key may call: names, and patterns with one `*` at the start or at the end."""

from __future__ import annotations

from collections.abc import Sequence

from agentgateway.settings import problem


def checked(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns as they are. Raises a validation error for one that is none, and for `*` among others."""
    for pattern in patterns:
        if not pattern or "*" in pattern[1:-1] or pattern.count("*") > 1:
            raise problem("a model pattern has one `*` at most, at its start or its end")
    if "*" in patterns and len(patterns) > 1:
        raise problem("`*` must stand alone", "leave `allowedModels` out to allow every model")
    return patterns


def allows(patterns: Sequence[str], model: str) -> bool:
    """Whether one of the patterns fits the model."""
    return any(_fits(pattern, model) for pattern in patterns)


def _fits(pattern: str, model: str) -> bool:
    if pattern.endswith("*"):
        return model.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return model.endswith(pattern[1:])
    return model == pattern
