"""Which scopes are asked for (specification 2026-07-28, "Scope Selection Strategy" and "Scope Challenge Handling")."""

from __future__ import annotations

from agentgateway_mcp_oauth.demand import Demand
from agentgateway_mcp_oauth.protected import Protected

OFFLINE = "offline_access"
STEPS = 3
"""How often more is asked for on top of what a login was for."""

Scopes = tuple[str, ...]


def first(demand: Demand, protected: Protected, configured: Scopes | None) -> Scopes:
    """Those of a login: what the server asks for, else all that it has; empty: none are named. Whoever gives out
    refresh tokens for a scope is asked for it, too."""
    wanted = demand.scope if demand.scope is not None else protected.scopes
    chosen = configured if configured is not None else wanted or ()
    if chosen and OFFLINE in protected.server_scopes and configured is None:
        chosen = (*chosen, OFFLINE)
    return tuple(dict.fromkeys(chosen))


def more(demand: Demand, before: Scopes, steps: int) -> Scopes | None:
    """Those of a login for more: what was asked for, and what is missing. None when that is no more, or too often."""
    together = tuple(dict.fromkeys((*before, *(demand.scope or ()))))
    return together if len(together) > len(before) and steps < STEPS else None
