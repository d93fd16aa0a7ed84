"""What a server of 2026-07-28 says unasked (`subscriptions/listen`), as the stream that a client with a session listens
to (GET)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count

from pydantic_core import to_json

from agentgateway.errors import UpstreamError
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import Json, enveloped
from agentgateway_mcp.inbox import Letter
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.modern_call import Keep
from agentgateway_mcp.modern_words import legacy_notification, subscription
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.tape import Tape

ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
BEGUN_WITHIN = 5.0
"""Seconds in which the server has to say that a subscription has begun."""


class ModernStream:
    """`about` is what the client has said of itself; `keep` makes a stream of a tape."""

    def __init__(self, about: Json, tape: Tape, keep: Keep) -> None:
        self._about = about
        self._sink = tape
        self._sink.on_close = self.end
        self._keep = keep
        self._task: asyncio.Task[None] | None = None
        self._caller: Caller | None = None
        self._numbers = count(1)

    async def begin(self, caller: Caller, uris: Iterable[str], tasks: Iterable[str]) -> Answer:
        """The stream. Raises `UpstreamError`."""
        self._caller = caller.later()
        answer = await self._subscribed(caller, uris, tasks)
        if answer.messages is None:
            return Answer(405, whole=b"") if answer.status in (200, 400, 404) else answer
        self._task = asyncio.get_running_loop().create_task(self._read(answer, asyncio.Event()))
        return self._keep(self._sink)

    async def renew(self, uris: Iterable[str], tasks: Iterable[str]) -> None:
        """Hear of these resources and tasks from now on. The old subscription ends when the new one has begun."""
        if self._caller is None:
            return
        with suppress(UpstreamError):
            answer = await self._subscribed(self._caller, uris, tasks)
            if answer.messages is None or self._task is None:
                return await answer.close()
            before, begun = self._task, asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._read(answer, begun))
            with suppress(TimeoutError):
                async with asyncio.timeout(BEGUN_WITHIN):
                    await begun.wait()
            before.cancel()

    def end(self) -> None:
        self._sink.on_close = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._sink.end()

    async def _subscribed(self, caller: Caller, uris: Iterable[str], tasks: Iterable[str]) -> Answer:
        params = {"notifications": subscription(uris, tasks)}
        number = f"agw-listen-{next(self._numbers)}"
        asked: Json = {"jsonrpc": "2.0", "id": number, "method": "subscriptions/listen", "params": params}
        document = enveloped(asked, self._about)
        return await caller.send(Ask("send", to_json(document), document, MODERN))

    async def _read(self, answer: Answer, begun: asyncio.Event) -> None:
        try:
            await self._hear(answer, begun)
        finally:
            begun.set()
            if self._task is asyncio.current_task():
                self.end()

    async def _hear(self, answer: Answer, begun: asyncio.Event) -> None:
        try:
            assert answer.messages is not None
            async for said in answer.messages:
                document = read_message(said.data) if said.data else {}
                if document.get("method") == ACKNOWLEDGED:
                    begun.set()
                elif "method" in document and "id" not in document:
                    self._sink.put(Letter(to_json(legacy_notification(document))))
                    await asyncio.sleep(0)  # the reader's turn, before it lacks something
        except UpstreamError:
            pass
        finally:
            await answer.close()
