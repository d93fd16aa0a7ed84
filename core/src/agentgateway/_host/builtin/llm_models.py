"""Models of the section `llm`, with what their provider's entry says of them: a backend, and the policies of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from agentgateway._host.builtin.llm_config import POLICY_KEYS, LlmConfig, Params, ProviderEntry
from agentgateway._host.builtin.models import fits
from agentgateway.errors import ConfigError
from agentgateway.interfaces import Layer, Level

KeyPath = tuple[str | int, ...]

AI_KEYS = {
    "defaults": "defaults",
    "overrides": "overrides",
    "transformation": "transformations",
    "finalTransformation": "finalTransformations",
    "promptCaching": "promptCaching",
}
BACKEND_KEYS = {"auth": "backendAuth", "tls": "backendTLS", "backendTunnel": "backendTunnel", "health": "health"}
NAMES = {**POLICY_KEYS, **BACKEND_KEYS}
ADDRESS = ("hostOverride", "pathOverride", "pathPrefix", "baseUrl")
OWN = ("model", "apiKey", *ADDRESS)
"""Keys of `params` that every provider has."""


@dataclass(frozen=True)
class Said:
    """What one place of the file says of a model: its provider's entry, or its own."""

    at: KeyPath
    settings: dict[str, Any]
    params: Params


class Models:
    """The section's models, by index, resolved against its providers."""

    def __init__(self, config: LlmConfig) -> None:
        at = ("llm", "policies")
        policies, paths = renamed(config.policies, at)
        self.shared = Layer(at, policies, paths=paths)
        """Policies of every model."""
        self._models = config.models
        self._providers = {one.name: (index, one) for index, one in enumerate(config.providers)}

    def find(self, name: str) -> int | None:
        """The model that answers to a name: the pattern that spells out most of it, then the file's order."""
        fitting = [(index, model.name) for index, model in enumerate(self._models) if fits(model.name, name)]
        index, _ = max(fitting, key=lambda found: (len(found[1].strip("*")), -found[0]), default=(None, ""))
        return index

    def backend(self, index: int, asked: str | None = None) -> dict[str, Any]:
        """The configuration of its `ai` backend; `asked` is the model to ask for when its `params` name none.

        Raises ConfigError.
        """
        vendor, where = self._vendor(index)
        params: dict[str, Any] = {}
        for one in self._said(index):
            params |= one.params.model_dump(by_alias=True, exclude_none=True)
        if asked is not None:
            params.setdefault("model", asked)
        made = _backend(vendor, params, where)
        passthrough = self._models[index].passthrough
        return made if passthrough is None else made | {"passthrough": passthrough}

    def opaque(self, index: int) -> bool:
        """Whether nothing in its calls may change, not even the model they name."""
        return self._models[index].passthrough == "opaque"

    def paths(self, index: int) -> dict[str, KeyPath]:
        """Where the file has the keys of that backend."""
        entry = self._entry(index)
        at = ("llm", "models", index) if entry is None else ("llm", "providers", entry[0])
        found: dict[str, KeyPath] = {"provider": (*at, "provider")}
        vendor, _ = self._vendor(index)
        kind = vendor if isinstance(vendor, str) else next(iter(vendor))
        for one in self._said(index):
            for key in one.params.model_dump(by_alias=True, exclude_none=True):
                name = key if key in ADDRESS else f"provider.{kind}.{key if key in OWN else params_of(kind)[key]}"
                found[name] = (*one.at[:3], "params", key)
        return found

    def policies(self, index: int, level: Level = "route") -> Layer:
        """Policies around the call. Keys of calls are merged, the model's own word last."""
        policies: dict[str, Any] = {}
        paths: dict[str, KeyPath] = {}
        shape: dict[str, dict[str, Any]] = {}
        for one in self._said(index):
            raw = one.settings
            more, where = renamed({key: raw[key] for key in (*POLICY_KEYS, "authorization") if key in raw}, one.at)
            policies |= more
            paths |= where
            for key, name in AI_KEYS.items():
                if key in raw:
                    shape[name] = {**shape.get(name, {}), **raw[key]}
        at = ("llm", "models", index)
        if shape:
            policies["ai"] = shape
            paths["ai"] = at
        return Layer(at, policies, level, paths)

    def backend_layer(self, index: int) -> Layer:
        """Policies of the backend: a key in `params` is a `backendAuth` like any other."""
        policies: dict[str, Any] = {}
        paths: dict[str, KeyPath] = {}
        for one in self._said(index):
            if one.params.api_key is not None:
                name = BACKEND_KEYS["auth"]
                policies[name] = {"key": one.params.api_key}
                paths[name] = (*(one.at[:3]), "params", "apiKey")
            more, where = renamed({key: one.settings[key] for key in BACKEND_KEYS if key in one.settings}, one.at)
            policies |= more
            paths |= where
        return Layer(("llm", "models", index), policies, "backend", paths)

    def _said(self, index: int) -> Sequence[Said]:
        """The shared provider's word, if there is one, then the model's own."""
        model = self._models[index]
        said = [Said(("llm", "models", index), model.model_dump(by_alias=True, exclude_none=True), model.params)]
        entry = self._entry(index)
        if entry is not None:
            place, provider = entry
            defaults = provider.defaults.model_dump(by_alias=True, exclude_none=True)
            said.insert(0, Said(("llm", "providers", place, "defaults"), defaults, provider.params))
        return said

    def _entry(self, index: int) -> tuple[int, ProviderEntry] | None:
        vendor = self._models[index].provider
        if not isinstance(vendor, dict) or set(vendor) != {"reference"}:
            return None
        name = vendor["reference"]
        found = self._providers.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(self._providers) or "there are none"
            message = "no provider of that name in `llm.providers`"
            raise ConfigError(message, path=f"llm.models[{index}].provider.reference", hint=f"providers: {known}")
        return found

    def _vendor(self, index: int) -> tuple[str | dict[str, Any], str]:
        """The vendor, and where it stands."""
        entry = self._entry(index)
        if entry is not None:
            return entry[1].provider, f"llm.providers[{entry[0]}].provider"
        return self._models[index].provider, f"llm.models[{index}].provider"


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
    more = {key: value for key, value in params.items() if key not in OWN}
    if more:
        settings |= _settings(kind, more, at)
    return {"provider": {kind: settings}, **{key: params[key] for key in ADDRESS if key in params}}


def _settings(kind: str, params: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Keys of `params` that are this provider's own settings. Raises ConfigError for one that it does not take."""
    known = params_of(kind)
    for key in params:
        if key not in known:
            where = at.removesuffix(".provider")
            keys = ", ".join((*OWN, *known))
            raise ConfigError(f"`{kind}` takes no such key", path=f"{where}.params.{key}", hint=f"known keys: {keys}")
    return {known[key]: value for key, value in params.items()}


@cache
def params_of(kind: str) -> Mapping[str, str]:
    """The provider's own settings by the keys they have in `params`."""
    known: Mapping[str, str] = {}
    for point in entry_points(group="agentgateway.providers", name=kind):
        known = point.load().params
    return known


def renamed(said: Mapping[str, Any], at: KeyPath) -> tuple[dict[str, Any], dict[str, KeyPath]]:
    """Policies by their own names, and where the file has them."""
    policies = {NAMES.get(key, key): value for key, value in said.items()}
    paths = {NAMES.get(key, key): (*at, key) for key in said}
    return policies, paths
