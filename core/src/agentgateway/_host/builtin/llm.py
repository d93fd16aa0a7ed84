"""The section `llm`: models and providers in a few lines, lowered to one gateway and one route a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from agentgateway.errors import ConfigError
from agentgateway.interfaces import BackendDraft, Layer, Lowered, RouteDraft, Section
from agentgateway.settings import PluginConfig

KeyPath = tuple[str | int, ...]

DEFAULT_PORT = 4000
AI_KEYS = {"defaults": "defaults", "overrides": "overrides", "transformation": "transformations"}
POLICY_KEYS = {
    "requestHeaders": "requestHeaderModifier",
    "responseHeaders": "responseHeaderModifier",
    "guardrails": "promptGuard",
}
BACKEND_KEYS = {"auth": "backendAuth", "tls": "backendTLS", "backendTunnel": "backendTunnel"}
NAMES = {**POLICY_KEYS, **BACKEND_KEYS}
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
    backend_tunnel: Any = None
    """`backendTunnel` of the provider."""


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
    """The gateways to attach to. When absent: `default`, if the file has it and neither `port` nor `tls` stands here,
    else a gateway of its own."""
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
        if config.gateways is None and config.port is None and config.tls is None and "default" in gateways:
            attached = ["default"]
        elif config.gateways is None:
            fields: dict[str, Any] = {"port": DEFAULT_PORT if config.port is None else config.port}
            lowered.gateways["llm"] = {**fields, "tls": config.tls} if config.tls is not None else fields
            attached = ["llm"]
        else:
            attached = [config.gateways] if isinstance(config.gateways, str) else config.gateways
        at = ("llm", "policies")
        policies, paths = renamed(config.policies, at)
        shared = Layer(at, policies, paths=paths)
        providers = {one.name: (index, one) for index, one in enumerate(config.providers)}
        taken: dict[str, int] = {}
        for index, model in enumerate(config.models):
            if model.name in taken and not model.matches and not config.models[taken[model.name]].matches:
                hint = "give one of them `matches`, or another name"
                message = f"models[{taken[model.name]}] has that name already, so that this one is never asked for"
                raise ConfigError(message, path=f"llm.models[{index}].name", hint=hint)
            taken.setdefault(model.name, index)
            lowered.routes.append(_model(index, model, attached, shared, providers))
        names = list(dict.fromkeys(model.name for model in config.models if model.visibility == "public"))
        listing = BackendDraft(("llm", "models"), "models", {"names": names})
        lowered.routes.append(RouteDraft(("llm",), "llm", attached, layers=[shared], backends=[listing]))
        return lowered


Providers = Mapping[str, tuple[int, ProviderEntry]]
"""Entries of `llm.providers` by name, with their places."""


@dataclass(frozen=True)
class Said:
    """What one place of the file says of a model: its provider's entry, or its own."""

    at: KeyPath
    settings: dict[str, Any]
    params: Params


def _model(
    index: int,
    model: ModelEntry,
    gateways: list[str],
    shared: Layer,
    providers: Mapping[str, tuple[int, ProviderEntry]],
) -> RouteDraft:
    at: KeyPath = ("llm", "models", index)
    said = [Said(at, model.model_dump(by_alias=True, exclude_none=True), model.params)]
    vendor = model.provider
    where = f"llm.models[{index}].provider"
    if isinstance(vendor, dict) and set(vendor) == {"reference"}:
        name = vendor["reference"]
        found = providers.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(providers) or "there are none"
            message = "no provider of that name in `llm.providers`"
            raise ConfigError(message, path=f"{where}.reference", hint=f"providers: {known}")
        place, entry = found
        defaults = entry.defaults.model_dump(by_alias=True, exclude_none=True)
        said.insert(0, Said(("llm", "providers", place, "defaults"), defaults, entry.params))
        vendor, where = entry.provider, f"llm.providers[{place}].provider"
    params: dict[str, Any] = {}
    for one in said:
        params |= one.params.model_dump(by_alias=True, exclude_none=True)
    backend = BackendDraft(at, "ai", _backend(vendor, params, where), layers=[_backend_layer(at, said)])
    matches = [{"model": model.name, "headers": match.headers} for match in model.matches] or [{"model": model.name}]
    layers = [shared, _layer(at, said)]
    return RouteDraft(at, "llm", gateways, (), matches, layers, [backend], rule=model.id or model.name)


def _backend(vendor: str | dict[str, Any], params: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Raises ConfigError."""
    if isinstance(vendor, str):
        vendor = {vendor: None}
    if len(vendor) != 1:
        raise ConfigError("expected one provider", path=at, hint="write `NAME`, or `{NAME: {…}}`")
    ((kind, settings),) = vendor.items()
    if kind == "reference":
        raise ConfigError("a shared provider cannot refer to another one", path=f"{at}.reference")
    if not isinstance(settings, dict | None):
        raise ConfigError("expected a mapping", path=f"{at}.{kind}")
    settings = dict(settings or {})
    if "model" in params:
        settings["model"] = params["model"]
    return {"provider": {kind: settings}, **{key: params[key] for key in ADDRESS if key in params}}


def _layer(at: KeyPath, said: Sequence[Said]) -> Layer:
    """Policies of the route. Keys of calls are merged, the model's own word last."""
    policies: dict[str, Any] = {}
    paths: dict[str, KeyPath] = {}
    shape: dict[str, dict[str, Any]] = {}
    for one in said:
        raw = one.settings
        more, where = renamed({key: raw[key] for key in (*POLICY_KEYS, "authorization") if key in raw}, one.at)
        policies |= more
        paths |= where
        for key, name in AI_KEYS.items():
            if key in raw:
                shape[name] = {**shape.get(name, {}), **raw[key]}
    if shape:
        policies["ai"] = shape
        paths["ai"] = at
    return Layer(at, policies, paths=paths)


def _backend_layer(at: KeyPath, said: Sequence[Said]) -> Layer:
    """Policies of the backend: a key in `params` is a `backendAuth` like any other."""
    policies: dict[str, Any] = {}
    paths: dict[str, KeyPath] = {}
    for one in said:
        if one.params.api_key is not None:
            name = BACKEND_KEYS["auth"]
            policies[name] = {"key": one.params.api_key}
            paths[name] = (*(one.at[:3]), "params", "apiKey")
        more, where = renamed({key: one.settings[key] for key in BACKEND_KEYS if key in one.settings}, one.at)
        policies |= more
        paths |= where
    return Layer(at, policies, "backend", paths)


def renamed(said: Mapping[str, Any], at: KeyPath) -> tuple[dict[str, Any], dict[str, KeyPath]]:
    """Policies by their own names, and where the file has them."""
    policies = {NAMES.get(key, key): value for key, value in said.items()}
    paths = {NAMES.get(key, key): (*at, key) for key in said}
    return policies, paths
