"""Patterns of origins. An origin is a scheme, a host and a port, or `null` (RFC 6454 section 6.1)."""

import re

_PATTERN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<any>\*\.?)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])?"
    r"(?::(?P<port>[0-9]{1,5}|\*))?",
    re.IGNORECASE,
)
_LABELS = r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
_VISIBLE = r"[!-~]+"


def readable(pattern: str) -> bool:
    """Whether a pattern is one: `*`, `null`, or an origin with a `*` in place of the first labels or of the port."""
    if pattern in ("*", "null"):
        return True
    found = _PATTERN.fullmatch(pattern)
    return found is not None and bool(found["host"]) == (found["any"] != "*")  # a lone `*` is the host, `*.` begins one


def compiled(patterns: list[str], credentials: bool) -> re.Pattern[str]:
    """One expression for all of them. `*` leaves out `null` where credentials are allowed: every sandboxed page has
    that origin."""
    return re.compile("|".join(_expression(pattern, credentials) for pattern in patterns) or r"(?!)", re.IGNORECASE)


def _expression(pattern: str, credentials: bool) -> str:
    if pattern == "*":
        return rf"(?!null\Z){_VISIBLE}" if credentials else _VISIBLE
    if pattern == "null":
        return pattern
    found = _PATTERN.fullmatch(pattern)
    assert found is not None
    labels = _LABELS + (r"\." if found["host"] else "") if found["any"] else ""
    port = {None: "", "*": "(?::[0-9]{1,5})?"}.get(found["port"], f":{found['port']}")
    return f"{re.escape(found['scheme'])}://{labels}{re.escape(found['host'] or '')}{port}"
