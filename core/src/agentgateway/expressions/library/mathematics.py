"""`math.*`, after cel-go's `math` extension (github.com/google/cel-go/tree/master/ext)."""

import math
from collections.abc import Callable
from typing import Any

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library.conversions import extreme
from agentgateway.expressions.library.function import Function, function
from agentgateway.expressions.values import NUMBER_KINDS, Uint, as_int, kind, no_overload


def _of_double(name: str, call: Callable[[float], Any]) -> Function:
    def checked(value: Any) -> Any:
        if kind(value) != "double":
            raise no_overload(name, value)
        return call(value)

    return function(name, checked, 1)


def _rounding(name: str, call: Callable[[float], float]) -> Function:
    """Infinities and NaN stay what they are."""
    return _of_double(name, lambda value: float(call(value)) if math.isfinite(value) else value)


def _half_away_from_zero(value: float) -> float:
    whole = math.trunc(value)
    return whole if abs(value - whole) < 0.5 else whole + math.copysign(1.0, value)


def absolute(value: Any) -> Any:
    value_kind = kind(value)
    if value_kind not in NUMBER_KINDS:
        raise no_overload("math.abs", value)
    return as_int(abs(value)) if value_kind == "int" else type(value)(abs(value))


def sign(value: Any) -> Any:
    match kind(value):
        case "int":
            return (value > 0) - (value < 0)
        case "uint":
            return Uint(value > 0)
        case "double":
            return value if value == 0 or math.isnan(value) else math.copysign(1.0, value)
    raise no_overload("math.sign", value)


def square_root(value: Any) -> float:
    if kind(value) not in NUMBER_KINDS:
        raise no_overload("math.sqrt", value)
    return math.sqrt(value) if value >= 0 else math.nan


def _numbers_only(name: str, choose: Callable[..., Any]) -> Function:
    chosen = extreme(name, choose)

    def checked(*arguments: Any) -> Any:
        result = chosen(*arguments)
        if kind(result) not in NUMBER_KINDS:
            raise ExpressionError(f"no such overload: {name}({kind(result)})")
        return result

    return function(name, checked, 1, None)


FUNCTIONS: tuple[Function, ...] = (
    _numbers_only("math.least", min),
    _numbers_only("math.greatest", max),
    _rounding("math.ceil", math.ceil),
    _rounding("math.floor", math.floor),
    _rounding("math.round", _half_away_from_zero),
    _rounding("math.trunc", math.trunc),
    function("math.abs", absolute, 1),
    function("math.sign", sign, 1),
    function("math.sqrt", square_root, 1),
    _of_double("math.isNaN", math.isnan),
    _of_double("math.isInf", math.isinf),
    _of_double("math.isFinite", math.isfinite),
)
