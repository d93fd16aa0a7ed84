"""From the file to drafts: gateways with listeners, and routes with layers of policies. One thing to compile.

The older `binds`, the `policies` that name their targets, references between backends and every section of a plugin
end here; what comes out knows only `GatewayDraft` and `RouteDraft`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agentgateway._host import registry
from agentgateway._host.config import (
    BindConfig,
    DownstreamTls,
    GatewayConfig,
    ListenerConfig,
    Root,
    RouteBackendConfig,
    RouteConfig,
    TargetedPolicy,
)
from agentgateway._host.host import split_path
from agentgateway._host.load import Document, validate
from agentgateway._host.routes import hostname_matches
from agentgateway.errors import ConfigError
from agentgateway.interfaces import BackendDraft, Layer, RouteDraft, Section

Path = tuple[str | int, ...]


@dataclass(slots=True)
class ListenerDraft:
    at: Path
    name: str
    hostname: str
    """In lower case; `*` for every one."""
    tls: DownstreamTls | None
    layers: list[Layer]
    edge: bool | None = None
    """Who reads HTTP/1.1, where it or its gateway says."""


@dataclass(slots=True)
class GatewayDraft:
    at: Path
    name: str
    port: int
    address: str | None
    layers: list[Layer]
    listeners: list[ListenerDraft]
    early: list[Layer] = field(default_factory=list)
    """Layers of phase `gateway`: they run before a route is chosen."""


@dataclass(slots=True)
class Drafts:
    root: Root
    gateways: list[GatewayDraft] = field(default_factory=list)
    routes: list[RouteDraft] = field(default_factory=list)


def draft(document: Document) -> Drafts:
    """Read the fixed part and lower everything else to it. Raises `ConfigError` with file, line and key path."""
    root = validate(Root, document.data, document, ())
    drafts = Drafts(root)
    backends = Backends(root, document)
    for name, gateway in root.gateways.items():
        drafts.gateways.append(_gateway(("gateways", name), name, gateway))
        drafts.routes.extend(_nested_routes(("gateways", name), name, gateway.listeners, backends))
    for index, bind in enumerate(root.binds):
        drafts.gateways.append(_bind(("binds", index), bind))
        drafts.routes.extend(_nested_routes(("binds", index), f"bind-{bind.port}", bind.listeners, backends))
    for index, route in enumerate(root.routes):
        drafts.routes.append(_route(("routes", index), f"route-{index}", route, backends))
    _sections(drafts, document)
    targets = Targets(drafts, backends)
    for index, policy in enumerate(root.policies):
        _apply(("policies", index), policy, targets, document)
    return drafts


def _gateway(at: Path, name: str, config: GatewayConfig) -> GatewayDraft:
    listeners = [_listener((*at, "listeners", i), f"listener-{i}", one) for i, one in enumerate(config.listeners)]
    if not listeners:
        listeners = [ListenerDraft(at, "default", "*", config.tls, [])]
    for listener in listeners:
        listener.edge = config.edge if listener.edge is None else listener.edge
    layer = Layer((*at, "policies"), config.policies, "gateway")
    return GatewayDraft(at, name, config.port, config.address, [layer], listeners)


def _bind(at: Path, config: BindConfig) -> GatewayDraft:
    listeners = [_listener((*at, "listeners", i), f"listener-{i}", one) for i, one in enumerate(config.listeners)]
    return GatewayDraft(at, f"bind-{config.port}", config.port, config.address, [], listeners)


def _listener(at: Path, name: str, config: ListenerConfig) -> ListenerDraft:
    layer = Layer((*at, "policies"), config.policies, "gateway")
    return ListenerDraft(at, config.name or name, config.hostname.lower() or "*", config.tls, [layer], config.edge)


def _nested_routes(at: Path, gateway: str, listeners: list[ListenerConfig], backends: Backends) -> Iterator[RouteDraft]:
    for i, listener in enumerate(listeners):
        for j, route in enumerate(listener.routes):
            where = (*at, "listeners", i, "routes", j)
            made = _route(where, f"{gateway}-{i}-route-{j}", route, backends)
            made.gateways = [f"{gateway}/{listener.name or f'listener-{i}'}"]
            yield made


def _route(at: Path, name: str, config: RouteConfig, backends: Backends) -> RouteDraft:
    full = "/".join(part for part in (config.namespace, config.name or name) if part)
    return RouteDraft(
        at,
        full,
        [config.gateways] if isinstance(config.gateways, str) else config.gateways,
        config.hostnames,
        config.matches,
        [Layer((*at, "policies"), config.policies)],
        [backends.draft((*at, "backends", i), one) for i, one in enumerate(config.backends)],
        config.rule_name or "",
    )


class Backends:
    """Entries of `backends`, and what they refer to by name."""

    def __init__(self, root: Root, document: Document) -> None:
        self._document = document
        self.named: dict[str, BackendDraft] = {}
        for index, entry in enumerate(root.backends):
            at: Path = ("backends", index)
            if entry.name in self.named:
                raise document.error((*at, "name"), f"two backends are named `{entry.name}`")
            self.named[entry.name] = self.draft(at, entry)

    def draft(self, at: Path, entry: RouteBackendConfig) -> BackendDraft:
        kinds = entry.model_extra or {}
        if len(kinds) != 1:
            known = ", ".join(sorted(registry.names("agentgateway.backends")))
            raise self._document.error(at, "must say exactly one kind of backend", f"one of: {known}")
        ((kind, config),) = kinds.items()
        layer = Layer((*at, "policies"), entry.policies, "backend")
        if kind != "backend":
            return BackendDraft((*at, kind), kind, config, entry.weight, [layer])
        found = self.named.get(str(config))
        if found is None:
            names = ", ".join(self.named) or "there are none"
            raise self._document.error((*at, kind), "no backend of that name", f"named backends: {names}")
        return BackendDraft(found.at, found.kind, found.config, entry.weight, [*found.layers, layer])


def _sections(drafts: Drafts, document: Document) -> None:
    for name, raw in (drafts.root.model_extra or {}).items():
        try:
            section: type[Section] = registry.load("agentgateway.sections", name)
        except ConfigError as error:
            raise document.error((name,), error.message, error.hint) from error
        config = validate(section.Config, raw, document, (name,))
        try:
            lowered = section().lower(config, frozenset(drafts.root.gateways))
        except ConfigError as error:
            raise document.error(split_path(error.path) or (name,), error.message, error.hint) from error
        for gateway, fields in lowered.gateways.items():
            read = validate(GatewayConfig, fields, document, (name,))
            drafts.gateways.append(_gateway((name,), gateway, read))
        drafts.routes.extend(lowered.routes)


class Targets:
    """What targeted policies may name."""

    def __init__(self, drafts: Drafts, backends: Backends) -> None:
        self.gateways = drafts.gateways
        self.named = backends.named
        self.routes: dict[str, list[RouteDraft]] = {}
        self.uses: dict[Path, list[BackendDraft]] = {}
        """Where a named backend is used, by its own place."""
        for route in drafts.routes:
            self.routes.setdefault(route.name, []).append(route)
            for backend in route.backends:
                self.uses.setdefault(backend.at, []).append(backend)


def _apply(at: Path, config: TargetedPolicy, targets: Targets, document: Document) -> None:
    target = config.target
    if config.phase == "gateway" and target.gateway is None:
        raise document.error((*at, "phase"), "phase `gateway` needs a gateway as its target")
    known: bool
    if target.gateway is not None:
        known = bool(_apply_to_gateway(at, config, targets.gateways, target.gateway))
    elif target.route is not None:
        known = target.route in targets.routes
        for route in targets.routes.get(target.route, ()):
            route.layers.append(Layer((*at, "policy"), config.policy))
    else:
        named = targets.named.get(str(target.backend))
        known = named is not None
        for backend in targets.uses.get(named.at, ()) if named is not None else ():
            backend.layers.insert(0, Layer((*at, "policy"), config.policy, "backend"))
    if not known:
        raise document.error((*at, "target"), "nothing in this file has that name")


def _apply_to_gateway(
    at: Path, config: TargetedPolicy, gateways: list[GatewayDraft], reference: str
) -> list[GatewayDraft]:
    name, _, listener = reference.partition("/")
    found = [one for one in gateways if one.name == name]
    if listener:
        found = [one for one in found if listener in [below.name for below in one.listeners]]
    for gateway in found:
        layer = Layer((*at, "policy"), config.policy, "gateway")
        if config.phase == "gateway":
            gateway.early.append(layer)
            continue
        for stands in [one.layers for one in gateway.listeners if one.name == listener] or [gateway.layers]:
            stands.append(layer)
    return found


def served_hosts(route: RouteDraft, gateway: GatewayDraft, listener: ListenerDraft) -> list[str]:
    """The host names for which the listener serves the route, in lower case; empty when it does not."""
    references = route.gateways
    if references and gateway.name not in references and f"{gateway.name}/{listener.name}" not in references:
        return []
    return [host for host in map(str.lower, route.hostnames or ["*"]) if _compatible(listener.hostname, host)]


def _compatible(listener: str, route: str) -> bool:
    """Whether a listener for one host name can get requests for the other."""
    return listener == "*" or route == "*" or hostname_matches(listener, route) or hostname_matches(route, listener)


def policies_of(layer: Layer) -> Mapping[str, Path]:
    """Names of a layer's policies, with where each stands in the file."""
    return {name: layer.paths.get(name, (*layer.at, name)) for name in layer.policies}
