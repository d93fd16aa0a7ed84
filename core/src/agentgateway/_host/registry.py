"""From a name in the configuration to the class that answers to it. stevedore finds it; nothing is listed here."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import entry_points
from typing import Any, cast

from agentgateway.errors import ConfigError

GROUPS = {
    "agentgateway.policies": "policy",
    "agentgateway.backends": "backend",
    "agentgateway.providers": "provider",
    "agentgateway.guards": "guard",
    "agentgateway.credentials": "credential",
    "agentgateway.sections": "section",
    "agentgateway.protocols": "protocol",
    "agentgateway.dialects": "dialect",
    "agentgateway.variables": "variable",
    "agentgateway.catalogs": "catalog",
    "agentgateway.mcp_logins": "MCP login",
    "agentgateway.mcp_targets": "MCP target",
    "agentgateway.stores": "store",
    "agentgateway.commands": "command",
}


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry point, as `agentgateway plugins` lists it."""

    group: str
    kind: str
    name: str
    distribution: str
    version: str
    value: str


@cache
def names(group: str) -> frozenset[str]:
    """The names that installed distributions offer in a group."""
    return frozenset(point.name for point in entry_points(group=group))


@cache
def load(group: str, name: str) -> Any:
    """The object behind a name. Raises `ConfigError`: unknown (with the package to install), ambiguous or broken."""
    from stevedore import DriverManager
    from stevedore.exception import MultipleMatches, NoMatches

    if name not in names(group):
        raise unknown(group, name)
    try:
        return _driver(DriverManager, group, name)
    except MultipleMatches as error:
        raise ConfigError(f"several installed distributions offer the {GROUPS[group]} `{name}`: {error}") from error
    except NoMatches as error:
        raise unknown(group, name) from error
    except Exception as error:  # the plugin's import is the plugin's own code
        raise ConfigError(f"the {GROUPS[group]} `{name}` cannot be loaded: {type(error).__name__}: {error}") from error


def _driver(manager: Any, group: str, name: str) -> Any:
    from stevedore.extension import error_on_conflict  # stevedore >= 5.5

    failures: list[BaseException] = []

    def failed(_manager: Any, _point: Any, error: BaseException) -> None:
        failures.append(error)

    try:
        return manager(group, name, conflict_resolver=error_on_conflict, on_load_failure_callback=failed).driver
    except Exception:
        if failures:
            raise failures[0] from None
        raise


def unknown(group: str, name: str) -> ConfigError:
    """No installed plugin has that name: say which package would, or what was probably meant."""
    kind = GROUPS[group]
    distribution = offered_by(group, name)
    if distribution is not None:
        return ConfigError("no installed plugin provides it", hint=f"pip install {distribution}")
    close = difflib.get_close_matches(name, sorted(names(group) | set(catalogue().get(group, {}))), 1)
    meant = f"did you mean `{close[0]}`?" if close else f"installed: {', '.join(sorted(names(group)))}"
    return ConfigError(f"unknown {kind} `{name}`", hint=meant)


def offered_by(group: str, name: str) -> str | None:
    """The published distribution that offers a name."""
    return catalogue().get(group, {}).get(name)


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Published plugins by group and name; data, kept true by a test, and nothing but hints."""
    text = resources.files("agentgateway._host").joinpath("catalogue.json").read_text()
    return cast(dict[str, dict[str, str]], json.loads(text))


def installed() -> Iterator[Installed]:
    """Everything that is installed, by group and name."""
    for group, kind in GROUPS.items():
        for point in sorted(entry_points(group=group), key=lambda point: point.name):
            dist = point.dist
            yield Installed(
                group, kind, point.name, dist.name if dist else "?", dist.version if dist else "?", point.value
            )
