"""Which listener a request comes in by, and the one that stands in for it when the request is refused at the door."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agentgateway._host.chains import Chain, Steps
from agentgateway._host.face import Peer
from agentgateway._host.inbound_head import Head
from agentgateway._host.routes import Listener, RouteTable, hostname_matches
from agentgateway.errors import GatewayError, InvalidRequest, NotFound
from agentgateway.exchange import Exchange, Place

if TYPE_CHECKING:
    from agentgateway._host.assembly import Bind


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
            return Refusing(listener.place, head.error or misdirected(), listener.chain.log)
    first = bind.listeners[0].listener
    return Refusing(replace(first.place, listener="unknown"), head.error or NotFound(), first.chain.log)


class Refusing(Listener):
    """A listener that refuses: of the real one, only the log phase sees the request."""

    def __init__(self, place: Place | None, error: GatewayError, log: Steps = ()) -> None:
        super().__init__("", "*", place or Place(), Chain(log=log), RouteTable(()))
        self._error = error

    async def find(self, exchange: Exchange) -> Chain:
        raise self._error


def misdirected() -> GatewayError:
    return InvalidRequest("misdirected request", status=421, code="misdirected_request")


def _host(authority: str) -> str:
    host = authority.lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
