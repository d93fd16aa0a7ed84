"""Where an exchange goes, and how often it is tried: what the route phase chooses from, and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentgateway.health import Health, HealthRule

if TYPE_CHECKING:
    from agentgateway.exchange import Content, Exchange
    from agentgateway.expressions import Expression
    from agentgateway.interfaces import Backend


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What the route phase chose. `endpoint` is `host:port` for people, `backend` does the sending, `facts` are its
    own; a `priority` is used when every lower one has failed or is evicted; `health` is shared by all routes that lead
    here.

    The compiled participants that belong to this target alone: `admits` (authz) say whether an exchange may come here,
    `edits` (pre_request) work on a copy of the call, `steps` are its upstream phase, `returns` its post_response.
    `when` is the condition under which it may be chosen at all. `members` are the targets of a backend that asks
    several of them for one request (`Backend.gathers`), for which this one stands.
    """

    backend: Backend
    name: str
    endpoint: str = ""
    provider: str = ""
    model: str | None = None
    weight: int = 1
    priority: int = 0
    facts: Any = None
    steps: tuple[Any, ...] = ()
    admits: tuple[Any, ...] = ()
    edits: tuple[Any, ...] = ()
    returns: tuple[Any, ...] = ()
    when: Expression | None = None
    health: Health = field(default_factory=Health)
    members: tuple[Target, ...] = ()


@dataclass(slots=True)
class Attempt:
    """The tries of one exchange: how many so far, and the targets that already failed it.

    `others` says that another target could be asked if this one fails, `watched` that the outcome is counted in the
    target's health, by `rule` if its policy `health` gave one; `affinity` is the key of `sessionAffinity`.
    """

    number: int = 0
    failed: list[Target] = field(default_factory=list)
    others: bool = False
    watched: bool = False
    rule: HealthRule | None = None
    affinity: str | None = None
    call: Content | None = None
    """The call before a target's own edits, once a target has any."""
    under_way: Health | None = None
    """Where this attempt is counted as in flight, until the exchange ends or the next attempt begins."""

    def take(self, health: Health) -> None:
        """Count the attempt as in flight there, and no longer where the one before it was."""
        self.release()
        health.in_flight += 1
        self.under_way = health

    def release(self) -> None:
        if self.under_way is not None:
            self.under_way.in_flight -= 1
            self.under_way = None


@dataclass(frozen=True, slots=True)
class RetryRule:
    """`retry` of the configuration, compiled: how often to try again, on what, and how long to wait (seconds).

    `repeats` are the statuses of failures after which even a request that may have been executed is sent again.
    """

    attempts: int = 1
    backoff: float = 0.0
    codes: frozenset[int] = frozenset()
    allows: Callable[[Exchange], bool] | None = None
    repeats: frozenset[int] = frozenset()
