"""Requests whose client is asked something first, and comes back with the answer: to any worker.

A ticket is an address (`Peers`): whoever has it reaches the request, in the worker that it waits in. There it is made
sure that it is the same client, with the same request, at the same server.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from agentgateway.interfaces import Link, PeerGone, Peers
from agentgateway_mcp.elsewhere import Way, expected, handed_over, taken
from agentgateway_mcp.errors import INVALID_PARAMS, McpError
from agentgateway_mcp.servers import Answer, Ask

if TYPE_CHECKING:
    from agentgateway_mcp.legacy_call import LegacyCall

TICKET = re.compile(r"[0-9]{1,9}\.[A-Za-z0-9_-]{16,64}")


class Held:
    """Those of one session with a server, by ticket; each is good for once. `place` is the server's."""

    def __init__(self, peers: Peers, place: str) -> None:
        self._peers = peers
        self._place = place
        self._calls: dict[str, LegacyCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def items(self) -> list[tuple[str, LegacyCall]]:
        return list(self._calls.items())

    def put(self, call: LegacyCall) -> str:
        """A ticket that cannot be guessed."""
        ticket = self._peers.open(lambda link: self._called(ticket, link))
        self._calls[ticket] = call
        return ticket

    def take(self, ticket: str) -> LegacyCall:
        self._peers.close(ticket)
        return self._calls.pop(ticket)

    def claim(self, ticket: Any, owner: str, ask: Ask) -> LegacyCall | None:
        """The request that a client comes back to; None for what is none, or somebody else's."""
        call = self._calls.get(ticket) if isinstance(ticket, str) else None
        return self.take(ticket) if call is not None and call.is_of(owner, ask) else None

    def clear(self) -> list[LegacyCall]:
        return [self.take(ticket) for ticket in list(self._calls)]

    async def _called(self, ticket: str, link: Link) -> None:
        """A client has come back to another worker."""
        place, owner = from_json(await expected(link))

        async def take(ask: Ask, way: Way | None) -> Answer:
            call = self.claim(ticket, owner, ask) if place == self._place else None
            if call is None:
                raise unknown_ticket()
            return await call.resume(call.caller.later(), ask)

        await taken(link, take)


async def resumed_elsewhere(peers: Peers, place: str, ticket: Any, owner: str, ask: Ask) -> Answer:
    """The answer to a client that comes back to what waits in another worker. Raises `McpError`, `UpstreamError`."""
    if not isinstance(ticket, str) or TICKET.fullmatch(ticket) is None:
        raise unknown_ticket()
    try:
        link = await peers.call(ticket)
        await link.send(to_json([place, owner]))
    except PeerGone:
        raise unknown_ticket() from None
    return await handed_over(link, ask, None)


def unknown_ticket() -> McpError:
    return McpError(INVALID_PARAMS, "requestState is unknown, or too old")
