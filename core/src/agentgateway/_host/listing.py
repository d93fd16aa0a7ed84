"""What is installed, for `agentgateway plugins`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from agentgateway._host import registry
from agentgateway.errors import ConfigError
from agentgateway.hookspecs import PHASES
from agentgateway.interfaces import Backend, Credential, Guard, Provider


class Row(NamedTuple):
    name: str
    kind: str
    distribution: str
    version: str
    phases: str


ELSEWHERE: tuple[tuple[type, str], ...] = (
    (Provider, "upstream"),
    (Credential, "upstream"),
    (Backend, "route upstream"),
    (Guard, "pre_request post_response"),
)
"""The phases in which a policy or a backend of the core runs plugins that have no hooks of their own."""


def listed() -> Iterator[Row]:
    for one in registry.installed():
        try:
            phases = phases_of(registry.load(one.group, one.name))
        except ConfigError as error:
            phases = f"cannot be loaded: {error.message}"
        yield Row(one.name, one.kind, one.distribution, one.version, phases)


def phases_of(plugin: Any) -> str:
    """The phases it has hooks for, in order; parts that it hands out are looked for in its module."""
    for kind, phases in ELSEWHERE:
        if isinstance(plugin, type) and issubclass(plugin, kind):
            return phases
    hooks = {name for name in PHASES if has_hook(plugin, name)}
    return " ".join(phase for phase in PHASES if phase in hooks) or "-"


def has_hook(plugin: Any, phase: str) -> bool:
    if hasattr(getattr(plugin, phase, None), "agentgateway_impl"):
        return True
    return phase in getattr(plugin, "phases", ())
