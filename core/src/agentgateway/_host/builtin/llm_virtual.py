"""`llm.virtualModels`: one name for several models, lowered to a route with a backend for each of them.

What a model says of itself stands on its backend, so that it holds whichever way a client comes to it: its rules decide
whether the client may come there, its guards and edits work on the call that goes there.
"""

from __future__ import annotations

from agentgateway._host.builtin.llm_config import VirtualModel
from agentgateway._host.builtin.llm_models import Models
from agentgateway.errors import ConfigError
from agentgateway.interfaces import BackendDraft, Choice, RouteDraft


def virtual_route(index: int, virtual: VirtualModel, gateways: list[str], models: Models) -> RouteDraft:
    """Raises ConfigError for a target that no model answers to."""
    at = ("llm", "virtualModels", index)
    choice, drafts = _targets(virtual, f"llm.virtualModels[{index}].routing", models)
    matches = [{"model": virtual.name}]
    return RouteDraft(at, "llm", gateways, (), matches, [models.shared], drafts, rule=virtual.name, choice=choice)


def _targets(virtual: VirtualModel, at: str, models: Models) -> tuple[Choice, list[BackendDraft]]:
    routing = virtual.routing
    if routing.weighted is not None:
        found = [
            _draft(one.model, f"{at}.weighted.targets[{i}].model", models, weight=one.weight)
            for i, one in enumerate(routing.weighted.targets)
        ]
        return "weight", found
    if routing.failover is not None:
        found = [
            _draft(one.model, f"{at}.failover.targets[{i}].model", models, priority=one.priority)
            for i, one in enumerate(routing.failover.targets)
        ]
        return "health", found
    assert routing.conditional is not None
    found = [
        _draft(one.model, f"{at}.conditional.targets[{i}].model", models, when=one.when)
        for i, one in enumerate(routing.conditional.targets)
    ]
    return "first", found


def _draft(
    name: str, at: str, models: Models, *, weight: int = 1, priority: int = 0, when: str | None = None
) -> BackendDraft:
    index = models.find(name)
    if index is None or name == "*":
        raise ConfigError(f"no model answers to `{name}`", path=at, hint="name one of `llm.models`")
    if models.opaque(index):
        hint = "write `passthrough: detect` there"
        raise ConfigError(f"`{name}` is opaque: calls would ask it for the virtual model", path=at, hint=hint)
    layers = [models.policies(index, "backend"), models.backend_layer(index)]
    place = ("llm", "models", index)
    backend = models.backend(index, asked=name)
    return BackendDraft(place, "ai", backend, weight, layers, priority, when, models.paths(index))
