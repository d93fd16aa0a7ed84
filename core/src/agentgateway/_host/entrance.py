"""Which listener a request comes in by, and the one that stands in for it when the request is refused at the door."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentgateway._host.chains import Chain, log_of
from agentgateway._host.face import Peer
from agentgateway._host.inbound_head import Head
from agentgateway._host.routes import Listener, Route, RouteTable, hostname_matches
from agentgateway.errors import GatewayError, InvalidRequest, NotFound
from agentgateway.exchange import Exchange, Place, Request
from agentgateway.interfaces import Protocol

if TYPE_CHECKING:
    from agentgateway._host.gateway import Bind


NO_CHAIN = Chain()
NO_ROUTES = RouteTable(())


def entrance(bind: Bind | None, head: Head, peer: Peer) -> Listener:
    """The listener for a request's host. Refusals (a bad head, no such host, a connection meant for another listener)
    are listeners too, so that they are logged and counted like everything else."""
    if bind is None:
        return Refusing(None, head.error or NotFound())
    host = _host(head.authority)
    for bound in bind.listeners:
        listener = bound.listener
        if hostname_matches(listener.hostname, host):
            if head.error is None and peer.may_ask(listener.hostname, bound.tls):
                return listener
            return Refusing(listener.place, head.error or misdirected(), log_of(listener.chain), listener)
    first = bind.listeners[0].listener
    return Refusing(replace(first.place, listener="unknown"), head.error or NotFound(), log_of(first.chain))


class Refusing(Listener):
    """A listener that refuses: of the real one, only the log phase sees the request. The refusal is put in the language
    of the route that `listener` has for the request's path."""

    def __init__(
        self, place: Place | None, error: GatewayError, chain: Chain = NO_CHAIN, listener: Listener | None = None
    ) -> None:
        super().__init__("", "*", place or Place(), chain, NO_ROUTES)
        self._error = error
        self._listener = listener

    async def find(self, exchange: Exchange) -> Route:
        if self._listener is not None:
            exchange.protocol = spoken_at(self._listener, exchange.request)
        raise self._error


def spoken_at(listener: Listener, request: Request) -> Protocol | None:
    """What clients of such a request's route speak, if there is one, as far as its host, method and path tell."""
    for hostname, match, route in listener.entries():
        if hostname_matches(hostname, request.host) and match.target(request.method, request.path):
            return route.protocol
    return None


def misdirected() -> GatewayError:
    return InvalidRequest("misdirected request", status=421, code="misdirected_request")


def _host(authority: str) -> str:
    host = authority.lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
