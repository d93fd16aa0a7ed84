"""What servers' lists have shown to this process: which names are things, and which clients have made up."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress

from pydantic_core import from_json

from agentgateway_mcp.finding import NAMED
from agentgateway_mcp.known import digest, without_id
from agentgateway_mcp.replies import LISTS
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.sifting import Sifted, SiftedStream
from agentgateway_mcp.streamable import Events

MOST = 10_000
"""Names of one kind that are remembered of a target."""
READ = 64
"""Lists that are not read again as long as they are the same to the byte."""
LISTING = frozenset(NAMED.values())


class Shown:
    """The tools and prompts of one backend's targets, as these call them."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], set[str]] = {}
        self._read: OrderedDict[bytes, None] = OrderedDict()

    def has(self, target: str, kind: str, name: str) -> bool:
        return name in self._names.get((target, kind), ())

    def watched(self, target: str, ask: Ask, answer: Answer, limit: int) -> Answer:
        """The same answer, whose names are remembered as they pass. `limit` bounds one message, in bytes."""
        if ask.method not in LISTING:
            return answer
        member = b'"%b"' % LISTS[ask.method][0].encode()

        def skips(data: bytes) -> bool:
            """Whether nothing in it could be that member, however it is spelt."""
            return member not in data and b"\\u00" not in data

        async def sift(data: bytes) -> bytes:
            self._see(target, ask, data)
            return data

        if answer.whole:
            self._see(target, ask, answer.whole)
        elif isinstance(answer.messages, Events):
            answer.messages = Events(SiftedStream(answer.messages.stream, sift, skips, limit), limit)
        elif answer.messages is not None:
            answer.messages = Sifted(answer.messages, sift)
        return answer

    def _see(self, target: str, ask: Ask, raw: bytes) -> None:
        key = digest(f"{ask.method} {target}", "", without_id(raw, ask.document.get("id")))
        if key in self._read:
            self._read.move_to_end(key)
            return
        self._read[key] = None
        if len(self._read) > READ:
            self._read.popitem(last=False)
        listed, kind, named = LISTS[ask.method]
        with suppress(ValueError):  # whoever reads it says so
            document = from_json(raw)
            result = document.get("result") if isinstance(document, dict) else None
            things = result.get(listed) if isinstance(result, dict) else None
            names = self._names.setdefault((target, kind), set())
            for thing in things if isinstance(things, list) else ():
                name = thing.get(named) if isinstance(thing, dict) else None
                if isinstance(name, str) and len(names) < MOST:
                    names.add(name)
