"""The names an expression may use, and how a name in the text becomes a variable."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Getter = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Deferred:
    """A getter to be imported: `load` gives it, and is called when the first expression that reads it is compiled."""

    load: Callable[[], Getter]


_PATH = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*(\.[_a-zA-Z][_a-zA-Z0-9]*)*")


class Branch:
    """One name of a dotted path: a `getter` if the path so far is a variable, `children` if there are longer ones."""

    __slots__ = ("children", "getter", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.getter: Getter | Deferred | None = None
        self.children: dict[str, Branch] = {}

    def variables(self) -> "list[Branch]":
        """The variables at and below this name, in declaration order. A variable hides the longer paths below it."""
        if self.getter is not None:
            return [self]
        return [variable for child in self.children.values() for variable in child.variables()]


class Environment:
    """Variables, keyed by dotted path (`request.method`, `jwt`), and the functions that come on top of the library.

    A getter takes the subject the expression is evaluated on and gives a native value (`None` is CEL's null); it
    raises `KeyError` when the variable is absent there. `has(request)` on a root that only exists through its
    children asks the child declared first, so declare first the one that is there whenever the root is.
    """

    def __init__(
        self, variables: Mapping[str, Getter | Deferred], functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self.variables = dict(variables)
        self.functions = dict(functions or {})
        self.root = Branch("")
        for path in (*self.variables, *self.functions):
            if not _PATH.fullmatch(path):
                raise ValueError(f"{path!r} is no dotted name")
        for path, getter in self.variables.items():
            self._declare(path, getter)

    def _declare(self, path: str, getter: Getter | Deferred) -> None:
        branch = self.root
        for name in path.split("."):
            below = f"{branch.path}.{name}" if branch.path else name
            branch = branch.children.setdefault(name, Branch(below))
        branch.getter = getter

    def names(self) -> frozenset[str]:
        """The dotted paths of the variables."""
        return frozenset(self.variables)

    def extended(
        self, variables: Mapping[str, Getter | Deferred], functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> "Environment":
        """A new environment with these on top."""
        return Environment({**self.variables, **variables}, {**self.functions, **(functions or {})})


def close_to(name: str, known: Iterable[str]) -> str:
    """` (did you mean a, b?)`, or nothing."""
    matches = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""
