"""The section `llm`: models and providers in a few lines, lowered to one gateway and one route a model."""

from __future__ import annotations

from agentgateway._host.builtin.llm_config import HeaderMatches, LlmConfig, ModelEntry
from agentgateway._host.builtin.llm_models import Models
from agentgateway._host.builtin.llm_virtual import virtual_route
from agentgateway.errors import ConfigError
from agentgateway.interfaces import BackendDraft, Lowered, RouteDraft, Section
from agentgateway.llm.resources import resources

DEFAULT_PORT = 4000


class LlmSection(Section):
    """Lowers `llm` to routes that match a model's name."""

    Config = LlmConfig

    def lower(self, config: LlmConfig, gateways: frozenset[str]) -> Lowered:
        lowered = Lowered()
        attached = _gateways(config, gateways, lowered)
        models = Models(config)
        shared = models.shared
        _check_names(config)
        for index, model in enumerate(config.models):
            if model.visibility == "public":
                lowered.routes.append(_route(index, model, attached, models))
            if model.resources:
                lowered.routes.append(_resources(index, model, attached, models))
        for index, virtual in enumerate(config.virtual_models):
            lowered.routes.append(virtual_route(index, virtual, attached, models))
        public = [model.name for model in config.models if model.visibility == "public"]
        names = list(dict.fromkeys([*public, *(virtual.name for virtual in config.virtual_models)]))
        listing = BackendDraft(("llm", "models"), "models", {"names": names})
        lowered.routes.append(RouteDraft(("llm",), "llm", attached, layers=[shared], backends=[listing]))
        return lowered


def _gateways(config: LlmConfig, gateways: frozenset[str], lowered: Lowered) -> list[str]:
    """The gateways to attach to; one of its own is added when the file names none."""
    if config.gateways is not None:
        return [config.gateways] if isinstance(config.gateways, str) else config.gateways
    if config.port is None and config.tls is None and "default" in gateways:
        return ["default"]
    fields = {"port": DEFAULT_PORT if config.port is None else config.port}
    lowered.gateways["llm"] = {**fields, "tls": config.tls} if config.tls is not None else fields
    return ["llm"]


def _check_names(config: LlmConfig) -> None:
    """Raises ConfigError for a name that is never asked for because another one took it."""
    shared: dict[str, int] = {}
    for index, provider in enumerate(config.providers):
        if shared.setdefault(provider.name, index) != index:
            message = f"providers[{shared[provider.name]}] has that name already"
            raise ConfigError(message, path=f"llm.providers[{index}].name", hint="give one of them another name")
    taken: dict[str, int] = {}
    for index, model in enumerate(config.models):
        if model.name in taken and not model.matches and not config.models[taken[model.name]].matches:
            hint = "give one of them `matches`, or another name"
            message = f"models[{taken[model.name]}] has that name already, so that this one is never asked for"
            raise ConfigError(message, path=f"llm.models[{index}].name", hint=hint)
        taken.setdefault(model.name, index)
    public = {model.name for model in config.models if model.visibility == "public"}
    for index, virtual in enumerate(config.virtual_models):
        if virtual.name in public:
            message = "a model or virtual model has that name already"
            hint = "give it another name, or make the model `visibility: internal`"
            raise ConfigError(message, path=f"llm.virtualModels[{index}].name", hint=hint)
        public.add(virtual.name)


def _route(index: int, model: ModelEntry, gateways: list[str], models: Models) -> RouteDraft:
    at = ("llm", "models", index)
    matches = [{"model": model.name, "headers": match.headers} for match in model.matches] or [{"model": model.name}]
    layers = [models.shared, models.policies(index)]
    layers_of = [models.backend_layer(index)]
    backend = BackendDraft(at, "ai", models.backend(index), layers=layers_of, paths=models.paths(index))
    return RouteDraft(at, "llm", gateways, (), matches, layers, [backend], rule=model.id or model.name)


def _resources(index: int, model: ModelEntry, gateways: list[str], models: Models) -> RouteDraft:
    """A route to what the model's provider keeps, by path: such requests name no model. Raises `ConfigError`."""
    at = ("llm", "models", index)
    known = {one.name: one for one in resources()}
    matches = []
    for number, name in enumerate(model.resources):
        if name not in known:
            path = f"llm.models[{index}].resources[{number}]"
            raise ConfigError(f"no resource is called `{name}`", path=path, hint=f"installed: {', '.join(known)}")
        one = known[name]
        told = [{"name": one.needs, "value": {"regex": ".*"}}] if one.needs else []
        path_match = {"regex": one.pattern()}
        for match in model.matches or [HeaderMatches()]:
            matches.append({"path": path_match, "headers": [*told, *match.headers]})
    config = {**models.backend(index), "resources": model.resources}
    paths = {**models.paths(index), "resources": (*at, "resources")}
    backend = BackendDraft(at, "ai", config, layers=[models.backend_layer(index)], paths=paths)
    layers = [models.shared, models.policies(index)]
    return RouteDraft(at, "llm", gateways, (), matches, layers, [backend], rule=model.id or model.name)
