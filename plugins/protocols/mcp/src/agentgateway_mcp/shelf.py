"""The streams of sessions that only the gateway knows of, by the ids of their events: any worker finds them.

The name of a stream is an address (`Peers`) with its kind in front. What has ended is kept for a while.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal

from pydantic_core import from_json, to_json

from agentgateway.errors import UpstreamError
from agentgateway.interfaces import Link, PeerGone, Peers
from agentgateway_mcp.elsewhere import Way, expected, handed_over, taken
from agentgateway_mcp.errors import INVALID_REQUEST, McpError
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.tape import Tape

Kind = Literal["a", "g"]
"""The answer to a request, or what a server says unasked: the session's general stream."""
PLACE = re.compile(r"([ag])([0-9]{1,9}\.[A-Za-z0-9_-]{16,64}):([0-9]{1,15})")
ENDED = 256
"""Streams that are kept when they have ended; the oldest goes."""
ALONE = 256
"""Streams that go on while their clients are away; the one that has been left first is cancelled."""
BYTES = 16 * 1024 * 1024
"""The same in bytes of all of a kind together."""
SECONDS = 60.0
"""How long one of them is kept."""


class Shelf:
    """Those of one server in this worker."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._here: dict[str, tuple[str, Tape]] = {}
        self._alone: dict[str, Tape] = {}
        self._ended: OrderedDict[str, Callable[[], None]] = OrderedDict()

    def keep(self, session: str, tape: Tape, kind: Kind) -> Answer:
        """The stream, from now on to be found by its events. One of no session is read only once."""
        if session:
            address = self._peers.open(lambda link: self._called(address, link))
            tape.name = f"{kind}{address}"
            self._here[address] = session, tape
            tape.on_end = partial(self._over, address)
            tape.on_away = partial(self._away, address, tape)
            if tape.ended:
                self._over(address)
        return Answer(200, messages=tape.opened(), resumable=bool(session))

    async def resumed(self, session: str, place: str) -> Answer | None:
        """What is behind an event; None for the end of a general stream, or one that is not there any more. Raises
        `McpError` for what is no event of the session's, or not kept any more."""
        found = PLACE.fullmatch(place)
        if found is None:
            raise lost()
        kind, address, number = found[1], found[2], int(found[3])
        try:
            return self._found(session, address, number) or await self._elsewhere(session, address, place)
        except (Over, PeerGone):
            if kind == "g":
                return None
            raise lost() from None

    def stop(self) -> None:
        for address in list(self._here):
            self._drop(address)

    def _found(self, session: str, address: str, number: int) -> Answer | None:
        """Raises `Over` where a general stream has to begin anew."""
        owner, tape = self._here.get(address, ("", None))
        if tape is None:
            return None
        if owner != session or number > tape.last:
            raise lost()
        missed, general = number + 1 < tape.first, tape.name.startswith("g")
        if general and (missed or (tape.ended and number == tape.last)):
            raise Over
        if missed:
            raise lost()
        return Answer(200, messages=tape.resumed(number), resumable=True)

    async def _elsewhere(self, session: str, address: str, place: str) -> Answer:
        """Raises `PeerGone`, `Over`, `McpError`."""
        link = await self._peers.call(address)
        await link.send(to_json([session, place]))
        answer = await handed_over(link, Ask("listen", resume_from=place), None)
        if answer.messages is None:
            raise Over
        return answer

    async def _called(self, address: str, link: Link) -> None:
        session, place = from_json(await expected(link))

        async def take(ask: Ask, way: Way | None) -> Answer:
            try:
                return self._found(session, address, int(place.rpartition(":")[2])) or Answer(404)
            except Over:
                return Answer(404)

        try:
            await taken(link, take)
        except UpstreamError:  # the reader was too slow
            link.abort()

    # --- what nobody reads now ----------------------------------------------------------------------------------------

    def _away(self, address: str, tape: Tape) -> None:
        if not tape.is_away:
            self._alone.pop(address, None)
            return
        alone = self._alone
        alone.setdefault(address, tape)
        while len(alone) > 1 and (len(alone) > ALONE or sum(one.bytes for one in alone.values()) > BYTES):
            alone.pop(next(iter(alone))).give_up()

    # --- what has ended -----------------------------------------------------------------------------------------------

    def _over(self, address: str) -> None:
        self._alone.pop(address, None)
        timer = asyncio.get_running_loop().call_later(SECONDS, self._drop, address)
        self._ended[address] = timer.cancel
        while len(self._ended) > 1 and (len(self._ended) > ENDED or self._bytes() > BYTES):
            self._drop(next(iter(self._ended)))

    def _bytes(self) -> int:
        return sum(self._here[address][1].bytes for address in self._ended)

    def _drop(self, address: str) -> None:
        self._peers.close(address)
        self._here.pop(address, None)
        self._alone.pop(address, None)
        forget = self._ended.pop(address, None)
        if forget is not None:
            forget()


class Over(Exception):
    """A general stream has ended and been read to its end, or what is to be read next is gone."""


def lost() -> McpError:
    return McpError(INVALID_REQUEST, "last-event-id header is no id of an event of this session, or too old")
