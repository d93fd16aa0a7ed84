"""The guard itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from agentgateway.errors import ConfigError, GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.interfaces import PASS, Guard, Host, Segment, Verdict
from agentgateway.settings import Secret
from agentgateway_guardrail_azure_content_safety.api import Operation, analysis, jailbreak
from agentgateway_guardrail_azure_content_safety.config import AzureContentSafetyConfig

if TYPE_CHECKING:
    from agentgateway_guardrail_azure_content_safety.asking import Azure

KEYS = ("AZURE_CONTENT_SAFETY_KEY", "CONTENT_SAFETY_KEY")


class AzureContentSafetyGuard(Guard):
    """Refuses what Azure AI Content Safety finds harmful, and jailbreaks."""

    Config = AzureContentSafetyConfig
    stream = "hold-all"
    masks = False

    def __init__(self, config: AzureContentSafetyConfig, host: Host) -> None:
        super().__init__(config, host)
        if config.detect_jailbreak is not None and self.phase == "response":
            hint = "move it below `request`"
            raise ConfigError(
                "jailbreaks are looked for in requests only", path=f"{host.at}.detectJailbreak", hint=hint
            )
        self._analysis = analysis(config.analyze_text) if config.analyze_text is not None else None
        self._jailbreak = jailbreak(config.detect_jailbreak) if config.detect_jailbreak is not None else None
        self.scopes = frozenset(config.scope)
        self._key = key_of(config, host)
        self._azure: Azure | None = None

    async def start(self) -> None:
        from agentgateway_guardrail_azure_content_safety.asking import Azure  # httpx: 100 ms, before the first request

        self._azure = Azure(self.host.client(), self.config.endpoint, self._key)

    async def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        """Raises `GuardFailed` when Azure gives no answer about a text, or one that is malformed."""
        if self._azure is None:
            raise GuardFailed(detail="the guard was not started")
        found = await self._azure.first_found(dict.fromkeys(self._questions(segments)))
        return Verdict(rejected=True, reason=found) if found else PASS

    def _questions(self, segments: Sequence[Segment]) -> Iterator[tuple[Operation, str]]:
        """What to ask, and about which pieces of the texts. A system prompt is the operator's and no jailbreak."""
        for segment in segments:
            if self._jailbreak is not None and segment.scope != "systemPrompt":
                for piece in self._jailbreak.pieces(segment.text):
                    yield self._jailbreak, piece
            if self._analysis is not None:
                for piece in self._analysis.pieces(segment.text):
                    yield self._analysis, piece


def key_of(config: AzureContentSafetyConfig, host: Host) -> Secret:
    """The configured key, or the environment's. Raises `ConfigError` when there is none, or one no header can hold."""
    if config.policies is not None:
        key = config.policies.backend_auth.key
    else:
        found = next(filter(None, map(host.environment, KEYS)), None)
        if found is None:
            hint = f"write `policies: {{backendAuth: {{key: …}}}}`, or set {KEYS[0]}"
            raise ConfigError("there is no key for Azure", path=host.at, hint=hint)
        key = Secret(found)
    text = key.reveal()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigError("the key cannot stand in a header", path=host.at, hint="is there a blank in it?")
    return key
