"""From drafts to a running gateway: plugins are built, participants compiled to chains, routes put in order.

A `Gateway` is immutable. A reload assembles a new one beside it, takes over every part whose configuration did not
change (`parts`), swaps, and stops what is left of the old one when its last exchange has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agentgateway._host import registry
from agentgateway._host.balancing import Balancer
from agentgateway._host.chains import Chain, Origin, Placed, compile_chain
from agentgateway._host.config import MatchConfig
from agentgateway._host.conflicts import conflicts
from agentgateway._host.drafts import Drafts, GatewayDraft, ListenerDraft, draft, policies_of, served_hosts
from agentgateway._host.gateway import Bind, BoundListener, Gateway
from agentgateway._host.host import Lends, PluginHost, located, split_path
from agentgateway._host.load import Document, dotted, validate
from agentgateway._host.parts import Parts
from agentgateway._host.placing import AROUND, Early, Placing, last_come_last
from agentgateway._host.routes import (
    FieldMatch,
    Listener,
    Match,
    ModelPattern,
    Route,
    RouteTable,
    hostname_rank,
)
from agentgateway.errors import ConfigError, ConfigErrors
from agentgateway.exchange import Place, Target
from agentgateway.expressions import Expression
from agentgateway.interfaces import Backend, BackendDraft, Layer, Protocol, RouteDraft

KeyPath = tuple[str | int, ...]


def assemble(document: Document, lends: Lends, previous: Gateway | None = None) -> Gateway:
    """Compile a configuration. Raises `ConfigError` (or `ConfigErrors`) and changes nothing."""
    return Assembly(document, lends, previous).gateway()


class Assembly:
    """One run of the compiler."""

    def __init__(self, document: Document, lends: Lends, previous: Gateway | None) -> None:
        self._document = document
        self._lends = lends
        self._previous = previous
        self._protocols: dict[str, Protocol] = {}
        self._own: dict[Target, list[Origin]] = {}
        self._errors: list[ConfigError] = []
        self._routes: list[tuple[str, str, Chain]] = []

    def gateway(self) -> Gateway:
        drafts = draft(self._document)
        self._lends.session_key = drafts.root.config.session.key
        self._limit = drafts.root.frontend_policies.http.max_buffer_size
        self._parts = Parts(self._document, self._lends, self._limit)
        if self._previous is not None:
            self._parts.inherit(self._previous.parts, self._previous.files)
        self._placing = Placing(self._document, self._parts, self._errors)
        log = (self._document.data.get("frontendPolicies") or {}).get("accessLog") or {}
        self._always = list(self._placing.placed([Layer(("frontendPolicies",), {"accessLog": log}, "gateway")]))
        if not self._document.has(("frontendPolicies", "accessLog")):
            self._always = [replace(one, at="", line=None) for one in self._always]
        self._errors.extend(conflicts(drafts, self._document))
        self._check_references(drafts)
        binds = {gateway.port: self._bind(gateway, drafts) for gateway in drafts.gateways}
        if not binds and not self._errors:
            raise ConfigError(
                "nothing to serve", file=self._document.source.file, hint="add `llm:`, or `gateways:` with `routes:`"
            )
        if self._errors:
            unique = list({str(error): error for error in self._errors}.values())
            raise unique[0] if len(unique) == 1 else ConfigErrors(unique)
        root = drafts.root
        return Gateway(
            self._document,
            root.config,
            root.frontend_policies.http,
            binds,
            self._parts.built,
            self._parts.files,
            tuple(self._routes),
            tuple(self._own),
        )

    def _check_references(self, drafts: Drafts) -> None:
        known = {gateway.name: [listener.name for listener in gateway.listeners] for gateway in drafts.gateways}
        for route in drafts.routes:
            for reference in route.gateways:
                name, _, listener = reference.partition("/")
                message = hint = ""
                if name not in known:
                    message, hint = "no gateway of that name", f"gateways in this file: {', '.join(known) or 'none'}"
                elif listener and listener not in known[name]:
                    message, hint = "no listener of that name", f"listeners of `{name}`: {', '.join(known[name])}"
                if message:
                    self._errors.append(self._document.error(self._attached_at(route), message, hint))

    def _attached_at(self, route: RouteDraft) -> KeyPath:
        """Where the file says which gateways a route is for: on itself, or on the section that made it."""
        for length in range(len(route.at), 0, -1):
            if self._document.has((*route.at[:length], "gateways")):
                return (*route.at[:length], "gateways")
        return route.at

    # --- gateways, listeners, routes ---------------------------------------------------------------------------------

    def _bind(self, gateway: GatewayDraft, drafts: Drafts) -> Bind:
        name = f"{gateway.address or '*'}:{gateway.port}"
        ordered = sorted(gateway.listeners, key=lambda listener: hostname_rank(listener.hostname))
        bound = tuple(
            BoundListener(self._listener(name, gateway, listener, drafts), listener.tls) for listener in ordered
        )
        return Bind(gateway.name, gateway.port, gateway.address, bound, gateway.listeners[0].edge)

    def _listener(self, bind: str, gateway: GatewayDraft, listener: ListenerDraft, drafts: Drafts) -> Listener:
        place = Place(bind, gateway.name, listener.name)
        always = [*self._always, *self._lends.always]
        early = Early([*self._placing.placed(gateway.early), *always])
        entries: list[tuple[str, Match, Route]] = []
        above = [*gateway.layers, *listener.layers]
        for route in drafts.routes:
            hosts = served_hosts(route, gateway, listener)
            if hosts:
                entries.extend(self._entries(route, hosts, above, early, place))
        return Listener(listener.name, listener.hostname, place, early.chain, RouteTable(entries))

    def _entries(
        self, draft: RouteDraft, hosts: Sequence[str], above: Sequence[Layer], early: Early, place: Place
    ) -> Iterator[tuple[str, Match, Route]]:
        try:
            compiled = self._route(draft, above, early, place)
        except ConfigError as error:
            self._errors.extend(located(one, self._document, draft.at) for one in getattr(error, "errors", [error]))
            return
        for raw in draft.matches or [MatchConfig()]:
            read = raw if isinstance(raw, MatchConfig) else validate(MatchConfig, raw, self._document, draft.at)
            for host in hosts:
                yield host, match_of(read), compiled

    def _route(self, draft: RouteDraft, above: Sequence[Layer], early: Early, place: Place) -> Route:
        layers = [*above, *draft.layers]
        backends = [(one, self._backend(one)) for one in draft.backends]
        protocol = self._protocol(draft, [backend for _, backend in backends])
        alone = backends[0][0].layers if len(backends) == 1 else []
        placed = [*early.placed, *self._placing.placed([*layers, *alone]), *self._attending(backends)]
        self._refuse_deaf(draft, protocol, placed)
        if any(backend.unread for _, backend in backends):
            self._refuse_unread(draft, len(backends), placed)
        shared = len(layers) + len(alone)
        targets = [
            target
            for one, backend in backends
            for target in self._targets(one, backend, layers, shared, self._condition(draft, one))
        ]
        if not protocol.models:
            self._refuse_idle([*draft.layers, *(layer for one, _ in backends for layer in one.layers)])
        where = (*draft.at, "backends") if self._document.has((*draft.at, "backends")) else draft.at
        line = self._document.line(where)
        choice = draft.choice or ("health" if len(backends) == 1 else "weight")
        balancer = Placed(Balancer(targets, choice), "backends", "backend", dotted(where), line=line)
        chain = early.taken_from(compile_chain([*placed, balancer]))
        names = replace(place, route=draft.name, route_rule=draft.rule or "unknown")
        chain = self._with_targets(chain, targets)
        self._routes.append((draft.name, draft.rule, chain))
        return Route(draft.name, draft.rule, chain, protocol, names)

    def _attending(self, backends: Sequence[tuple[BackendDraft, Backend]]) -> Iterator[Placed]:
        """What the only backend of a route has to say in its phases. Raises `ConfigError` where there are others."""
        for one, backend in backends:
            for part in backend.attends():
                if len(backends) > 1:
                    raise self._document.error(one.at, f"a backend `{one.kind}` must be its route's only one")
                line = self._document.line(one.at)
                yield Placed(part.hooks, part.slot or one.kind, "backend", dotted(one.at), line=line)

    def _refuse_deaf(self, draft: RouteDraft, protocol: Protocol, placed: Sequence[Placed]) -> None:
        """Guards on a route that has nothing to read would promise what they cannot keep."""
        for one in placed:
            if one.reads_calls and one.level != "gateway" and not protocol.reads_body:
                raise self._document.error(
                    draft.at, f"`{one.slot}` reads calls, and this route's backends have none: it could guard nothing"
                )

    def _refuse_idle(self, layers: Sequence[Layer]) -> None:
        """What is about model calls would do nothing on a route without them. Above it, other routes may have some."""
        for layer in layers:
            for name, path in policies_of(layer).items():
                policy = self._placing.policy(name, layer.policies[name], path, layer.level)
                for place in policy.models_only if policy is not None else ():
                    message = f"`{name}` is about model calls here, and this route has none: it would do nothing"
                    hint = "send the route to an `ai` backend, or put the policy above the routes that have model calls"
                    raise self._document.error((*path, *split_path(place)), message, hint)

    def _refuse_unread(self, draft: RouteDraft, backends: int, placed: Sequence[Placed]) -> None:
        """What passes on unread is not guarded; and what one backend keeps, another one does not have."""
        at = (*draft.at, "resources") if self._document.has((*draft.at, "resources")) else draft.at
        for one in placed:
            if one.reads_calls:
                message = f"`{one.slot}` of {one.at or 'this route'} could not read them, and so guards nothing"
                hint = "serve `resources` on a gateway or route without guards"
                raise self._document.error(at, message, hint)
        if backends > 1:
            raise self._document.error(at, "a backend with `resources` must be its route's only one")

    def _with_targets(self, chain: Chain, targets: Sequence[Target]) -> Chain:
        """What belongs to targets is each one's own; here only `explain` and `inline` want to know of it."""
        shown = [origin for origin in chain.origins if origin.phase != "upstream"]
        for target in targets:
            shown.extend(replaced._replace(name=f"{target.name}: {replaced.name}") for replaced in self._own[target])
        each = [one for target in targets for one in (target, *target.members)]
        waits = any(step.awaits for one in each for step in (*one.edits, *one.steps, *one.returns))
        inline = chain.inline and not waits and all(target.backend.inline for target in targets)
        return replace(chain, upstream=(), origins=tuple(shown), inline=inline)

    def _targets(
        self, one: BackendDraft, backend: Backend, layers: Sequence[Layer], shared: int, when: Expression | None
    ) -> Iterator[Target]:
        """A backend's targets, each with the participants that are its own: the upstream phase of everything that
        stands on its way, and of the layers from `shared` on, which stand on it alone, the phases around it."""
        if backend.gathers:
            members = tuple(self._each(one, backend, layers, shared, None))
            endpoint = ",".join(member.endpoint for member in members)
            chosen = Target(backend, one.kind, endpoint, weight=one.weight, when=when, members=members)
            self._own[chosen] = [
                origin._replace(name=f"{member.name}: {origin.name}")
                for member in members
                for origin in self._own.pop(member)
            ]
            yield chosen
        else:
            yield from self._each(one, backend, layers, shared, when)

    def _each(
        self, one: BackendDraft, backend: Backend, layers: Sequence[Layer], shared: int, when: Expression | None
    ) -> Iterator[Target]:
        at, line = dotted(one.at), self._document.line(one.at)
        for target in backend.targets():
            placed = list(self._placing.placed([*layers, *one.layers, *backend.layers(target)]))
            own = [Placed(p.hooks, p.slot, "backend", at, line=line) for p in backend.participants(target)]
            chain = compile_chain(last_come_last([*placed, *own]))
            alone = compile_chain([one for one in placed if one.depth >= shared])
            self._refuse_too_late(one, alone)
            if backend.gathers:
                self._refuse_unasked(target, alone)
            chosen = replace(
                target,
                weight=target.weight * one.weight,
                priority=target.priority + one.priority,
                steps=chain.upstream,
                admits=alone.authz,
                edits=alone.pre_request,
                returns=alone.post_response,
                when=when,
            )
            mine = [origin for origin in alone.origins if origin.phase in AROUND]
            self._own[chosen] = mine + [origin for origin in chain.origins if origin.phase == "upstream"]
            yield chosen

    def _condition(self, route: RouteDraft, one: BackendDraft) -> Expression | None:
        if one.when is None:
            return None
        return PluginHost(self._lends, self._document, route.at, "route", self._limit).expression(one.when)

    def _refuse_too_late(self, one: BackendDraft, alone: Chain) -> None:
        """What stands on one of several targets acts once that one is chosen, or never."""
        for phase in ("accept", "authn", "route", "log"):
            for step in getattr(alone, phase):
                raise self._document.error(
                    one.at,
                    f"`{step.name}` acts before a backend is chosen, and this route has several",
                    "put it on the route, or give this backend a route of its own",
                )
        for step in alone.authz:
            if step.awaits:
                raise self._document.error(
                    one.at,
                    f"`{step.name}` has to wait for somebody to decide, and this route asks each backend",
                    "put it on the route",
                )

    def _refuse_unasked(self, target: Target, alone: Chain) -> None:
        """A member of a backend gets requests of that backend's own: what decides about the client's stands before."""
        for origin in alone.origins:
            if origin.phase in AROUND:
                message = f"`{origin.name}` would never be asked on the target `{target.name}`"
                raise self._document.error(split_path(origin.at), message, "put it on the route")

    def _backend(self, one: BackendDraft) -> Backend:
        try:
            backend: Backend = self._parts.at("agentgateway.backends", one.kind, one.config, one.at, "backend")
        except ConfigError as error:
            moved = [self._moved(each, one) for each in getattr(error, "errors", [error])]
            raise moved[0] if len(moved) == 1 else ConfigErrors(moved) from error
        if self._lends.evictions is not None:
            for number, target in enumerate(backend.targets()):
                name = f"{dotted(one.at)} {number} {target.name} {target.endpoint}"
                target.health.share(self._lends.evictions.cell(name))
        return backend

    def _moved(self, error: ConfigError, one: BackendDraft) -> ConfigError:
        """The error where the file has what is wrong."""
        error = located(error, self._document, one.at)
        below = error.path.removeprefix(f"{dotted(one.at)}.")
        for key in sorted(one.paths, key=len, reverse=True):
            if below == key or below.startswith((f"{key}.", f"{key}[")):
                path = (*one.paths[key], *split_path(below.removeprefix(key)))
                return self._document.error(path, error.message, error.hint)
        return error

    def _protocol(self, draft: RouteDraft, backends: Sequence[Backend]) -> Protocol:
        spoken = {backend.protocol for backend in backends} or {"http"}
        if len(spoken) > 1:
            raise self._document.error(
                (*draft.at, "backends"), f"backends of one route must speak one protocol, not {sorted(spoken)}"
            )
        (name,) = spoken
        if name not in self._protocols:
            plugin = registry.load("agentgateway.protocols", name)
            self._protocols[name] = plugin(PluginHost(self._lends, self._document, draft.at, "route", self._limit))
        protocol = self._protocols[name]
        protocol.passes = protocol.passes or any(backend.passes for backend in backends)
        return protocol


def match_of(config: MatchConfig) -> Match:
    return Match(
        config.path,
        config.method,
        tuple(FieldMatch(one.name.lower(), one.value) for one in config.headers),
        tuple(FieldMatch(one.name, one.value) for one in config.query),
        ModelPattern(config.model) if config.model is not None else None,
    )
