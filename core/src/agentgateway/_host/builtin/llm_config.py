"""The configuration of the section `llm`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from agentgateway._host.builtin.outbound import PromptCaching
from agentgateway.settings import CelText, PluginConfig, problem

POLICY_KEYS = {
    "requestHeaders": "requestHeaderModifier",
    "responseHeaders": "responseHeaderModifier",
    "guardrails": "promptGuard",
}
"""What the section calls policies by names of its own."""


class Settings(PluginConfig):
    """What a model and a reusable provider have in common."""

    defaults: dict[str, Any] | None = None
    """Top-level keys of a call to set where the client said nothing."""
    overrides: dict[str, Any] | None = None
    """Top-level keys of a call to set whatever the client said."""
    transformation: dict[str, str] | None = None
    """Top-level keys of a call to compute (CEL, `llmRequest` is the original)."""
    final_transformation: dict[str, str] | None = None
    """Top-level keys of the provider's own document to compute just before it is sent (CEL, it is `llmRequest`)."""
    prompt_caching: PromptCaching | None = None
    """What of a prompt the vendor is asked to keep."""
    request_headers: Any = None
    """Headers to add, set or remove on requests."""
    response_headers: Any = None
    """Headers to add, set or remove on replies."""
    auth: Any = None
    """`backendAuth` of the provider."""
    tls: Any = None
    """`backendTLS` of the provider."""
    backend_tunnel: Any = None
    """`backendTunnel` of the provider."""
    health: Any = None
    """When the provider is left alone for a while."""


class Params(PluginConfig):
    """How to reach the provider. A provider may take more than these (`awsRegion`)."""

    model_config = ConfigDict(extra="allow")

    model: str | None = Field(None, min_length=1)
    """The model to ask for; the client's own word when absent."""
    api_key: Any = None
    """The key, or `{file: path}`; the vendor's usual environment variable when absent."""
    host_override: str | None = None
    """`host:port` in place of the vendor's."""
    path_override: str | None = None
    """The whole path."""
    path_prefix: str | None = None
    """The base path, in place of the vendor's."""
    base_url: str | None = None
    """Scheme, host and base path at once."""


class ProviderEntry(PluginConfig):
    """A provider to refer to: `provider: {reference: NAME}`."""

    name: str = Field(min_length=1)
    """What models call it."""
    provider: str | dict[str, Any]
    """The vendor: `openAI`, or `{custom: {...}}`."""
    params: Params = Params()
    """How to reach it."""
    defaults: Settings = Settings()
    """What its models have in common; a model's own word wins."""


class HeaderMatches(PluginConfig):
    headers: list[dict[str, Any]] = []
    """Headers that must match, all of them."""


class ModelEntry(Settings):
    """A model that clients may ask for."""

    id: str | None = None
    """A name for people."""
    name: str = Field(pattern=r"^(\*?[^*]+|[^*]+\*|\*)$", examples=["gpt-5", "gpt-*", "*-mini", "*"])
    """The name, or a pattern with one `*` at its start or end."""
    visibility: Literal["public", "internal"] = "public"
    """`internal`: clients can neither see it nor ask for it; virtual models can."""
    provider: str | dict[str, Any]
    """The vendor: `openAI`, `{custom: {...}}`, or `{reference: NAME}`."""
    params: Params = Params()
    """How to reach it."""
    matches: list[HeaderMatches] = []
    """Only requests with these headers."""
    resources: list[str] = []
    """What the provider keeps for its account that clients may get at: `files`, `batches`, `stored_responses`."""
    passthrough: Literal["detect", "opaque"] | None = None
    """Take calls as they are, in any format and to any path: `detect` looks at replies for what they cost, `opaque` at
    nothing."""
    guardrails: Any = None
    """Guards of this model, besides those of `llm.policies`."""
    authorization: Any = None
    """Rules of this model, besides those of `llm.policies`."""


class WeightedTarget(PluginConfig):
    model: str = Field(min_length=1)
    """A name of `models`, or one that a pattern there fits."""
    weight: int = Field(1, ge=0)
    """Its share of the requests."""


class FailoverTarget(PluginConfig):
    model: str = Field(min_length=1)
    """A name of `models`, or one that a pattern there fits."""
    priority: int = Field(0, ge=0)
    """Lower ones are asked first."""


class ConditionalTarget(PluginConfig):
    model: str = Field(min_length=1)
    """A name of `models`, or one that a pattern there fits."""
    when: CelText | None = None
    """Asked for when this is true and no target before it was; only the last may leave it out."""


class Weighted(PluginConfig):
    targets: list[WeightedTarget] = Field(min_length=1)
    """Chosen by weight; another one is asked when the chosen one fails."""


class Failover(PluginConfig):
    targets: list[FailoverTarget] = Field(min_length=1)
    """Asked in order of priority, inside one by health and latency; the next one when one fails."""


class Conditional(PluginConfig):
    targets: list[ConditionalTarget] = Field(min_length=1)
    """The first whose condition holds, and no other."""

    @model_validator(mode="after")
    def _last_may_be_open(self) -> Conditional:
        for index, target in enumerate(self.targets[:-1]):
            if target.when is None:
                raise problem(
                    f"only the last target may leave out `when`: those after targets[{index}] are never asked"
                )
        return self


class Routing(PluginConfig):
    """How a target is chosen; exactly one of them."""

    weighted: Weighted | None = None
    """By weight."""
    failover: Failover | None = None
    """By priority."""
    conditional: Conditional | None = None
    """By condition."""

    @model_validator(mode="after")
    def _one_way(self) -> Routing:
        if sum(way is not None for way in (self.weighted, self.failover, self.conditional)) != 1:
            raise problem("expected exactly one of weighted, failover, conditional")
        return self


class VirtualModel(PluginConfig):
    """A name that stands for several models."""

    name: str = Field(pattern=r"^[^*]+$")
    """What clients ask for; no `*` in it."""
    routing: Routing
    """Which model answers."""


class LlmConfig(PluginConfig):
    """Model traffic in a few lines."""

    gateways: str | list[str] | None = None
    """The gateways to attach to. When absent: `default`, if the file has it and neither `port` nor `tls` stands here,
    else a gateway of its own."""
    port: int | None = Field(None, ge=0, le=65535, json_schema_extra={"deprecated": True})
    """The port of its own gateway (4000)."""
    tls: Any = Field(None, json_schema_extra={"deprecated": True})
    """Certificates of its own gateway."""
    providers: list[ProviderEntry] = []
    """Providers that several models share."""
    models: list[ModelEntry] = Field(min_length=1, examples=["- {name: demo, provider: simulator}"])
    """What clients may ask for."""
    virtual_models: list[VirtualModel] = []
    """Names that stand for several of them."""
    policies: dict[str, Any] = Field({}, json_schema_extra={"x-aliases": dict(POLICY_KEYS)})
    """Policies of every model; `guardrails` are guards."""
