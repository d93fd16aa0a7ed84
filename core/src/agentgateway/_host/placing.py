"""From the policies of a file to participants in their places: which of several wins, and who comes last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from agentgateway._host.chains import Chain, Placed, Steps, compile_chain
from agentgateway._host.drafts import policies_of
from agentgateway._host.host import located
from agentgateway._host.load import Document, dotted
from agentgateway._host.parts import Parts
from agentgateway.errors import ConfigError
from agentgateway.hookspecs import PHASES
from agentgateway.interfaces import Layer, Level, Policy

KeyPath = tuple[str | int, ...]


class Placing:
    """The policies of one configuration. What is wrong with one is added to `errors`."""

    def __init__(self, document: Document, parts: Parts, errors: list[ConfigError]) -> None:
        self._document = document
        self._parts = parts
        self._errors = errors
        self._policies: dict[tuple[str, KeyPath, int, Level], Policy | None] = {}

    def placed(self, layers: Sequence[Layer]) -> Iterator[Placed]:
        """Participants of layers, outermost first; the most specific policy of a kind wins unless kinds compose."""
        winners: dict[str, int] = {}
        for depth, layer in enumerate(layers):
            for name in layer.policies:
                winners[name] = depth
        for depth, layer in enumerate(layers):
            for name, path in policies_of(layer).items():
                policy = self.policy(name, layer.policies[name], path, layer.level)
                if policy is None or not (policy.composes or winners[name] == depth):
                    continue
                for part in policy.participants():
                    slot = part.slot or name
                    after, before = policy.after, policy.before
                    line = self._document.line(path)
                    yield Placed(
                        part.hooks, slot, layer.level, dotted(path), after, before, depth, line, policy.reads_calls
                    )

    def policy(self, name: str, raw: Any, path: KeyPath, level: Level) -> Policy | None:
        """The policy at that place, None if it is wrong. Looked at once, however many routes it stands above."""
        place = (name, path, id(raw), level)
        if place not in self._policies:
            self._policies[place] = self._read_policy(name, raw, path, level)
        return self._policies[place]

    def _read_policy(self, name: str, raw: Any, path: KeyPath, level: Level) -> Policy | None:
        try:
            policy: Policy = self._parts.at("agentgateway.policies", name, raw, path, level)
        except ConfigError as error:
            self._errors.extend(located(one, self._document, path) for one in getattr(error, "errors", [error]))
            return None
        if level not in policy.levels:
            where = " or ".join(sorted(policy.levels))
            self._errors.append(
                self._document.error(path, f"`{name}` cannot stand on a {level}", f"put it on a {where}")
            )
        return policy


class Early:
    """What runs before a route is chosen, on every request of a listener."""

    PHASES = PHASES[:4]

    def __init__(self, placed: Sequence[Placed]) -> None:
        self.placed = placed
        self.chain = compile_chain(placed)
        self._ran = {id(one.hooks) for one in placed}
        self._told = {(origin.phase, origin.at) for origin in self.chain.origins if origin.phase in self.PHASES}

    def taken_from(self, chain: Chain) -> Chain:
        """A route's chain without what has run by then."""
        return replace(
            chain,
            accept=self._rest(chain.accept),
            authn=self._rest(chain.authn),
            authz=self._rest(chain.authz),
            pre_request=self._rest(chain.pre_request),
            origins=tuple(origin for origin in chain.origins if (origin.phase, origin.at) not in self._told),
        )

    def _rest(self, steps: Steps) -> Steps:
        return tuple(step for step in steps if id(getattr(step.call, "__self__", None)) not in self._ran)


AROUND = ("authz", "pre_request", "post_response")
"""Phases that a target's own participants take part in, besides `upstream`."""
LAST = ("provider", "ai.final", "backendAuth.signing")


def last_come_last(placed: Sequence[Placed]) -> list[Placed]:
    """Whatever level they stand on: the provider after every edit, what edits its document after
    it, and signatures after that."""
    deepest = max((one.depth for one in placed), default=0) + 1
    return [
        replace(one, level="backend", depth=deepest + LAST.index(one.slot)) if one.slot in LAST else one
        for one in placed
    ]
