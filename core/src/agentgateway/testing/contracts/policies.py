"""The suite for policies."""

from __future__ import annotations

import inspect
from typing import ClassVar

from agentgateway.hookspecs import PHASES
from agentgateway.interfaces import (
    Level,
    Policy,
)
from agentgateway.testing.contracts.plugin import PluginContract


class PolicyContract(PluginContract):
    group = "agentgateway.policies"
    interface = Policy
    levels: ClassVar[tuple[Level, ...]] = ("route",)

    def test_it_takes_part_in_at_least_one_phase_and_only_in_known_ones(self) -> None:
        parts = list(self.build().participants())
        assert parts
        for part in parts:
            hooks = [name for name in dir(part.hooks) if hasattr(getattr(part.hooks, name), "agentgateway_impl")]
            assert hooks and set(hooks) <= set(PHASES), hooks

    def test_its_hooks_take_the_exchange_and_nothing_else(self) -> None:
        for part in self.build().participants():
            for name in PHASES:
                hook = getattr(part.hooks, name, None)
                if hook is not None:
                    assert list(inspect.signature(hook).parameters) == ["exchange"]

    def test_it_may_stand_where_it_says(self) -> None:
        assert set(self.levels) <= self.build().levels

    async def test_it_starts_and_stops(self) -> None:
        policy = self.build()
        await policy.start()
        await policy.stop()
