"""Native values to cel-python's and back."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celpy import celtypes
from celpy.evaluation import CELEvalError

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.values import Uint, kind


class NotNativeError(Exception):
    """A type or a message: cel-python's business."""


def to_cel(value: Any) -> Any:
    """A native value as cel-python's; what CEL has no type for is an `ExpressionError`."""
    match kind(value):
        case "null":
            return None
        case "list":
            return celtypes.ListType([to_cel(item) for item in value])
        case "map":
            return celtypes.MapType({to_cel(key): to_cel(item) for key, item in value.items()})
        case known if known in _TO_CEL:
            try:
                return _TO_CEL[known](value)
            except ValueError:
                raise ExpressionError(f"{known} overflow") from None
    raise ExpressionError(f"cel-python has no type for {kind(value)}")


_TO_CEL: dict[str, Callable[[Any], Any]] = {
    "bool": celtypes.BoolType,
    "int": celtypes.IntType,
    "uint": celtypes.UintType,
    "double": celtypes.DoubleType,
    "string": celtypes.StringType,
    "bytes": celtypes.BytesType,
    "timestamp": celtypes.TimestampType,
    "duration": celtypes.DurationType,
}


def to_native(value: Any) -> Any:
    """cel-python's value as a native one; raises `NotNativeError`, or the failure that `value` is."""
    match value:
        case CELEvalError():
            raise ExpressionError("evaluation failed inside a value")
        case None:
            return None
        case celtypes.MessageType() | type():
            raise NotNativeError
        case list():
            return [to_native(item) for item in value]
        case dict():
            return {to_native(key): to_native(item) for key, item in value.items()}
    for cel_type, native in _TO_NATIVE:
        if isinstance(value, cel_type):
            return native(value)
    raise NotNativeError


def _datetime(value: datetime) -> datetime:
    return datetime.combine(value.date(), value.timetz())


# BoolType and UintType are ints: the order matters.
_TO_NATIVE: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (celtypes.BoolType, bool),
    (celtypes.UintType, Uint),
    (bool, bool),
    (int, int),
    (float, float),
    (str, str),
    (bytes, bytes),
    (datetime, _datetime),
    (timedelta, lambda value: timedelta(value.days, value.seconds, value.microseconds)),
)
