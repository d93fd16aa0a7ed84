"""Timestamps and durations, as Python's `datetime` and `timedelta`: microseconds, where protobuf has nanoseconds."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library.function import Function, function, text
from agentgateway.expressions.values import as_duration, kind, no_overload

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"[-+]?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|[smhd])", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OFFSET = re.compile(r"([+-]?)(\d\d?):(\d\d)", re.ASCII)


def timestamp(value: Any) -> datetime:
    """From RFC 3339 text, or from seconds since 1970 (the `exp` of a token)."""
    match kind(value):
        case "timestamp":
            moment: datetime = value
            return moment
        case "int":
            return datetime.fromtimestamp(value, UTC)
        case "string" if _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value)
        case "string":
            raise ExpressionError("timestamp(): not RFC 3339")
    raise no_overload("timestamp", value)


def duration(value: Any) -> timedelta:
    """From text such as `1h30m`, `1.5s` or `-300ms`, or from seconds."""
    match kind(value):
        case "duration":
            span: timedelta = value
            return span
        case "int":
            return as_duration(timedelta(seconds=value))
        case "string" if _DURATION.fullmatch(value):
            seconds = math.fsum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
            return as_duration(timedelta(seconds=-seconds if value[0] == "-" else seconds))
        case "string":
            raise ExpressionError("duration(): not a duration such as 1h30m")
    raise no_overload("duration", value)


def timestamp_text(value: datetime) -> str:
    text_form = value.isoformat() if value.tzinfo else f"{value.isoformat()}Z"
    return text_form.removesuffix("+00:00") + "Z" if text_form.endswith("+00:00") else text_form


def duration_text(value: timedelta) -> str:
    """Seconds with as many decimals as it takes: `5400s`, `1.5s`."""
    total = value // timedelta(microseconds=1)
    whole, fraction = divmod(abs(total), 1_000_000)
    decimals = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{'-' if total < 0 else ''}{whole}{decimals}s"


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    """An IANA name or `+hh:mm`."""
    offset = _OFFSET.fullmatch(name)
    if offset is None:
        return ZoneInfo(name)
    minutes = int(offset[2]) * 60 + int(offset[3])
    return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))


def _reading(
    name: str, of_timestamp: Callable[[datetime], int], of_duration: Callable[[timedelta], int] | None = None
) -> Function:
    def read(value: Any, zone: Any = None) -> int:
        value_kind = kind(value)
        if value_kind == "timestamp":
            moment = value if value.tzinfo else value.replace(tzinfo=UTC)
            return of_timestamp(moment.astimezone(UTC if zone is None else _zone(text(name, zone))))
        if value_kind == "duration" and of_duration is not None and zone is None:
            return of_duration(value)
        raise no_overload(name, value)

    return function(name, read, 1, 2)


FUNCTIONS: tuple[Function, ...] = (
    function("timestamp", timestamp, 1, literals=True),
    function("duration", duration, 1, literals=True),
    _reading("getFullYear", lambda at: at.year),
    _reading("getMonth", lambda at: at.month - 1),
    _reading("getDate", lambda at: at.day),
    _reading("getDayOfMonth", lambda at: at.day - 1),
    _reading("getDayOfWeek", lambda at: at.isoweekday() % 7),
    _reading("getDayOfYear", lambda at: at.timetuple().tm_yday - 1),
    _reading("getHours", lambda at: at.hour, lambda span: int(span.total_seconds() / 3600)),
    _reading("getMinutes", lambda at: at.minute, lambda span: int(span.total_seconds() / 60)),
    _reading("getSeconds", lambda at: at.second, lambda span: int(span.total_seconds())),
    _reading("getMilliseconds", lambda at: at.microsecond // 1000, lambda span: int(span.total_seconds() * 1000)),
)
