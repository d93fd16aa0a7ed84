"""The guard itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentgateway.errors import GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.interfaces import PASS, Guard, Host, Segment, Verdict
from agentgateway_guardrail_model_armor.config import ModelArmorConfig

if TYPE_CHECKING:
    from agentgateway_guardrail_model_armor.asking import ModelArmor


class ModelArmorGuard(Guard):
    """Refuses what a template of Google's Model Armor matches."""

    Config = ModelArmorConfig
    stream = "hold-all"
    masks = False

    def __init__(self, config: ModelArmorConfig, host: Host) -> None:
        super().__init__(config, host)
        self.scopes = frozenset(config.scope)
        self._armor: ModelArmor | None = None

    async def start(self) -> None:
        armor = await asyncio.to_thread(_armor)
        self._armor = armor(self.config, self.phase)

    async def stop(self) -> None:
        if self._armor is not None:
            await self._armor.stop()

    async def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        """Raises `GuardFailed` when Google gives no answer about a text, or one that does not say enough."""
        if self._armor is None:
            raise GuardFailed(detail="the guard was not started")
        found = await self._armor.first_found(segment.text for segment in segments)
        return Verdict(rejected=True, reason=found) if found else PASS


def _armor() -> type[ModelArmor]:
    """What asks, with Google's package and gRPC: a second of CPU, better spent before the first request."""
    from agentgateway_guardrail_model_armor.asking import ModelArmor

    return ModelArmor
