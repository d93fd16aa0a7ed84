"""What cannot be served together, though each part of it is right: ports, names and host names that stand twice.

The rules are the Gateway API's. A port has one gateway. In a gateway, a listener's name and its host name are its own.
On a listener, a route's name is its own, together with its `ruleName`, which tells the rules of one route apart. The
reference loads what stands twice, and serves one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from agentgateway._host.drafts import Drafts, GatewayDraft, ListenerDraft, served_hosts
from agentgateway._host.load import Document
from agentgateway.errors import ConfigError
from agentgateway.interfaces import RouteDraft

NAMED_BY_PEOPLE = ("gateways", "binds", "routes")
"""Top-level keys with routes; those that a section makes are its own to name."""


LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


def conflicts(drafts: Drafts, document: Document) -> Iterator[ConfigError]:
    """Each conflict, at the later of its two places."""
    ports: dict[int, GatewayDraft] = {}
    names: dict[str, GatewayDraft] = {}
    for gateway in drafts.gateways:
        on_port, of_name = ports.setdefault(gateway.port, gateway), names.setdefault(gateway.name, gateway)
        if on_port is not gateway:
            message = f"port {gateway.port} is already used by gateway `{on_port.name}`"
            yield document.error((*gateway.at, "port"), message, f"attach to it instead: gateways: {on_port.name}")
        elif of_name is not gateway:
            message = f"a gateway is named `{gateway.name}` already, on line {document.line(of_name.at)}"
            yield document.error(gateway.at, message, "give that one another name")
        yield from _in_gateway(gateway, document)
        yield from _of_two_faces(gateway, drafts.root.config.server.edge, document)
    yield from _on_listeners(drafts, document)
    yield from _of_the_process(drafts, document)


def _of_the_process(drafts: Drafts, document: Document) -> Iterator[ConfigError]:
    """Ports that the admin interface, the metrics or readiness have already."""
    config = drafts.root.config
    own = {"adminAddr": config.admin_addr, "statsAddr": config.stats_addr, "readinessAddr": config.readiness_addr}
    taken: list[tuple[str, str | None, int]] = []
    for key, address in own.items():
        if not address.host or not address.port:
            continue
        before = [other for other, host, port in taken if address.port == port and _overlap(address.host, host)]
        if before:
            yield document.error(("config", key), f"`config.{before[0]}` listens there already", "choose another port")
        else:
            taken.append((key, address.host, address.port))
    for gateway in drafts.gateways:
        for key, host, port in taken:
            if gateway.port == port and _overlap(gateway.address, host):
                hint = f"choose another port, or move that one: config: {{{key}: off}}"
                yield document.error((*gateway.at, "port"), f"`config.{key}` listens there already", hint)


def _overlap(one: str | None, other: str | None) -> bool:
    """Whether two addresses cannot both have a port; no address is every address."""
    both = {one, other}
    return one == other or any(map(_everywhere, both)) or ("localhost" in both and both <= LOOPBACK)


def _everywhere(address: str | None) -> bool:
    try:
        return not address or ip_address(address).is_unspecified
    except ValueError:  # a name
        return False


def _in_gateway(gateway: GatewayDraft, document: Document) -> Iterator[ConfigError]:
    names: dict[str, ListenerDraft] = {}
    hosts: dict[str, ListenerDraft] = {}
    for listener in gateway.listeners:
        first = names.setdefault(listener.name, listener)
        if first is not listener:
            message = f"a listener is named `{listener.name}` already, on line {document.line((*first.at, 'name'))}"
            hint = "give each a name of its own: routes and policies refer to `gateway/listener`"
            yield document.error((*listener.at, "name"), message, hint)
        first = hosts.setdefault(listener.hostname, listener)
        if first is not listener:
            message = f"listener `{first.name}` answers to this host name already: this one would never be asked"
            hint = "give each a `hostname` of its own (none is `*`), or put the routes on one listener"
            yield document.error((*listener.at, "hostname"), message, hint)


def _of_two_faces(gateway: GatewayDraft, default: bool, document: Document) -> Iterator[ConfigError]:
    """A connection is read before anybody knows which of its port's listeners it is for."""
    faces = [default if listener.edge is None else listener.edge for listener in gateway.listeners]
    for listener, edge in zip(gateway.listeners, faces, strict=True):
        if edge != faces[0]:
            message = f"listener `{gateway.listeners[0].name}` of the same port says otherwise"
            hint = "say it once, on the gateway, or give the listeners ports of their own"
            yield document.error((*listener.at, "edge"), message, hint)


def _on_listeners(drafts: Drafts, document: Document) -> Iterator[ConfigError]:
    by_name: dict[tuple[str, str], list[RouteDraft]] = {}
    for route in drafts.routes:
        if route.at[0] in NAMED_BY_PEOPLE:
            by_name.setdefault((route.name, route.rule), []).append(route)
    for routes in by_name.values():
        if len(routes) > 1:
            yield from _of_one_name(routes, drafts, document)


def _of_one_name(routes: list[RouteDraft], drafts: Drafts, document: Document) -> Iterator[ConfigError]:
    taken: dict[int, RouteDraft] = {}
    for route in routes:
        listeners = [
            id(listener)
            for gateway in drafts.gateways
            for listener in gateway.listeners
            if served_hosts(route, gateway, listener)
        ]
        first = next((taken[listener] for listener in listeners if listener in taken), None)
        if first is not None:
            line = document.line((*first.at, "name"))
            message = f"a route of the same listener is named `{route.name}` already, on line {line}"
            hint = "give each a `name` of its own, or a `ruleName` if they are rules of one route"
            yield document.error((*route.at, "ruleName" if route.rule else "name"), message, hint)
        taken.update((listener, route) for listener in listeners if listener not in taken)
