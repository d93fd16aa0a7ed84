"""The configuration of the backend `ai`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from agentgateway.settings import PluginConfig, problem

_PORT = re.compile(r"(?:https?://)?(?:[^:/\[]+|\[[^\]]*\]):(\d+)")


class Address(PluginConfig):
    """Where a provider is, when not at its vendor's own address."""

    name: str | None = None
    """For logs and metrics."""
    host_override: str | None = Field(
        None, pattern=r"^([\w.\-]+|\[[\w:.]+\])(:\d{1,5})?$", examples=["models.internal:8000"]
    )
    """`host:port` to send to instead of the vendor's; plain HTTP unless the port is 443 or `backendTLS` says more."""
    path_prefix: str | None = Field(None, pattern="^/", examples=["/v1"])
    """Replaces the vendor's base path (`/v1`)."""
    path_override: str | None = Field(None, pattern="^/", examples=["/v1/chat/completions"])
    """Replaces the whole path."""
    base_url: str | None = Field(
        None,
        pattern=r"^https?://([\w.\-]+|\[[\w:.]+\])(:\d{1,5})?(/[^\s?#]*)?$",
        examples=["https://models.internal/v1"],
    )
    """Scheme, host and base path at once."""

    passthrough: Literal["detect", "opaque"] | None = None
    """Take calls as they are, in any format and to any path, as long as they name a model: `detect` looks at replies
    for what they cost, `opaque` at nothing."""

    @field_validator("host_override", "base_url")
    @classmethod
    def _a_port(cls, value: str | None) -> str | None:
        port = _PORT.match(value) if value else None
        if port is not None and not 0 < int(port[1]) < 65536:
            raise problem("there is no such port", "ports are 1 to 65535")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> Address:
        if self.base_url and (self.host_override or self.path_prefix):
            raise ValueError("`baseUrl` excludes `hostOverride` and `pathPrefix`")
        if self.path_override and self.path_prefix:
            raise ValueError("`pathOverride` excludes `pathPrefix`")
        return self


Vendor = Annotated[
    dict[str, Any],
    Field(min_length=1, max_length=1, json_schema_extra={"x-kinds": "agentgateway.providers"}),
]


class ProviderEntry(Address):
    """One provider of a group."""

    provider: Vendor
    """The vendor and its settings: `openAI: {model: gpt-5}`."""
    weight: int = Field(1, ge=0)
    """The share of requests inside its group."""
    policies: dict[str, Any] = {}
    """Policies of this provider alone."""


class Group(PluginConfig):
    """Providers of one priority."""

    providers: list[ProviderEntry] = Field(min_length=1)
    """Alternatives, chosen by weight."""


class AiConfig(Address):
    """A provider, or groups of providers in order of priority."""

    provider: Vendor | None = None
    """The vendor and its settings: `openAI: {model: gpt-5}`."""
    groups: list[Group] = []
    """Groups in order of priority: a later one is used when every provider before it has failed the request."""
    resources: list[str] = []
    """What the provider keeps for its account that clients may get at: `files`, `batches`, `stored_responses`."""

    @model_validator(mode="after")
    def _one_or_groups(self) -> AiConfig:
        if bool(self.provider) == bool(self.groups):
            raise ValueError("either `provider` or `groups`")
        return self
