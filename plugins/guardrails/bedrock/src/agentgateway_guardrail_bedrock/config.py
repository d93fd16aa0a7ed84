"""The configuration of the guard `bedrockGuardrails`."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from agentgateway_auth_aws.config import AwsConfig
from pydantic import AfterValidator, Field, model_validator

from agentgateway.settings import PluginConfig, Scope, Secret, problem

HINT = "write https://host[:port]"


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem("not an endpoint", HINT) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not text.isascii() or not text.isprintable():
        raise problem("not an endpoint", HINT)
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment or " " in text:
        raise problem("an endpoint is a host alone", HINT)
    return text.rstrip("/")


class BackendAuth(PluginConfig):
    """The credential: either `aws` or `key`."""

    aws: AwsConfig | None = None
    """AWS credentials that questions are signed with: keys, a role, or with `{}` those that AWS's own tools find."""
    key: Secret | None = None
    """A Bedrock API key: text, or `{file: …}`."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.aws is None) == (self.key is None):
            raise problem("expected exactly one of aws, key", "write `aws: {}` for the credentials of this machine")
        return self


class Policies(PluginConfig):
    """Of the calls to Bedrock."""

    backend_auth: BackendAuth
    """The credential."""


class BedrockGuardConfig(PluginConfig):
    """`bedrockGuardrails` in an entry of `promptGuard.request` or `promptGuard.response`."""

    guardrail_identifier: str = Field(
        pattern=r"^([a-z0-9]{1,64}|arn:aws[\w-]*:bedrock:[a-z0-9-]+:\d{12}:guardrail/[a-z0-9]+)$"
    )
    """The guardrail's id or ARN."""
    guardrail_version: str = Field(pattern="^([1-9][0-9]{0,7}|DRAFT)$")
    """Its version: a number, or `DRAFT`."""
    region: str = Field(pattern="^[a-z0-9-]{1,40}$")
    """The AWS region whose endpoint is asked, such as `us-east-1`."""
    scope: list[Scope] = Field(["systemPrompt", "messages"], min_length=1)
    """Which texts are looked at."""
    endpoint: Annotated[str, AfterValidator(_url)] | None = None
    """Another endpoint than the region's own, such as one inside a VPC: a URL without a path."""
    policies: Policies | None = None
    """`backendAuth: {aws: …}` or `backendAuth: {key: …}`; else the key is `AWS_BEARER_TOKEN_BEDROCK` of the
    environment, else the credentials are those that AWS's own tools find."""
