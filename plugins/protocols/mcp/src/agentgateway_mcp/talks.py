"""What is known of the sessions of clients in front of a server of 2026-07-28, which has none: in all workers, since
any of them gets the client's next message."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from agentgateway.interfaces import Peers
from agentgateway_mcp.commons import Commons
from agentgateway_mcp.envelope import Json
from agentgateway_mcp.modern_call import ModernCall
from agentgateway_mcp.modern_stream import ModernStream

REMEMBERED = 10_000
"""Sessions of which a worker keeps something; the one that was asked for longest ago goes."""
FOLLOWED = 64
"""Tasks of a session that the server is to tell of: those begun last."""
LEVEL = "info"
"""What is logged while a client has not said what it wants to hear."""


class Talk:
    """What this process knows of one session. `calls` are requests under way, by id; `questions` what a client has been
    asked, by the id that it was asked with."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.level = LEVEL
        self.uris: set[str] = set()
        self.tasks: list[str] = []
        self.stream: ModernStream | None = None
        self.calls: dict[Any, ModernCall] = {}
        self.questions: dict[Any, ModernCall] = {}

    def know(self, known: Json) -> None:
        """What all workers know."""
        self.level = str(known.get("level", LEVEL))
        self.uris = set(known.get("uris", ()))
        self.tasks = list(known.get("tasks", ()))

    def answered(self, document: Json) -> bool:
        """The client answers a question; whether it was one of this process's."""
        call = self.questions.pop(document.get("id"), None)
        if call is not None:
            call.answered(document)
        return call is not None

    def cancelled(self, wanted: Any) -> bool:
        call = self.calls.get(wanted) if isinstance(wanted, str | int) else None
        if call is not None:
            call.cancel()
        return call is not None

    def listens_no_more(self) -> None:
        if self.stream is not None:
            self.stream.end()

    def end(self) -> None:
        for call in list(self.calls.values()):
            call.cancel()
        self.listens_no_more()


class Talks:
    """The sessions at one server. `seconds` is the longest that one of them lives."""

    def __init__(self, peers: Peers, seconds: float) -> None:
        self._commons = Commons(peers, seconds, self._hear)
        self._here: OrderedDict[str, Talk] = OrderedDict()

    def of(self, session: str | None) -> Talk:
        """What is known of a session; of a message that stands alone nothing, and nothing is kept."""
        if session is None:
            return Talk()
        name = f"mcp talk {session}"
        talk = self._here.get(name)
        if talk is None:
            talk = self._here[name] = Talk(name)
            talk.know(self._commons.enter(name))
            if len(self._here) > REMEMBERED:
                self._here.popitem(last=False)[1].end()
        self._here.move_to_end(name)
        return talk

    async def set_level(self, talk: Talk, level: str) -> None:
        await self._change(talk, lambda known: {**known, "level": level})

    async def subscribe(self, talk: Talk, uri: str, *, wanted: bool) -> None:
        """Have the server tell of a resource, or not any more."""

        def edit(known: Json) -> Json:
            others = set(known.get("uris", ())) - {uri}
            return {**known, "uris": sorted(others | {uri} if wanted else others)}

        await self._change(talk, edit)

    async def follow(self, talk: Talk, task: str) -> None:
        """Have the server tell of a task."""
        await self._change(talk, lambda known: {**known, "tasks": [*known.get("tasks", ()), task][-FOLLOWED:]})

    async def answered(self, talk: Talk, document: Json) -> None:
        if not talk.answered(document) and talk.name:
            await self._commons.tell(talk.name, "answered", document)

    async def cancelled(self, talk: Talk, wanted: Any) -> None:
        if not talk.cancelled(wanted) and talk.name:
            await self._commons.tell(talk.name, "cancelled", wanted)

    async def listens(self, talk: Talk) -> None:
        """The session's stream is another one from now on."""
        talk.listens_no_more()
        if talk.name:
            await self._commons.tell(talk.name, "listens")

    async def end(self, session: str | None) -> None:
        talk = self.of(session)
        self._here.pop(talk.name, talk).end()
        if talk.name:
            await self._commons.tell(talk.name, "ended")
            self._commons.forget(talk.name)

    def stop(self) -> None:
        """End all that is here."""
        self._commons.close()
        while self._here:
            self._here.popitem()[1].end()

    async def _change(self, talk: Talk, edit: Callable[[Json], Json]) -> None:
        if not talk.name:
            return
        talk.know(self._commons.change(talk.name, edit))
        await self._renew(talk)
        await self._commons.tell(talk.name, "changed")

    async def _renew(self, talk: Talk) -> None:
        if talk.stream is not None:
            await talk.stream.renew(talk.uris, talk.tasks)

    async def _hear(self, name: str, what: str, content: Any) -> bool:
        talk = self._here.get(name)
        if talk is None:
            return False
        if what == "answered":
            return talk.answered(content)
        if what == "cancelled":
            return talk.cancelled(content)
        if what == "listens":
            talk.listens_no_more()
        elif what == "changed":
            talk.know(self._commons.read(name))
            await self._renew(talk)
        else:
            self._here.pop(name).end()
        return False
