"""Which messages a processor sees, by patterns of their methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["off", "request", "response", "full"]


class Methods:
    """Patterns: a method (`tools/call`), what begins or ends it (`tools/*`, `*/list`), or `*`. The most exact one that
    fits decides, in this order; of two beginnings or ends the longer one. What none fits is not seen."""

    def __init__(self, patterns: Mapping[str, Phase]) -> None:
        self._exact = {text: phase for text, phase in patterns.items() if "*" not in text}
        begins = [(text[:-1], phase) for text, phase in patterns.items() if text.endswith("/*")]
        ends = [(text[1:], phase) for text, phase in patterns.items() if text.startswith("*/")]
        self._begins = sorted(begins, key=lambda one: -len(one[0]))
        self._ends = sorted(ends, key=lambda one: -len(one[0]))
        self._rest: Phase = patterns.get("*", "off")
        self._any_result = not {"response", "full"}.isdisjoint(patterns.values())

    def phase(self, method: str) -> Phase:
        if (exact := self._exact.get(method)) is not None:
            return exact
        for beginning, phase in self._begins:
            if method.startswith(beginning):
                return phase
        for end, phase in self._ends:
            if method.endswith(end):
                return phase
        return self._rest

    def requests(self, method: str) -> bool:
        return self.phase(method) in ("request", "full")

    def results(self, method: str | None) -> bool:
        """Whether it sees the results of that method; None is any."""
        return self._any_result if method is None else self.phase(method) in ("response", "full")


def is_pattern(text: str) -> bool:
    """Whether anything can ever fit it."""
    plain = text.removesuffix("/*") if text.endswith("/*") else text.removeprefix("*/") if text[:2] == "*/" else text
    return text == "*" or bool(plain and "*" not in plain)
