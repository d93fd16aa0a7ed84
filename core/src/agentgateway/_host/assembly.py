"""From drafts to a running gateway: plugins are built, participants compiled to chains, routes put in order.

A `Gateway` is immutable. A reload assembles a new one beside it, takes over every part whose configuration did not
change (`parts`), swaps, and stops what is left of the old one when its last exchange has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentgateway._host import registry
from agentgateway._host.chains import Chain, Origin, Placed, Steps, compile_chain
from agentgateway._host.config import DownstreamTls, HttpFrontend, MatchConfig, StaticConfig
from agentgateway._host.conflicts import conflicts
from agentgateway._host.drafts import Drafts, GatewayDraft, ListenerDraft, draft, policies_of, served_hosts
from agentgateway._host.host import Lends, PluginHost, located
from agentgateway._host.load import Document, dotted, validate
from agentgateway._host.parts import PartKey, Parts
from agentgateway._host.redaction import redacted
from agentgateway._host.routes import (
    FieldMatch,
    Listener,
    Match,
    ModelPattern,
    Route,
    RouteTable,
    hostname_matches,
    hostname_rank,
)
from agentgateway._host.upstream import WeightedChoice
from agentgateway.errors import ConfigError, ConfigErrors
from agentgateway.exchange import Place, Target
from agentgateway.hookspecs import PHASES
from agentgateway.interfaces import Backend, BackendDraft, Layer, Level, Policy, Protocol, RouteDraft

logger = logging.getLogger("agentgateway.assembly")

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class BoundListener:
    """A listener with the certificates it answers with."""

    listener: Listener
    tls: DownstreamTls | None


@dataclass(frozen=True, slots=True)
class Bind:
    """One port, and the listeners behind it by host name."""

    name: str
    port: int
    address: str | None
    listeners: tuple[BoundListener, ...]

    def listener(self, host: str) -> Listener | None:
        for bound in self.listeners:
            if hostname_matches(bound.listener.hostname, host):
                return bound.listener
        return None


@dataclass
class Gateway:
    """One configuration, compiled."""

    document: Document
    settings: StaticConfig
    http: HttpFrontend
    binds: Mapping[int, Bind]
    parts: dict[PartKey, Any]
    files: dict[PartKey, set[Path]]
    routes: tuple[tuple[str, str, Chain], ...]
    _active: int = 0
    _idle: asyncio.Event | None = None

    @property
    def active(self) -> int:
        """Exchanges in flight; the face counts them."""
        return self._active

    @active.setter
    def active(self, count: int) -> None:
        self._active = count
        if count == 0 and self._idle is not None:
            self._idle.set()

    async def idle(self) -> None:
        """Return when the last exchange has ended; for a gateway that gets no new ones."""
        if self._active:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def start(self, inherited: Gateway | None = None) -> None:
        """Start every part that the gateway before it had not. Raises what a part raises, after stopping the others."""
        running = set(map(id, inherited.parts.values())) if inherited is not None else set()
        try:
            for part in self.parts.values():
                if id(part) not in running:
                    await part.start()
        except BaseException:
            await self.stop(keep=inherited)
            raise

    async def stop(self, keep: Gateway | None = None) -> None:
        """Stop, in reverse, every part that is not in `keep`."""
        kept = set(map(id, keep.parts.values())) if keep is not None else set()
        for part in reversed(list(self.parts.values())):
            if id(part) not in kept:
                try:
                    await part.stop()
                except Exception:
                    logger.exception("%s failed to stop", type(part).__name__)

    def dump(self) -> dict[str, Any]:
        """The configuration with secrets redacted, and the compiled chains, for people."""
        chains = [
            {"route": name, "rule": rule, "chain": [origin._asdict() for origin in chain.origins]}
            for name, rule, chain in self.routes
        ]
        return {"config": redacted(self.document.data), "chains": chains, "activeRequests": self.active}


def assemble(document: Document, lends: Lends, previous: Gateway | None = None) -> Gateway:
    """Compile a configuration. Raises `ConfigError` (or `ConfigErrors`) and changes nothing."""
    return Assembly(document, lends, previous).gateway()


class Assembly:
    """One run of the compiler."""

    def __init__(self, document: Document, lends: Lends, previous: Gateway | None) -> None:
        self._document = document
        self._lends = lends
        self._previous = previous
        self._policies: dict[tuple[str, KeyPath, int], Policy | None] = {}
        self._protocols: dict[str, Protocol] = {}
        self._upstream: dict[Target, list[Origin]] = {}
        self._errors: list[ConfigError] = []
        self._routes: list[tuple[str, str, Chain]] = []

    def gateway(self) -> Gateway:
        drafts = draft(self._document)
        self._limit = drafts.root.frontend_policies.http.max_buffer_size
        self._parts = Parts(self._document, self._lends, self._limit)
        if self._previous is not None:
            self._parts.inherit(self._previous.parts, self._previous.files)
        log = (self._document.data.get("frontendPolicies") or {}).get("accessLog") or {}
        self._always = Layer(("frontendPolicies",), {"accessLog": log}, "gateway")
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
        )

    def _check_references(self, drafts: Drafts) -> None:
        known = {gateway.name: {listener.name for listener in gateway.listeners} for gateway in drafts.gateways}
        for route in drafts.routes:
            for reference in route.gateways:
                name, _, listener = reference.partition("/")
                if name not in known or (listener and listener not in known[name]):
                    hint = f"gateways in this file: {', '.join(known) or 'none'}"
                    self._errors.append(self._document.error((*route.at, "gateways"), "no gateway of that name", hint))

    # --- gateways, listeners, routes ---------------------------------------------------------------------------------

    def _bind(self, gateway: GatewayDraft, drafts: Drafts) -> Bind:
        name = f"{gateway.address or '*'}:{gateway.port}"
        ordered = sorted(gateway.listeners, key=lambda listener: hostname_rank(listener.hostname))
        bound = tuple(
            BoundListener(self._listener(name, gateway, listener, drafts), listener.tls) for listener in ordered
        )
        return Bind(gateway.name, gateway.port, gateway.address, bound)

    def _listener(self, bind: str, gateway: GatewayDraft, listener: ListenerDraft, drafts: Drafts) -> Listener:
        place = Place(bind, gateway.name, listener.name)
        always = [*self._placed([self._always]), *self._lends.always]
        early = Early([*self._placed(gateway.early), *always])
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
            self._errors.extend(getattr(error, "errors", None) or [located(error, self._document, draft.at)])
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
        placed = [*early.placed, *self._placed([*layers, *alone])]
        self._refuse_deaf(draft, protocol, placed)
        if len(backends) > 1:
            for one, _ in backends:
                self._only_upstream(one)
        targets = [target for one, backend in backends for target in self._targets(one, backend, layers)]
        where = (*draft.at, "backends")
        line = self._document.line(where)
        choice = Placed(WeightedChoice(targets), "backends", "backend", dotted(where), line=line)
        chain = early.taken_from(compile_chain([*placed, choice]))
        names = replace(place, route=draft.name, route_rule=draft.rule or "unknown")
        chain = self._with_upstream(chain, targets)
        self._routes.append((draft.name, draft.rule, chain))
        return Route(draft.name, draft.rule, chain, protocol, names)

    def _refuse_deaf(self, draft: RouteDraft, protocol: Protocol, placed: Sequence[Placed]) -> None:
        """Guards on a route that has nothing to read would promise what they cannot keep."""
        for one in placed:
            if one.reads_calls and one.level != "gateway" and not protocol.reads_body:
                raise self._document.error(
                    draft.at, f"`{one.slot}` reads calls, and this route's backends have none: it could guard nothing"
                )

    def _with_upstream(self, chain: Chain, targets: Sequence[Target]) -> Chain:
        """Upstream steps are each target's own; here only `explain` and `inline` want to know of them."""
        shown = [origin for origin in chain.origins if origin.phase != "upstream"]
        for target in targets:
            shown.extend(
                replaced._replace(name=f"{target.name}: {replaced.name}") for replaced in self._upstream[target]
            )
        waits = any(step.awaits for target in targets for step in target.steps)
        inline = chain.inline and not waits and all(target.backend.inline for target in targets)
        return replace(chain, upstream=(), origins=tuple(shown), inline=inline)

    def _targets(self, one: BackendDraft, backend: Backend, layers: Sequence[Layer]) -> Iterator[Target]:
        """A backend's targets, each with the upstream steps of everything that stands on its way."""
        for target in backend.targets():
            placed = list(self._placed([*layers, *one.layers, *backend.layers(target)]))
            at, line = dotted(one.at), self._document.line(one.at)
            own = [Placed(p.hooks, p.slot, "backend", at, line=line) for p in backend.participants(target)]
            chain = compile_chain(last_come_last([*placed, *own]))
            chosen = replace(target, weight=target.weight * one.weight, steps=chain.upstream)
            self._upstream[chosen] = [origin for origin in chain.origins if origin.phase == "upstream"]
            yield chosen

    def _only_upstream(self, one: BackendDraft) -> None:
        for placed in self._placed(one.layers):
            chain = compile_chain([placed])
            if chain.accept or chain.authn or chain.authz or chain.pre_request or chain.route or chain.post_response:
                raise self._document.error(
                    one.at,
                    f"`{placed.slot}` acts before a backend is chosen, and this route has several",
                    "put it on the route, or give this backend a route of its own",
                )

    # --- parts -------------------------------------------------------------------------------------------------------

    def _placed(self, layers: Sequence[Layer]) -> Iterator[Placed]:
        """Participants of layers, outermost first; the most specific policy of a kind wins unless kinds compose."""
        winners: dict[str, int] = {}
        for depth, layer in enumerate(layers):
            for name in layer.policies:
                winners[name] = depth
        for depth, layer in enumerate(layers):
            for name, path in policies_of(layer).items():
                policy = self._policy(name, layer.policies[name], path, layer.level)
                if policy is None or not (policy.composes or winners[name] == depth):
                    continue
                for part in policy.participants():
                    slot = part.slot or name
                    after, before = policy.after, policy.before
                    line = self._document.line(path)
                    yield Placed(
                        part.hooks, slot, layer.level, dotted(path), after, before, depth, line, policy.reads_calls
                    )

    def _policy(self, name: str, raw: Any, path: KeyPath, level: Level) -> Policy | None:
        """The policy at that place, None if it is wrong. Looked at once, however many routes it stands above."""
        place = (name, path, id(raw))
        if place not in self._policies:
            self._policies[place] = self._read_policy(name, raw, path, level)
        return self._policies[place]

    def _read_policy(self, name: str, raw: Any, path: KeyPath, level: Level) -> Policy | None:
        try:
            policy: Policy = self._parts.at("agentgateway.policies", name, raw, path, level)
        except ConfigError as error:
            self._errors.extend(getattr(error, "errors", None) or [located(error, self._document, path)])
            return None
        if level not in policy.levels:
            where = " or ".join(sorted(policy.levels))
            self._errors.append(
                self._document.error(path, f"`{name}` cannot stand on a {level}", f"put it on a {where}")
            )
        return policy

    def _backend(self, one: BackendDraft) -> Backend:
        backend: Backend = self._parts.at("agentgateway.backends", one.kind, one.config, one.at, "backend")
        return backend

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
        return self._protocols[name]


class Early:
    """What runs before a route is chosen, on every request of a listener."""

    PHASES = PHASES[:4]

    def __init__(self, placed: Sequence[Placed]) -> None:
        self.placed = placed
        self.chain = compile_chain(placed)
        self._ran = {id(one.hooks) for one in placed}
        self._told = {(origin.phase, origin.at) for origin in self.chain.origins if origin.phase in self.PHASES}

    def taken_from(self, chain: Chain) -> Chain:
        """A route's chain without what has run by then."""
        return replace(
            chain,
            accept=self._rest(chain.accept),
            authn=self._rest(chain.authn),
            authz=self._rest(chain.authz),
            pre_request=self._rest(chain.pre_request),
            origins=tuple(origin for origin in chain.origins if (origin.phase, origin.at) not in self._told),
        )

    def _rest(self, steps: Steps) -> Steps:
        return tuple(step for step in steps if id(getattr(step.call, "__self__", None)) not in self._ran)


LAST = ("provider", "backendAuth.signing")


def last_come_last(placed: Sequence[Placed]) -> list[Placed]:
    """Whatever level they stand on: the provider after every edit, and signatures after the provider."""
    deepest = max((one.depth for one in placed), default=0) + 1
    return [
        replace(one, level="backend", depth=deepest + LAST.index(one.slot)) if one.slot in LAST else one
        for one in placed
    ]


def match_of(config: MatchConfig) -> Match:
    return Match(
        config.path,
        config.method,
        tuple(FieldMatch(one.name.lower(), one.value) for one in config.headers),
        tuple(FieldMatch(one.name, one.value) for one in config.query),
        ModelPattern(config.model) if config.model is not None else None,
    )
