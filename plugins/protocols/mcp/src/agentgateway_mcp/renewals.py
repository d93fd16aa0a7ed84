"""Sessions of servers that ended under a client's, and were opened anew in their place."""

from __future__ import annotations

from collections import OrderedDict

from agentgateway.interfaces import Peers
from agentgateway_mcp.sessions import Opened

MOST = 10_000


class Renewals:
    """What stands for a server's session in a client's. Sessions that live in one worker are told to all others, which
    would open more of them otherwise; `lifetime` is that of a client's session, in seconds."""

    def __init__(self, peers: Peers, lifetime: float) -> None:
        self._peers = peers
        self._lifetime = lifetime
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def get(self, session: Opened, target: str) -> str | None:
        """As far as this worker knows."""
        return self._known.get((session.nonce, target))

    def elsewhere(self, session: Opened, target: str, lost: str) -> str | None:
        """What somebody else has opened in place of the one that is lost."""
        found = self._known.get((session.nonce, target), lost)
        if found == lost:
            found = self._peers.agreed(self._name(session, target)) or lost
        if found == lost:
            return None
        self._keep(session, target, found)
        return found

    def put(self, session: Opened, target: str, own: str, lost: str, *, shared: bool) -> str:
        """Have a new session stand for the one that is lost. What does: another one, where somebody was faster."""
        if shared:
            own = self._peers.agree(self._name(session, target), own, lost, seconds=self._lifetime)
        self._keep(session, target, own)
        return own

    def _name(self, session: Opened, target: str) -> str:
        return f"mcp {session.nonce} {target}"

    def _keep(self, session: Opened, target: str, own: str) -> None:
        self._known[(session.nonce, target)] = own
        if len(self._known) > MOST:
            self._known.popitem(last=False)
