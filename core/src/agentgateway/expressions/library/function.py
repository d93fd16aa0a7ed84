"""What a library function is, and the checks they share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.values import kind, no_overload


@dataclass(frozen=True, slots=True)
class Function:
    """`least` and `most` count the arguments, the target of a method call included; `most` None is no limit.

    A `pure` function of constants is called once, at load. `literals` are functions whose constant argument must be
    right at load (a regular expression, a network).
    """

    name: str
    call: Callable[..., Any]
    least: int
    most: int | None
    pure: bool = True
    literals: bool = False


def function(
    name: str,
    call: Callable[..., Any],
    least: int,
    most: int | None = -1,
    *,
    pure: bool = True,
    literals: bool = False,
) -> Function:
    """`most` is `least` unless given."""
    return Function(name, sealed(name, call), least, least if most == -1 else most, pure, literals)


def sealed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, with what Python raises on an odd argument turned into an `ExpressionError` that shows no value."""

    @wraps(call)
    def checked(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, OSError) as error:
            kinds = ", ".join(kind(argument) for argument in arguments)
            raise ExpressionError(f"{name}({kinds}) failed: {type(error).__name__}") from None

    return checked


def text(name: str, value: Any) -> str:
    if kind(value) != "string":
        raise no_overload(name, value)
    checked: str = value
    return checked


def whole(name: str, value: Any) -> int:
    if kind(value) != "int":
        raise no_overload(name, value)
    checked: int = value
    return checked


def octets(name: str, value: Any) -> bytes:
    """A string or bytes, as bytes."""
    value_kind = kind(value)
    if value_kind == "string":
        return bytes(value, "utf-8")
    if value_kind != "bytes":
        raise no_overload(name, value)
    return bytes(value)
