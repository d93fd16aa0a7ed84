"""The guard itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentgateway.errors import ConfigError, GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.interfaces import PASS, Guard, Host, Segment, Verdict
from agentgateway.settings import Secret
from agentgateway_guardrail_openai_moderation.api import pieces
from agentgateway_guardrail_openai_moderation.config import OpenAIModerationConfig

if TYPE_CHECKING:
    from agentgateway_guardrail_openai_moderation.asking import Moderations

KEY = "OPENAI_API_KEY"


class OpenAIModerationGuard(Guard):
    """Refuses what OpenAI's moderation flags."""

    Config = OpenAIModerationConfig
    stream = "hold-all"
    masks = False

    def __init__(self, config: OpenAIModerationConfig, host: Host) -> None:
        super().__init__(config, host)
        self.scopes = frozenset(config.scope)
        self._key = key_of(config, host)
        self._moderations: Moderations | None = None

    async def start(self) -> None:
        asking = await asyncio.to_thread(_asking)
        self._moderations = asking(self.host.client(), self.config.base_url, self._key, self.config.model)

    async def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        """Raises `GuardFailed` when OpenAI gives no answer about a text, or one that is malformed."""
        if self._moderations is None:
            raise GuardFailed(detail="the guard was not started")
        texts = list(dict.fromkeys(piece for segment in segments for piece in pieces(segment.text)))
        found = await self._moderations.first_found(texts)
        return Verdict(rejected=True, reason=found) if found else PASS


def _asking() -> type[Moderations]:
    """What asks, with the package `openai`: a second of CPU, better spent before the first request."""
    from agentgateway_guardrail_openai_moderation.asking import Moderations

    return Moderations


def key_of(config: OpenAIModerationConfig, host: Host) -> Secret:
    """The configured key, or the environment's. Raises `ConfigError` when there is none, or one no header can hold."""
    if config.policies is not None:
        key = config.policies.backend_auth.key
    elif found := host.environment(KEY):
        key = Secret(found)
    else:
        hint = f"write `policies: {{backendAuth: {{key: …}}}}`, or set {KEY}"
        raise ConfigError("there is no key for OpenAI", path=host.at, hint=hint)
    text = key.reveal()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigError("the key cannot stand in a header", path=host.at, hint="is there a blank in it?")
    return key
