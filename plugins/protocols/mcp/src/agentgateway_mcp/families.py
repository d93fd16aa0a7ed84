"""The sessions of one client at a server that knows sessions, while the client knows none: whoever listens in one of
them hears what changes in any, in all workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from pydantic_core import to_json

from agentgateway.interfaces import Peers
from agentgateway_mcp.commons import Commons
from agentgateway_mcp.envelope import Json
from agentgateway_mcp.inbox import Inbox, Letter
from agentgateway_mcp.legacy_words import is_wanted, tagged


@dataclass(eq=False, slots=True)
class Listener:
    """One `subscriptions/listen`."""

    id: Any
    subscribed: Json
    sink: Inbox


class Family:
    """The sessions of one client, as far as can be told."""

    def __init__(self, name: str, commons: Commons) -> None:
        self.name = name
        self._commons = commons
        self._listeners: list[Listener] = []

    @property
    def listens(self) -> bool:
        """Whether anybody does, in whichever worker."""
        return bool(self._listeners or self._commons.others(self.name))

    def add(self, listener: Listener) -> None:
        if not self._listeners:
            self._commons.enter(self.name)
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        if not self._listeners:
            self._commons.leave(self.name)

    async def tell(self, document: Json) -> None:
        """A notification, for everybody who has asked for such."""
        self.hear(document)
        await self._commons.tell(self.name, "changed", document)

    def hear(self, document: Json) -> None:
        for listener in self._listeners:
            if is_wanted(document, listener.subscribed):
                listener.sink.put(Letter(to_json(tagged(document, listener.id))))


class Families:
    """Those at one server; `place` is the server's. `seconds` is the longest that somebody listens."""

    def __init__(self, peers: Peers, place: str, seconds: float) -> None:
        self._commons = Commons(peers, seconds, self._hear)
        self._place = place
        self._known: WeakValueDictionary[str, Family] = WeakValueDictionary()

    def of(self, key: bytes) -> Family:
        name = f"mcp family {self._place} {key.hex()}"
        family = self._known.get(name)
        if family is None:
            family = self._known[name] = Family(name, self._commons)
        return family

    def stop(self) -> None:
        self._commons.close()

    async def _hear(self, name: str, what: str, content: Any) -> bool:
        family = self._known.get(name)
        if family is not None:
            family.hear(content)
        return False
