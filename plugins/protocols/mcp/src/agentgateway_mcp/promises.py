"""What a client has asked of a server's session that outlasts the message: a log level, resources to be told of. A
session that is opened in the place of an expired one is asked for the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentgateway.interfaces import Peers
from agentgateway_mcp.commons import Commons
from agentgateway_mcp.envelope import Json, member
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.sessions import Opened

LEVEL, SUBSCRIBE, UNSUBSCRIBE = "logging/setLevel", "resources/subscribe", "resources/unsubscribe"
KEPT = frozenset((LEVEL, SUBSCRIBE, UNSUBSCRIBE))
LONGEST = 64 * 1024
"""Characters of all resources of a session at one server; subscriptions beyond are not repeated."""


class Promises:
    """Of the sessions of one backend, in all workers; they are forgotten `seconds` after they last changed."""

    def __init__(self, peers: Peers, seconds: float) -> None:
        self._commons = Commons(peers, seconds, nobody)

    def note(self, session: Opened, target: str, ask: Ask, answer: Answer) -> None:
        """The server has been asked for one, in its own words."""
        if ask.method not in KEPT or answer.status >= 400:
            return
        params = member(ask.document, "params")
        self._commons.change(name_of(session, target), lambda known: changed(known, ask.method, params))

    def of(self, session: Opened, target: str) -> Iterator[Json]:
        """The requests that ask for them again."""
        known = self._commons.read(name_of(session, target))
        if "level" in known:
            yield asking(LEVEL, {"level": known["level"]}, 0)
        for number, uri in enumerate(known.get("uris", ()), 1):
            yield asking(SUBSCRIBE, {"uri": uri}, number)


def changed(known: Json, method: str, params: Json) -> Json:
    if method == LEVEL:
        return {**known, "level": params.get("level")}
    uri = params.get("uri")
    uris = [one for one in known.get("uris", ()) if one != uri]
    if method == SUBSCRIBE and isinstance(uri, str) and len(uri) + sum(map(len, uris)) <= LONGEST:
        uris.append(uri)
    return {**known, "uris": uris}


def asking(method: str, params: Json, number: int) -> Json:
    return {"jsonrpc": "2.0", "id": f"agw-again-{number}", "method": method, "params": params}


def name_of(session: Opened, target: str) -> str:
    return f"mcp promises {session.nonce} {target}"


async def nobody(name: str, what: str, content: Any) -> bool:
    return False
