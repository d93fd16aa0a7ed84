"""The section `llm`: models and providers in a few lines, lowered to one gateway and one route a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from agentgateway.errors import ConfigError
from agentgateway.interfaces import BackendDraft, Layer, Lowered, RouteDraft, Section
from agentgateway.settings import PluginConfig

DEFAULT_PORT = 4000
AI_KEYS = {"defaults": "defaults", "overrides": "overrides", "transformation": "transformations"}
POLICY_KEYS = {
    "requestHeaders": "requestHeaderModifier",
    "responseHeaders": "responseHeaderModifier",
    "guardrails": "promptGuard",
}
BACKEND_KEYS = {"auth": "backendAuth", "tls": "backendTLS"}
ADDRESS = ("hostOverride", "pathOverride", "pathPrefix", "baseUrl")


class Settings(PluginConfig):
    """What a model and a reusable provider have in common."""

    defaults: dict[str, Any] | None = None
    """Top-level keys of a call to set where the client said nothing."""
    overrides: dict[str, Any] | None = None
    """Top-level keys of a call to set whatever the client said."""
    transformation: dict[str, str] | None = None
    """Top-level keys of a call to compute (CEL, `llmRequest` is the original)."""
    request_headers: Any = None
    """Headers to add, set or remove on requests."""
    response_headers: Any = None
    """Headers to add, set or remove on replies."""
    auth: Any = None
    """`backendAuth` of the provider."""
    tls: Any = None
    """`backendTLS` of the provider."""


class Params(PluginConfig):
    """How to reach the provider."""

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


class ProviderEntry(Settings):
    """A provider to refer to: `provider: {reference: NAME}`."""

    name: str = Field(min_length=1)
    """What models call it."""
    provider: str | dict[str, Any]
    """The vendor: `openAI`, or `{custom: {...}}`."""
    params: Params = Params()
    """How to reach it."""


class HeaderMatches(PluginConfig):
    headers: list[dict[str, Any]] = []
    """Headers that must match, all of them."""


class ModelEntry(Settings):
    """A model that clients may ask for."""

    id: str | None = None
    """A name for people."""
    name: str = Field(pattern=r"^(\*?[^*]+|[^*]+\*|\*)$")
    """The name, or a pattern with one `*` at its start or end."""
    visibility: Literal["public", "internal"] = "public"
    """Whether listings show it."""
    provider: str | dict[str, Any]
    """The vendor: `openAI`, `{custom: {...}}`, or `{reference: NAME}`."""
    params: Params = Params()
    """How to reach it."""
    matches: list[HeaderMatches] = []
    """Only requests with these headers."""
    guardrails: Any = None
    """Guards of this model, besides those of `llm.policies`."""
    authorization: Any = None
    """Rules of this model, besides those of `llm.policies`."""


class LlmConfig(PluginConfig):
    """Model traffic in a few lines."""

    gateways: str | list[str] | None = None
    """The gateways to attach to; a gateway of its own when absent."""
    port: int | None = Field(None, ge=0, le=65535, json_schema_extra={"deprecated": True})
    """The port of its own gateway (4000)."""
    tls: Any = Field(None, json_schema_extra={"deprecated": True})
    """Certificates of its own gateway."""
    providers: list[ProviderEntry] = []
    """Providers that several models share."""
    models: list[ModelEntry]
    """What clients may ask for."""
    policies: dict[str, Any] = Field({}, json_schema_extra={"x-aliases": dict(POLICY_KEYS)})
    """Policies of every model; `guardrails` are guards."""


class LlmSection(Section):
    """Lowers `llm` to routes that match a model's name."""

    Config = LlmConfig

    def lower(self, config: LlmConfig, gateways: frozenset[str]) -> Lowered:
        lowered = Lowered()
        if config.gateways is None:
            fields: dict[str, Any] = {"port": DEFAULT_PORT if config.port is None else config.port}
            lowered.gateways["llm"] = {**fields, "tls": config.tls} if config.tls is not None else fields
            attached = ["llm"]
        else:
            attached = [config.gateways] if isinstance(config.gateways, str) else config.gateways
        at = ("llm", "policies")
        policies, paths = renamed(config.policies, at, POLICY_KEYS)
        shared = Layer(at, policies, paths=paths)
        providers = {one.name: (index, one) for index, one in enumerate(config.providers)}
        for index, model in enumerate(config.models):
            lowered.routes.append(_model(index, model, attached, shared, providers))
        names = list(dict.fromkeys(model.name for model in config.models if model.visibility == "public"))
        listing = BackendDraft(("llm", "models"), "models", {"names": names})
        lowered.routes.append(RouteDraft(("llm",), "llm", attached, layers=[shared], backends=[listing]))
        return lowered


def _model(
    index: int,
    model: ModelEntry,
    gateways: list[str],
    shared: Layer,
    providers: Mapping[str, tuple[int, ProviderEntry]],
) -> RouteDraft:
    at = ("llm", "models", index)
    settings: list[tuple[tuple[str | int, ...], Settings]] = [(at, model)]
    params, vendor = model.params, model.provider
    if isinstance(vendor, dict) and set(vendor) == {"reference"}:
        found = providers.get(vendor["reference"])
        if found is None:
            known = ", ".join(providers) or "there are none"
            message = "no provider of that name in `llm.providers`"
            raise ConfigError(message, path=f"llm.models[{index}].provider.reference", hint=f"providers: {known}")
        settings.insert(0, (("llm", "providers", found[0]), found[1]))
        vendor = found[1].provider
        params = Params(**{**found[1].params.model_dump(exclude_none=True), **params.model_dump(exclude_none=True)})
    backend = BackendDraft(at, "ai", _backend(vendor, params))
    layers = [shared]
    for where, one in settings:
        layers.append(_layer(where, one))
        backend.layers.append(_backend_layer(where, one))
    matches = [{"model": model.name, "headers": match.headers} for match in model.matches] or [{"model": model.name}]
    return RouteDraft(at, "llm", gateways, (), matches, layers, [backend], rule=model.id or model.name)


def _backend(vendor: str | dict[str, Any], params: Params) -> dict[str, Any]:
    kind, settings = (vendor, {}) if isinstance(vendor, str) else next(iter(vendor.items()))
    settings = dict(settings or {})
    if params.model is not None:
        settings["model"] = params.model
    said = params.model_dump(by_alias=True, exclude_none=True)
    return {"provider": {kind: settings}, **{key: said[key] for key in ADDRESS if key in said}}


def _layer(at: tuple[str | int, ...], said: Settings) -> Layer:
    raw = said.model_dump(by_alias=True, exclude_none=True)
    policies, paths = renamed({key: raw[key] for key in (*POLICY_KEYS, "authorization") if key in raw}, at, POLICY_KEYS)
    shape = {AI_KEYS[key]: raw[key] for key in AI_KEYS if key in raw}
    if shape:
        policies["ai"] = shape
        paths["ai"] = at
    return Layer(at, policies, paths=paths)


def _backend_layer(at: tuple[str | int, ...], said: Settings) -> Layer:
    raw = said.model_dump(by_alias=True, exclude_none=True)
    policies, paths = renamed({key: raw[key] for key in BACKEND_KEYS if key in raw}, at, BACKEND_KEYS)
    key = raw.get("params", {}).get("apiKey")
    if key is not None:
        policies = {BACKEND_KEYS["auth"]: {"key": key}, **policies}
        paths = {BACKEND_KEYS["auth"]: (*at, "params", "apiKey"), **paths}
    return Layer(at, policies, "backend", paths)


def renamed(
    said: Mapping[str, Any], at: tuple[str | int, ...], names: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, tuple[str | int, ...]]]:
    """Policies by their own names, and where the file has them."""
    policies = {names.get(key, key): value for key, value in said.items()}
    paths = {names.get(key, key): (*at, key) for key in said}
    return policies, paths
