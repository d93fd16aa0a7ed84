"""Participants, put in order and frozen: one tuple of steps a phase."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentgateway._host.hooks import hooks_of
from agentgateway.errors import ConfigError
from agentgateway.hookspecs import PHASES
from agentgateway.interfaces import Level

PUBLISHED_ORDER = [
    "timeout",
    "cors",
    "oidc",
    "jwtAuth",
    "basicAuth",
    "apiKey",
    "extAuthz",
    "authorization",
    "mcpAuthentication",
    "retry",
    "localRateLimit",
    "remoteRateLimit",
    "buffer",
    "extProc",
    "transformations",
    "csrf",
    "requestHeaderModifier",
    "responseHeaderModifier",
    "urlRewrite",
    "requestRedirect",
    "delay",
    "directResponse",
    "requestMirror",
    "ai",
    "ai.guards",
    "localRateLimit.tokens",
    "backendTLS",
    "backendTunnel",
    "http",
    "tcp",
    "backendAuth",
    "provider",
    "ai.final",
    "backendAuth.signing",
    "accessLog",
]
"""The order of policies inside one level, as the reference publishes it (its sections 8 and 2.5)."""

LEVELS: tuple[Level, ...] = ("gateway", "route", "backend")


class Step(NamedTuple):
    """One participant's hook: the function, whether it must be awaited, and its name for the log."""

    call: Callable[..., Any]
    awaits: bool
    name: str


Steps = tuple[Step, ...]


class Origin(NamedTuple):
    """A participant of a phase, and the key and line of the file that put it there."""

    phase: str
    name: str
    at: str
    line: int | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A participant with all that orders it, and where in the file it came from."""

    hooks: object
    slot: str
    level: Level
    at: str
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    depth: int = 0
    line: int | None = None
    reads_calls: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """What is left of a route's policies at request time. `inline` says that nothing in it needs a task."""

    accept: Steps = ()
    authn: Steps = ()
    authz: Steps = ()
    pre_request: Steps = ()
    route: Steps = ()
    upstream: Steps = ()
    post_response: Steps = ()
    log: Steps = ()
    admission: Steps = field(init=False)
    """`accept`, `authn` and `authz` in a row."""
    inline: bool = True
    log_awaits: bool = False
    decides: bool = False
    """Whether anything may happen before a route is chosen; false for most listeners."""
    origins: tuple[Origin, ...] = ()
    """Who takes part where, and why; for `explain`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "admission", (*self.accept, *self.authn, *self.authz))


def log_of(chain: Chain) -> Chain:
    """Its log phase alone."""
    return Chain(log=chain.log, log_awaits=chain.log_awaits, inline=not chain.log_awaits)


def compile_chain(participants: Iterable[Placed], *, skip: frozenset[str] = frozenset()) -> Chain:
    """Order participants and freeze their hooks; phases in `skip` stay empty (they ran before routing).

    Raises `ConfigError` for a hook that has the wrong form.
    """
    ordered = [(placed, hooks_of(placed.hooks, placed.slot, placed.at)) for placed in order(participants)]
    for placed, _ in ordered:
        unshare(placed.hooks)
    phases: dict[str, Steps] = {}
    origins: list[Origin] = []
    for phase in PHASES:
        found = [(placed, hooks[phase]) for placed, hooks in ordered if phase in hooks and phase not in skip]
        found = found[::-1] if phase == "post_response" else found
        phases[phase] = tuple(Step(getattr(placed.hooks, phase), awaits, placed.slot) for placed, awaits in found)
        origins.extend(Origin(phase, placed.slot, placed.at, placed.line) for placed, _ in found)
    inline = not any(step.awaits for steps in phases.values() for step in steps)
    decides = any(phases[phase] for phase in PHASES[:4])
    log_awaits = any(step.awaits for step in phases["log"])
    return Chain(**phases, inline=inline, log_awaits=log_awaits, decides=decides, origins=tuple(origins))


def unshare(participant: object) -> None:
    """Give a participant's attributes a table of their own. Whoever looks at an object's `__dict__`, as the search for
    hooks does, leaves it with one that shares its keys with others of the class, for which CPython 3.11 has no fast
    way to read an attribute."""
    with suppress(AttributeError, TypeError):  # of what has none, or one that stays
        participant.__dict__ = dict(participant.__dict__)


def order(participants: Iterable[Placed]) -> list[Placed]:
    """Gateway, listener, route, backend; inside a level the published order, then `after`/`before`, then the file's."""
    by_level: dict[tuple[int, int], list[Placed]] = {}
    for placed in participants:
        by_level.setdefault((LEVELS.index(placed.level), placed.depth), []).append(placed)
    return [placed for key in sorted(by_level) for placed in _inside_level(by_level[key])]


def _inside_level(members: Sequence[Placed]) -> Iterator[Placed]:
    rank = {name: index for index, name in enumerate(PUBLISHED_ORDER)}
    known = sorted((p for p in members if p.slot in rank), key=lambda p: rank[p.slot])
    result = list(known)
    for placed in (p for p in members if p.slot not in rank):
        result.insert(_position(placed, result), placed)
    return iter(result)


def _position(placed: Placed, ordered: Sequence[Placed]) -> int:
    first_before = next((i for i, p in enumerate(ordered) if p.slot in placed.before), len(ordered))
    last_after = max((i + 1 for i, p in enumerate(ordered) if p.slot in placed.after), default=0)
    if last_after > first_before:
        raise ConfigError(f"cannot stand both after {placed.after} and before {placed.before}", path=placed.at)
    return first_before if placed.before else (last_after if placed.after else len(ordered))
