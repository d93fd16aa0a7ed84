"""The configuration of `bedrock`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from agentgateway.settings import PluginConfig


class BedrockConfig(PluginConfig):
    region: str = Field(pattern="^[a-z0-9-]{1,40}$")
    """The AWS region whose endpoint is asked, such as `us-east-1`."""
    model: str | None = Field(default=None, min_length=1, max_length=2048)
    """The model id, inference profile or its ARN to ask for, whatever the client named."""
    guardrail_identifier: str | None = Field(default=None, min_length=1, max_length=2048)
    """The id or ARN of a Bedrock guardrail for every call; replaces one that the client names."""
    guardrail_version: str | None = Field(default=None, pattern="^([1-9][0-9]{0,7}|DRAFT)$")
    """Its version: a number, or `DRAFT`."""

    @model_validator(mode="after")
    def _guardrail_and_version(self) -> Self:
        if (self.guardrail_identifier is None) != (self.guardrail_version is None):
            raise ValueError("`guardrailIdentifier` and `guardrailVersion` go together")
        return self
