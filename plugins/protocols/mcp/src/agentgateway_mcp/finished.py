"""Results of calls that were to be tasks, and came at once: kept for clients that ask for them as tasks are asked for,
in any worker. The id of such a task is an address (`Peers`)."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import from_json, to_json

from agentgateway.interfaces import Link, PeerGone, Peers
from agentgateway_mcp.elsewhere import expected
from agentgateway_mcp.envelope import Json

ID = re.compile(r"agw-([0-9]{1,9}\.[A-Za-z0-9_-]{16,64})")
MOST = 256
"""Results that are kept; the oldest goes."""
BYTES = 16 * 1024 * 1024
"""The same in bytes of all of them together."""
TTL = 300_000
"""Milliseconds for which one is kept, unless the client wants less."""


@dataclass(frozen=True, slots=True)
class Kept:
    session: str
    content: bytes
    timer: asyncio.TimerHandle


class Finished:
    """Those of one server in this worker."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, session: str, result: Json, ttl: object) -> Json:
        """A finished task of a session's with that result. `ttl` is what its client has asked for."""
        kept_for = min(ttl, TTL) if type(ttl) is int and ttl > 0 else TTL
        address = self._peers.open(lambda link: self._called(address, link))
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        task = {"taskId": f"agw-{address}", "status": "completed", "createdAt": now, "lastUpdatedAt": now}
        content = to_json({**task, "ttlMs": kept_for, "result": result})
        timer = asyncio.get_running_loop().call_later(kept_for / 1000, self._drop, address)
        self._here[address] = Kept(session, content, timer)
        while len(self._here) > 1 and (len(self._here) > MOST or sum(map(size, self._here.values())) > BYTES):
            self._drop(next(iter(self._here)))
        found: Json = from_json(content)
        return found

    async def find(self, session: str, task: str) -> Json | None:
        """The task with its result, in the words of the extension; None for what is none of the session's."""
        found = ID.fullmatch(task)
        if found is None:
            return None
        here = self._here.get(found[1])
        try:
            content = self._content(here, session) if here is not None else await self._elsewhere(found[1], session)
        except PeerGone:
            return None
        known: Json | None = from_json(content) if content else None
        return known

    def stop(self) -> None:
        for address in list(self._here):
            self._drop(address)

    def _content(self, kept: Kept | None, session: str) -> bytes:
        return kept.content if kept is not None and kept.session == session else b""

    async def _elsewhere(self, address: str, session: str) -> bytes:
        link = await self._peers.call(address)
        try:
            await link.send(session.encode())
            return await expected(link)
        finally:
            link.close()

    async def _called(self, address: str, link: Link) -> None:
        session = (await expected(link)).decode()
        await link.send(self._content(self._here.get(address), session))

    def _drop(self, address: str) -> None:
        kept = self._here.pop(address, None)
        if kept is not None:
            kept.timer.cancel()
            self._peers.close(address)


def size(kept: Kept) -> int:
    return len(kept.content)
