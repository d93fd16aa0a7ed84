"""How long a vendor asks to be left alone: `Retry-After` (RFC 9110 section 10.2.3), and the vendors' own fields."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agentgateway.exchange import Headers

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def retry_after(headers: Headers) -> float | None:
    """Seconds until the earliest moment that any of the headers names; None when none does. Nonsense counts as none."""
    found = []
    for name, read in READERS.items():
        value = headers.get(name)
        if value:
            try:
                found.append(read(value.strip()))
            except (ValueError, OverflowError):
                continue
    return min((seconds for seconds in found if seconds >= 0), default=None)


def _seconds_or_date(value: str) -> float:
    return float(value) if _number(value) else parsedate_to_datetime(value).timestamp() - time.time()


def _epoch(value: str) -> float:
    """Seconds of the epoch, as GitHub and many others write them; a small number is a span."""
    number = float(value) if _number(value) else _spelled(value)
    return number - time.time() if number > 1e9 else number


def _spelled(value: str) -> float:
    """A span as OpenAI writes it: `1s`, `6m0s`, `20ms` (https://platform.openai.com/docs/guides/rate-limits)."""
    if _number(value):
        return float(value)
    parts = _DURATION.findall(value)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != value:
        raise ValueError(value)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _moment(value: str) -> float:
    """A moment of RFC 3339, as Anthropic writes it (https://docs.anthropic.com/en/api/rate-limits)."""
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - time.time()


def _milliseconds(value: str) -> float:
    if not _number(value):
        raise ValueError(value)
    return float(value) / 1000


def _number(value: str) -> bool:
    return value.replace(".", "", 1).isdecimal() and value.isascii()


READERS: dict[str, Callable[[str], float]] = {
    "retry-after-ms": _milliseconds,
    "retry-after": _seconds_or_date,
    "x-ratelimit-reset": _epoch,
    "x-ratelimit-reset-requests": _spelled,
    "x-ratelimit-reset-tokens": _spelled,
    "x-ratelimit-reset-requests-day": _spelled,
    "x-ratelimit-reset-tokens-minute": _spelled,
    "anthropic-ratelimit-requests-reset": _moment,
    "anthropic-ratelimit-tokens-reset": _moment,
}
"""Header fields by name, and what reads them to seconds from now."""
