"""Top-level keys of the file, and what they turn into: gateways, routes and backends before they are compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel

from agentgateway.settings import PluginConfig

Level: TypeAlias = Literal["gateway", "route", "backend"]
Choice: TypeAlias = Literal["health", "weight", "first"]
"""By health inside a priority; by weight; or the first that is admitted, in the file's order, and no other."""


class Section:
    """A top-level key of the file that lowers to gateways, routes and backends."""

    Config: ClassVar[type[BaseModel]] = PluginConfig

    def lower(self, config: Any, gateways: frozenset[str]) -> Lowered:
        """The same meaning in the terms of the fixed part; `gateways` are the names the file defines itself.

        Raises `ConfigError`.
        """
        raise NotImplementedError


@dataclass(slots=True)
class Layer:
    """Policies that stand at one place, shared by every route below it. `at` is the place's key path."""

    at: tuple[str | int, ...]
    policies: Mapping[str, Any] = field(default_factory=dict)
    level: Level = "route"
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    """Where a policy stands in the file when that is not `at` plus its name."""


@dataclass(slots=True)
class BackendDraft:
    """One entry of a route's `backends`: a kind, its configuration, and the policies on it."""

    at: tuple[str | int, ...]
    kind: str
    config: Any
    weight: int = 1
    layers: list[Layer] = field(default_factory=list)
    priority: int = 0
    """Added to the priorities of its targets; those of the lowest are used while any of them is well."""
    when: str | None = None
    """The condition (CEL) under which it may be chosen."""
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    """Where keys of `config` stand in the file when that is not below `at`; a key inside another one is `a.b`."""


@dataclass(slots=True)
class RouteDraft:
    """A route before it is compiled. `gateways` are references (`name` or `name/listener`); `matches` as in the file,
    plus `model`, which matches the model a call names; `choice` how one of several backends is chosen."""

    at: tuple[str | int, ...]
    name: str
    gateways: Sequence[str]
    hostnames: Sequence[str] = ()
    matches: Sequence[Any] = ()
    layers: list[Layer] = field(default_factory=list)
    backends: list[BackendDraft] = field(default_factory=list)
    rule: str = ""
    choice: Choice | None = None


@dataclass(slots=True)
class Lowered:
    """What a section turns into. `gateways` maps a name to the fixed part's gateway, as in the file."""

    gateways: dict[str, Any] = field(default_factory=dict)
    routes: list[RouteDraft] = field(default_factory=list)
