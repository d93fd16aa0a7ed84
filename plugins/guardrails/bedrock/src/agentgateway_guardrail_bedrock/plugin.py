"""The guard itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from agentgateway_auth_aws.config import AwsConfig
from agentgateway_auth_aws.plugin import AwsCredential

from agentgateway.errors import ConfigError, GuardFailed
from agentgateway.exchange import Exchange, Headers, Outgoing
from agentgateway.interfaces import PASS, Guard, Host, Segment, Verdict
from agentgateway.settings import Secret
from agentgateway_guardrail_bedrock.api import Finding, finding, pieces, question, questions
from agentgateway_guardrail_bedrock.config import BedrockGuardConfig

if TYPE_CHECKING:
    import httpx

KEY = "AWS_BEARER_TOKEN_BEDROCK"
SERVICE = "bedrock"
"""What signatures are for: not the name in the host."""


class BedrockGuard(Guard):
    """Masks or refuses what a guardrail of Amazon Bedrock finds."""

    Config = BedrockGuardConfig
    stream = "hold-all"

    def __init__(self, config: BedrockGuardConfig, host: Host) -> None:
        super().__init__(config, host)
        self.scopes = frozenset(config.scope)
        suffix = "amazonaws.com.cn" if config.region.startswith("cn-") else "amazonaws.com"
        self._url = config.endpoint or f"https://bedrock-runtime.{config.region}.{suffix}"
        named = quote(config.guardrail_identifier, safe="")
        self._target = f"/guardrail/{named}/version/{config.guardrail_version}/apply"
        self._key = key_of(config, host)
        self._aws = None if self._key else AwsCredential(aws_of(config), host)
        self._client: httpx.AsyncClient | None = None

    async def start(self) -> None:
        from agentgateway_guardrail_bedrock import asking  # httpx takes 100 ms, before the first request

        if self._aws is not None:
            await self._aws.start()
        self._ask = asking.answered
        self._client = self.host.client()

    async def stop(self) -> None:
        if self._aws is not None:
            await self._aws.stop()

    async def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        """Raises `GuardFailed` when Bedrock gives no answer about a text, or one that is malformed."""
        cut = [list(pieces(segment.text)) for segment in segments]
        unseen = dict.fromkeys(piece for each in cut for piece in each if piece.strip())
        shown: dict[str, str] = {}
        failure: GuardFailed | None = None
        for texts in questions(unseen):
            try:
                found = await self._found(texts, exchange)
            except GuardFailed as error:
                failure = error  # what another question finds must not pass because the guard fails open
                continue
            if found.refused:
                return Verdict(rejected=True, reason=found.refused)
            shown.update(zip(texts, found.texts, strict=True))
        if failure is not None:
            raise failure
        return masked(segments, ["".join(shown.get(piece, piece) for piece in each) for each in cut])

    async def _found(self, texts: Sequence[str], exchange: Exchange) -> Finding:
        if self._client is None:
            raise GuardFailed(detail="the guard was not started")
        body = question(texts, self.phase)
        fields = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        fields.append((b"accept-encoding", b"identity"))  # so that the limit of an answer is what is held
        outgoing = Outgoing("POST", self._url, self._target, Headers(fields), body, scope=(SERVICE, self.config.region))
        if self._aws is not None:
            await self._aws.sign(outgoing, exchange)
        elif self._key is not None:
            outgoing.headers.set("authorization", f"Bearer {self._key.reveal()}")
        return finding(await self._ask(self._client, outgoing, body), texts)


def masked(segments: Sequence[Segment], texts: Sequence[str]) -> Verdict:
    masks = {
        index: text for index, (segment, text) in enumerate(zip(segments, texts, strict=True)) if text != segment.text
    }
    return Verdict(masks) if masks else PASS


def aws_of(config: BedrockGuardConfig) -> AwsConfig:
    """The configured credentials; those of this machine when nothing is said."""
    found = config.policies.backend_auth.aws if config.policies is not None else None
    return found if found is not None else AwsConfig()


def key_of(config: BedrockGuardConfig, host: Host) -> Secret | None:
    """The configured API key, or the environment's. Raises `ConfigError` for one no header can hold."""
    if config.policies is not None:
        key = config.policies.backend_auth.key
    else:
        found = host.environment(KEY)
        key = Secret(found) if found else None
    if key is not None:
        text = key.reveal()
        if not text.isascii() or not text.isprintable() or text != text.strip():
            raise ConfigError("the key cannot stand in a header", path=host.at, hint="is there a blank in it?")
    return key
