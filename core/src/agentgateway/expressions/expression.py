"""A compiled expression."""

from collections.abc import Callable
from typing import Any

from agentgateway.expressions.environment import Getter
from agentgateway.expressions.errors import ExpressionError, MissingError
from agentgateway.expressions.values import kind


class Expression:
    """What `compile` gives; immutable, and safe to share between threads.

    `reads` are the variables it reads, known at load. `native` is False when cel-python evaluates it.
    """

    __slots__ = ("_getters", "_run", "native", "reads", "source")

    def __init__(
        self, source: str, run: Callable[[Any], Any], getters: dict[str, Getter], *, native: bool = True
    ) -> None:
        self.source = source
        self.reads = frozenset(getters)
        self.native = native
        self._run = run
        self._getters = getters

    def value(self, subject: Any) -> Any:
        """The result as a native value, not to be changed: it may be part of the subject or of the expression.

        Raises `ExpressionError`; a `GatewayError` of a getter passes through.
        """
        try:
            return self._run(subject)
        except ExpressionError:
            raise
        except KeyError:
            raise self._absent(subject) from None
        except RecursionError:
            raise ExpressionError("a value is nested too deeply") from None

    def holds(self, subject: Any) -> bool:
        """The result of a condition. Raises `ExpressionError` also when the result is no bool."""
        try:
            result = self._run(subject)
        except ExpressionError:
            raise
        except KeyError:
            raise self._absent(subject) from None
        except RecursionError:
            raise ExpressionError("a value is nested too deeply") from None
        if result is True or result is False:
            return result
        raise ExpressionError(f"a condition must be bool, not {kind(result)}")

    def holds_or(self, subject: Any, failing: bool) -> bool:
        """The result of a condition, or `failing` where `holds` raises `ExpressionError`: for who guards something."""
        try:
            result = self._run(subject)
        except (ExpressionError, KeyError, RecursionError):
            return failing
        return result if result is True or result is False else failing

    def _absent(self, subject: Any) -> MissingError:
        """Which variable it was: a bare KeyError comes from a getter, and only the getters can tell."""
        absent = []
        for path, getter in sorted(self._getters.items()):
            try:
                getter(subject)
            except KeyError:
                absent.append(path)
        return MissingError(", ".join(absent))

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"
