"""The provider `bedrock`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic_core import from_json

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Host, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway_bedrock import embeddings, rerank
from agentgateway_bedrock.config import BedrockConfig
from agentgateway_bedrock.invoked_messages import InvokedMessages
from agentgateway_bedrock.thinking import family

SERVICE = "bedrock"
"""What signatures are for: not the name in the host."""
BETA = "anthropic-beta"
METADATA = "x-bedrock-metadata"
INVOKED_METADATA = "x-amzn-bedrock-request-metadata"
GUARDRAIL = ("x-amzn-bedrock-guardrailidentifier", "x-amzn-bedrock-guardrailversion")
"""Where InvokeModel has what Converse has in the body."""
SPOKEN: Mapping[str, Sequence[str]] = {
    "chat": ("converse",),
    "count_tokens": ("converseTokenCount",),
    "embeddings": ("bedrock_titan", "bedrock_cohere"),
    "rerank": ("bedrock_rerank",),
}
"""Dialects by operation."""
UNGUARDED = frozenset(("count_tokens", "embeddings", "rerank"))
"""Operations that Bedrock's guardrails have no part in. Any other gets the operator's, what nobody reads too."""


class Bedrock(Provider):
    """Amazon Bedrock (https://docs.aws.amazon.com/bedrock/): Converse and ConverseStream, embeddings by
    InvokeModel, and Rerank, with AWS credentials or a Bedrock API key."""

    Config = BedrockConfig
    system = "aws.bedrock"
    key_variable: ClassVar[str | None] = "AWS_BEARER_TOKEN_BEDROCK"
    credential = ("aws", {})
    params: ClassVar[Mapping[str, str]] = {"awsRegion": "region"}
    unwanted = frozenset(
        (
            *(b"anthropic-version", b"anthropic-dangerous-direct-browser-access"),
            *(b"openai-organization", b"openai-project", b"openai-beta"),
            *(b"conversation_id", b"session_id"),
        )
    )

    def __init__(self, config: BedrockConfig, host: Host) -> None:
        super().__init__(config, host)
        suffix = "amazonaws.com.cn" if config.region.startswith("cn-") else "amazonaws.com"
        self.url = f"https://bedrock-runtime.{config.region}.{suffix}"
        self._agents_url = f"https://bedrock-agent-runtime.{config.region}.{suffix}"
        self._scope = (SERVICE, config.region)
        self._guardrail = {
            "guardrailIdentifier": config.guardrail_identifier,
            "guardrailVersion": config.guardrail_version,
        }

    def dialects(self, operation: str) -> Sequence[str]:
        return SPOKEN.get(operation, ())

    def speaks(self, operation: str, model: str) -> Sequence[str]:
        """Tokens are counted for Claude only; embedding models have words of their own."""
        if operation == "embeddings":
            return embeddings.speaks(model)
        return () if operation == "count_tokens" and family(model) != "claude" else self.dialects(operation)

    def path(self, call: LlmCall) -> str:
        return call.dialect.path(call.model, stream=call.stream)

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """The operator's guardrail goes into the call, whatever guardrail the client named. So does what clients say in
        headers and this vendor reads in the body."""
        outgoing.scope = self._scope
        outgoing.headers.set("accept", call.dialect.stream_content_type if call.stream else "application/json")
        if call.operation in UNGUARDED:
            self._finish_other(outgoing, call)
            return
        if call.dialect.name == InvokedMessages.name:
            self._finish_invoked(outgoing)
            return
        if self.config.guardrail_identifier is not None:
            call.edit()["guardrailConfig"] = dict(self._guardrail)
        if (betas := outgoing.headers.get(BETA)) is not None:
            outgoing.headers.remove(BETA)
            ask_for_betas(call, betas)
        if (metadata := outgoing.headers.get(METADATA)) is not None:
            outgoing.headers.remove(METADATA)
            add_metadata(call, metadata)

    def _finish_invoked(self, outgoing: Outgoing) -> None:
        """A call of InvokeModel that passes as it came: headers have what Converse has in the body."""
        outgoing.headers.remove(BETA)
        for name, value in zip(GUARDRAIL, self._guardrail.values(), strict=True):
            if value is not None:
                outgoing.headers.set(name, value)
        if (metadata := outgoing.headers.get(METADATA)) is not None:
            outgoing.headers.remove(METADATA)
            read_metadata(metadata)
            outgoing.headers.set(INVOKED_METADATA, metadata)

    def _finish_other(self, outgoing: Outgoing, call: LlmCall) -> None:
        """Reranking is another service's, at an address of its own unless the file names one, and wants an ARN."""
        outgoing.headers.remove(BETA)
        metadata = outgoing.headers.get(METADATA)
        outgoing.headers.remove(METADATA)
        if call.dialect.name == "bedrock_rerank":
            call.dialect.write_model(call.edit(), rerank.arn(call.model, self.config.region))
            if outgoing.url == self.url:
                outgoing.url = self._agents_url
        elif metadata is not None and call.operation == "embeddings":
            read_metadata(metadata)
            outgoing.headers.set(INVOKED_METADATA, metadata)


def ask_for_betas(call: LlmCall, betas: str) -> None:
    """Claude's beta features are named in a field of the model's own."""
    if family(call.model) == "claude":
        document = call.edit()
        names = [name for each in betas.split(",") if (name := each.strip())]
        document["additionalModelRequestFields"] = {
            **(document.get("additionalModelRequestFields") or {}),
            "anthropic_beta": names,
        }


def add_metadata(call: LlmCall, text: str) -> None:
    """Raises `InvalidRequest`."""
    document = call.edit()
    document["requestMetadata"] = {**(document.get("requestMetadata") or {}), **read_metadata(text)}


def read_metadata(text: str) -> Mapping[str, str]:
    """Raises `InvalidRequest`."""
    try:
        given: Any = from_json(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or any(not isinstance(value, str) for value in given.values()):
        raise InvalidRequest(f"{METADATA}: expected a JSON object of strings", param=METADATA)
    return given
