"""What a child process gets of the gateway's environment: what a program needs to run, and no credential."""

from __future__ import annotations

from collections.abc import Mapping

from agentgateway.interfaces import Host
from agentgateway.settings import Secret

CATEGORIES = (
    *("ALL", "COLLATE", "CTYPE", "MESSAGES", "MONETARY", "NUMERIC", "TIME"),
    *("ADDRESS", "IDENTIFICATION", "MEASUREMENT", "NAME", "PAPER", "TELEPHONE"),
)
ALLOWED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "LANG", "LANGUAGE"),
    *(f"LC_{category}" for category in CATEGORIES),
)


def child_environment(host: Host, own: Mapping[str, Secret | str], *, clear: bool) -> dict[str, str]:
    """The whole environment of a child: what is allowed, unless `clear`, and `own`."""
    allowed = {} if clear else {name: host.environment(name) for name in ALLOWED}
    inherited = {name: value for name, value in allowed.items() if value is not None}
    return {**inherited, **{name: revealed(value) for name, value in own.items()}}


def revealed(value: Secret | str) -> str:
    return value.reveal() if isinstance(value, Secret) else value
