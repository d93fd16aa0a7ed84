"""A configuration for people's eyes: whatever may be a secret is hidden.

What a model marks as `Secret` never shows itself; this is for the raw file, where a key's name is all there is to go
by. Hiding too much is fine here.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"

_SECRET = re.compile(
    r"key$|keys$|secret|token|password|credential|authorization|passphrase|signing|backendauth|cookie|jwks", re.I
)
_PLAIN = {"type", "header", "name", "prefix", "mode", "tokensPerFill", "maxTokens", "fillInterval", "max_tokens"}
_URL_USER = re.compile(r"(?<=://)[^/@\s]+@")


def redacted(value: Any, inside: bool = False) -> Any:
    """A copy in which the values of secret-looking keys, and everything below them, read `***`."""
    if isinstance(value, dict):
        return {key: redacted(one, inside or _secret(str(key), one)) for key, one in value.items()}
    if isinstance(value, list):
        return [redacted(one, inside) for one in value]
    if inside and isinstance(value, str | int | float) and not isinstance(value, bool):
        return HIDDEN
    return _URL_USER.sub(f"{HIDDEN}@", value) if isinstance(value, str) else value


def _secret(key: str, value: Any) -> bool:
    return key not in _PLAIN and _SECRET.search(key) is not None and not isinstance(value, bool)
