"""Tools that cannot change silently: what servers list is held against what they listed when they were first asked, or
what somebody has approved since.

The pins of a target are one value of the gateway's store, which all workers share. An unchanged list costs a hash: what
a list came to is remembered by its bytes. Whoever writes pins writes a stamp, too, which every worker looks at before
it trusts what it remembers, at most every two seconds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from agentgateway.errors import StoreFailed, UpstreamError
from agentgateway.interfaces import Host
from agentgateway.llm.documents import duplicate_in
from agentgateway.tasks import in_a_task
from agentgateway_mcp.changes import diff, indented, plain
from agentgateway_mcp.known import Known, Outcome, digest, without_id
from agentgateway_mcp.messages import LEGACY, McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.pins import Change, Definition, Ledger, ToolPinning, definition
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.sifting import Sifted, SiftedStream
from agentgateway_mcp.streamable import Events

FRESH = 2.0
"""Seconds for which nobody asks whether another worker has changed something."""
REREAD = 60.0
"""Seconds after which the pins are read anew, whatever the stamp says."""
TOLD = 1000
"""Changes that are not logged again."""
TRIES = 50
STAMP = "stamp"

logger = logging.getLogger("agentgateway.mcp")


class Pinning:
    """The pins of one backend. `places` has the key of each target in the store, `rules` what holds for it."""

    def __init__(self, host: Host, rules: Mapping[str, ToolPinning], places: Mapping[str, str], names: Names) -> None:
        self._store = host.store("mcp.pins")
        self._rules = rules
        self._places = places
        self._names = names
        labels = ("target", "change", "outcome")
        self._count = host.counter("mcp_tool_changes", "Tools of MCP servers that have changed, or are new.", labels)
        self._known = {target: Known() for target in rules}
        self._stamp: bytes | None = None
        self._due = self._reread = 0.0
        self._asking = asyncio.Lock()
        self._told: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()

    # --- calls --------------------------------------------------------------------------------------------------------

    async def refuses(self, call: McpCall) -> bool:
        """Whether the tool that is called is not there for now. Raises `StoreFailed`: what cannot be looked up is not
        called."""
        target, name = call.target, call.name
        if target is None or name is None or self._rules[target].mode == "off":
            return False
        known = await self._current(target)
        strict = self._rules[target].new_tools == "quarantine" and known.complete
        call.quarantined = name in known.held or (strict and name not in known.names)
        return call.quarantined

    async def holds(self, target: str, name: str) -> bool:
        """Whether a target has that tool in quarantine."""
        return self._rules[target].mode != "off" and name in (await self._current(target)).held

    def knows(self, target: str, name: str) -> bool:
        """Whether a target has shown that tool, as far as this process has read its pins."""
        return name in self._known[target].names

    # --- lists --------------------------------------------------------------------------------------------------------

    async def screened(self, target: str, ask: Ask, answer: Answer, limit: int) -> Answer:
        """What a server answers, without tools that are in quarantine. Every answer is looked at, since clients take a
        list from wherever it comes: on a stream that goes on where another one broke off, or beside another answer.
        `limit` bounds one message, in bytes. Raises `StoreFailed`, and `UpstreamError` for what is no message."""
        if self._rules[target].mode == "off":
            return answer

        def skips(data: bytes) -> bool:
            """Whether nothing in it could be a member `tools`, however it is spelt."""
            return ask.method != "tools/list" and b'"tools"' not in data and b"\\u00" not in data

        async def sift(data: bytes) -> bytes:
            return data if skips(data) else await self._screened(target, ask, data, 200)

        try:
            if answer.whole and not skips(answer.whole):
                answer.whole = await self._screened(target, ask, answer.whole, answer.status)
            elif isinstance(answer.messages, Events):
                answer.messages = Events(SiftedStream(answer.messages.stream, sift, skips, limit), limit)
            elif answer.messages is not None:
                answer.messages = Sifted(answer.messages, sift)
        except BaseException:
            await answer.close()
            raise
        return answer

    def shadow(self, results: Mapping[str, dict[str, Any]]) -> None:
        """Without prefixes the first target owns a name, also while it has that tool in quarantine: nobody else's takes
        its place. `results` have the names that clients know."""
        taken: set[str] = set()
        for target, result in results.items():
            if taken and isinstance(result.get("tools"), list):
                result["tools"] = without(result["tools"], taken)
            taken.update(self._names.outward(target, own) for own in self._known[target].held)

    async def _screened(self, target: str, ask: Ask, raw: bytes, status: int) -> bytes:
        known, version, outcome = self._known[target], ask.version or LEGACY[0], None
        key = digest("bytes", version, without_id(raw, ask.document.get("id")))
        if ask.method == "tools/list":
            await self._refresh()
            outcome = known.outcomes.get(key)
            if outcome is not None and not outcome.hidden and not outcome.ambiguous:
                return raw
        try:
            document = read_message(raw)
            twice = duplicate_in(document, raw) is not None
        except (UpstreamError, ValueError) as error:
            if status >= 400:
                return raw
            raise UpstreamError("the server's answer is no message", detail=f"target {target}") from error
        result = document.get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(tools, list):
            return to_json(document) if twice else raw
        await self._refresh()
        if outcome is None:
            epoch = known.epoch
            outcome = Outcome(await self._outcome(target, version, tools, bool(result.get("nextCursor"))), twice)
            known.remember(key, outcome, epoch)
        if outcome.hidden:
            result["tools"] = without(tools, outcome.hidden)
        return to_json(document) if outcome.hidden or outcome.ambiguous else raw

    async def _outcome(self, target: str, version: str, tools: list[Any], more: bool) -> frozenset[str]:
        """Which tools of that list are hidden; by its content, where its bytes are new."""
        known = self._known[target]
        epoch = known.epoch
        key = digest("page" if more else "last", version, to_json(tools))
        found = known.outcomes.get(key)
        if found is not None:
            return found.hidden
        seen = self._names.seen[target]
        shown = [
            (tool["name"], definition(tool, version))
            for tool in tools
            if isinstance(tool, dict) and isinstance(tool.get("name"), str) and seen.has("tool", tool["name"])
        ]
        async with known.busy:
            hidden = await self._meet(target, shown, last=not more)
        known.remember(key, Outcome(hidden), epoch)
        return hidden

    async def _meet(self, target: str, shown: list[tuple[str, Definition]], *, last: bool) -> frozenset[str]:
        place, rule = self._places[target], self._rules[target]
        await in_a_task()
        for _ in range(TRIES):
            raw = await self._store.get(place)
            ledger = read_ledger(target, raw)
            before = ledger.write()
            met = ledger.meet(shown, rule, time.time(), last=last)
            after = ledger.write()
            if raw is not None and after == before:
                self._known[target].take(ledger, rule)
                return frozenset(met.hidden)
            if await self._store.swap(place, raw, after):
                self._known[target].take(ledger, rule)
                await self._store.put(STAMP, secrets.token_bytes(16))
                self._tell(target, met.changes, ledger if raw is None else None)
                return frozenset(met.hidden)
        raise StoreFailed(detail=f"pins of target {target}: too many others write them")

    def _tell(self, target: str, changes: list[Change], first: Ledger | None) -> None:
        if first is not None:
            logger.info("tools of %s: %d pinned as they are", target, len(first.tools))
        for change in changes:
            self._tell_of(target, change)

    def _tell_of(self, target: str, change: Change) -> None:
        """Log and count a change, once."""
        key = (target, change.tool, digest("change", change.after.version, to_json(change.after.parts)))
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > TOLD:
            self._told.popitem(last=False)
        outcome = "quarantined" if change.held else "admitted"
        self._count.add((target, change.happened, outcome))
        logger.warning(
            "tools of %s: `%s` %s, and is %s%s",
            target,
            plain(change.tool[:128]),
            "is new" if change.before is None else "has changed",
            "not there for clients until `agentgateway mcp pins approve`" if change.held else "admitted",
            indented(diff(change.before, change.after)),
        )

    # --- for people ---------------------------------------------------------------------------------------------------

    def rule(self, target: str) -> ToolPinning:
        return self._rules[target]

    async def ledger(self, target: str) -> Ledger | None:
        """The pins as the store has them; None before a server was first asked. Raises `StoreFailed`."""
        raw = await self._store.get(self._places[target])
        return read_ledger(target, raw) if raw is not None else None

    async def approve(self, target: str, tool: str | None) -> list[str]:
        """Pin what the server shows now, of one tool or of all that are in quarantine; their names. Raises
        `StoreFailed`."""
        place = self._places[target]
        for _ in range(TRIES):
            raw = await self._store.get(place)
            if raw is None:
                return []
            ledger = read_ledger(target, raw)
            names = ledger.approve(tool)
            if await self._store.swap(place, raw, ledger.write()):
                await self._store.put(STAMP, secrets.token_bytes(16))
                return names
        raise StoreFailed(detail=f"pins of target {target}: too many others write them")

    # --- what others have changed -------------------------------------------------------------------------------------

    async def _current(self, target: str) -> Known:
        await self._refresh()
        known = self._known[target]
        if not known.read:
            await in_a_task()
            async with known.busy:
                if not known.read:
                    known.take(read_ledger(target, await self._store.get(self._places[target])), self._rules[target])
        return known

    async def _refresh(self) -> None:
        """Forget what is remembered, if somebody has written pins since."""
        if time.monotonic() < self._due:
            return
        await in_a_task()
        async with self._asking:
            now = time.monotonic()
            if now < self._due:
                return
            stamp = await self._store.get(STAMP)
            if stamp != self._stamp or now >= self._reread:
                self._stamp, self._reread = stamp, now + REREAD
                for known in self._known.values():
                    known.forget()
            self._due = now + FRESH


def read_ledger(target: str, raw: bytes | None) -> Ledger:
    """Raises `StoreFailed` for what cannot be read: pins that are lost are no reason to trust anybody anew."""
    if raw is None:
        return Ledger(time.time())
    try:
        return Ledger.read(raw)
    except ValueError as error:
        raise StoreFailed(detail=f"the pins of target {target} cannot be read: {error}") from None


def place_of(kind: str, name: str, endpoint: str) -> str:
    """The key of a target's pins: routes that lead to one server by one name share them."""
    return f"target:{to_json([kind, name, endpoint]).decode()}"


def without(tools: list[Any], names: frozenset[str] | set[str]) -> list[Any]:
    return [tool for tool in tools if not (isinstance(tool, dict) and tool.get("name") in names)]
