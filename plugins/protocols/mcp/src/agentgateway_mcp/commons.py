"""What the workers of one machine know together of a thing that each of them may be asked about, and their words to
each other about it.

A thing has a name that nobody else's has. What is known of it is a small JSON object, agreed on by all (`Peers.agree`);
which workers have to do with it is a part of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import UpstreamError
from agentgateway.interfaces import Link, PeerGone, Peers
from agentgateway_mcp.elsewhere import expected
from agentgateway_mcp.envelope import Json

WORKERS = "workers"
MOST = 64
"""Workers of one thing that are remembered: those that have come last."""
YES, NO = b"1", b"0"

Hear = Callable[[str, str, Any], Awaitable[bool]]
"""A word of another worker's: about which thing, what it is, its content. True when nobody else has to hear it."""


class Commons:
    """As one worker has it. What is agreed on is forgotten `seconds` after it last changed."""

    def __init__(self, peers: Peers, seconds: float, hear: Hear) -> None:
        self._peers = peers
        self._seconds = seconds
        self._hear = hear
        self._address = ""

    def read(self, name: str) -> Json:
        return parsed(self._peers.agreed(name))

    def change(self, name: str, edit: Callable[[Json], Json]) -> Json:
        """Have all workers know something else. What they know now, of which others may have changed a part."""
        before = self._peers.agreed(name)
        while True:
            changed = edit(parsed(before))
            value = to_json(changed).decode()
            now = self._peers.agree(name, value, before, seconds=self._seconds)
            if now == value:
                return changed
            before = now

    def forget(self, name: str) -> None:
        """It is over, for everybody."""
        self._peers.agree(name, "", self._peers.agreed(name), seconds=0.0)

    # --- who has to do with it ----------------------------------------------------------------------------------------

    def enter(self, name: str) -> Json:
        """This worker has to do with it from now on, and hears of it. What is known."""
        self._address = self._address or self._peers.open(self._called)
        return self.change(name, lambda known: {**known, WORKERS: [*self._others(known), self._address][-MOST:]})

    def leave(self, name: str) -> None:
        if not self.others(name):
            return self.forget(name)
        self.change(name, lambda known: {**known, WORKERS: self._others(known)})

    def others(self, name: str) -> list[str]:
        """The addresses of other workers that have to do with it."""
        return self._others(self.read(name))

    async def tell(self, name: str, what: str, content: Any = None) -> bool:
        """Tell them, until one says that nobody else has to hear it; whether one did. Those that have ended are let go
        of."""
        for address in self.others(name):
            try:
                if await self._told(address, [name, what, content]):
                    return True
            except PeerGone:
                self.change(name, partial(without_worker, address))
            except UpstreamError:
                continue  # it does not listen just now
        return False

    def close(self) -> None:
        """Hear nothing any more."""
        self._peers.close(self._address)

    async def _told(self, address: str, words: list[Any]) -> bool:
        link = await self._peers.call(address)
        try:
            await link.send(to_json(words))
            return await expected(link) == YES
        finally:
            link.close()

    async def _called(self, link: Link) -> None:
        name, what, content = from_json(await expected(link))
        await link.send(YES if await self._hear(name, what, content) else NO)

    def _others(self, known: Json) -> list[str]:
        return [one for one in known.get(WORKERS, ()) if one != self._address]


def without_worker(address: str, known: Json) -> Json:
    return {**known, WORKERS: [one for one in known.get(WORKERS, ()) if one != address]}


def parsed(text: str) -> Json:
    found: Json = from_json(text) if text else {}
    return found
