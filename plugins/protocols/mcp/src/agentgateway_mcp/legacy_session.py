"""A session that the gateway has opened with a server, for a client of the version that has none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from itertools import count
from typing import Any

from pydantic_core import to_json

from agentgateway.errors import GatewayError
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import ASKED_OF, LEVEL_KEY, Json, can_answer, member, meta_of
from agentgateway_mcp.errors import METHOD_NOT_FOUND, McpError
from agentgateway_mcp.families import Family, Listener
from agentgateway_mcp.held import Held
from agentgateway_mcp.inbox import Inbox, Letter
from agentgateway_mcp.known_eras import says_expired
from agentgateway_mcp.legacy_call import LegacyCall
from agentgateway_mcp.legacy_tasks import LegacyTasks
from agentgateway_mcp.legacy_words import (
    CHANGES,
    UPDATED,
    acknowledged,
    asked_in_session,
    honoured,
    modern_response,
)
from agentgateway_mcp.param_headers import ParamHeaders
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Answer, Ask, Purpose
from agentgateway_mcp.task_words import STATUS

Run = Callable[[Coroutine[Any, Any, None]], object]
HEARD_WITHIN = 1.0
"""Seconds that a subscription waits for its stream to open, before it says that it has begun."""
WAITING = 8
"""Questions of a server's outside of any call that are kept for the client's next one."""
PAUSES = (0.02, 60.0)
"""Seconds, at least and at most, after which a stream is taken up again that a server has closed."""


class Expired(Exception):
    """The server does not know the session any more."""


class LegacySession:
    """`id` is None at servers that hand out none. `held` are requests whose client is asked something."""

    def __init__(
        self,
        caller: Caller,
        answer: Answer,
        initialized: Json,
        about: Json,
        room: int,
        run: Run,
        held: Held,
        family: Family,
    ) -> None:
        self._caller = caller
        self.id = answer.session
        self.version = str(initialized["protocolVersion"])
        self.initialized = initialized
        self.room = room
        self.used = time.monotonic()
        self.ended = False
        self.family = family
        self.headers = ParamHeaders()
        self.tasks: LegacyTasks | None = None
        self.held = held
        self._about = about
        self._run = run
        self._calls: dict[str, LegacyCall] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: list[Listener] = []
        self._waiting: list[Json] = []
        self._hearing: asyncio.Task[None] | None = None
        self._numbers = count(1)
        self._level: str | None = None

    @property
    def capabilities(self) -> Json:
        return member(self.initialized, "capabilities")

    @property
    def caller(self) -> Caller:
        """Who was here last."""
        return self._caller

    @property
    def busy(self) -> bool:
        return bool(self._calls or self._listeners or self.held or (self.tasks is not None and self.tasks.watches))

    def message(self, document: Json, purpose: Purpose = "send") -> Ask:
        return Ask(purpose, to_json(document) if document else b"", document, self.version, self.id)

    # --- what clients want --------------------------------------------------------------------------------------------

    async def request(self, caller: Caller, ask: Ask) -> Answer:
        """A request of a client's. Raises `Expired`, `UpstreamError`."""
        await self._log(caller, ask)
        if self.family.listens:
            await self._listen(caller, HEARD_WITHIN)
        elif self._about["capabilities"].keys() & set(ASKED_OF.values()):
            await self._listen(caller, 0)
        as_task = self.tasks is not None and await self.tasks.takes(caller, ask)
        number = f"agw-{next(self._numbers)}"
        call = self._calls[number] = LegacyCall(self, number, caller, ask)
        document = asked_in_session(ask.document, number)
        message = self.message(document if not as_task else {**document, "params": {**document["params"], "task": {}}})
        self._tasks[number] = asyncio.get_running_loop().create_task(call.run(message))
        self._waiting = [question for question in self._waiting if not call.ask(question)]
        call.show()
        return await call.answer()

    async def sent(self, caller: Caller, message: Ask) -> Answer:
        """The answer to a message. Raises `Expired`, `UpstreamError`."""
        answer = await caller.send(message)
        if self.id is not None and says_expired(answer):
            await answer.close()
            raise Expired
        return answer

    def response(self, document: Json, method: str, wanted: Any) -> Json:
        """A response as its client gets it."""
        if method == "tools/list":
            self.headers.learn(member(document, "result"))
        if self.tasks is not None:
            document = self.tasks.seen(document, method)
        return modern_response(document, method, wanted, self.initialized.get("serverInfo"))

    async def subscribe(self, caller: Caller, ask: Ask) -> Answer:
        """`subscriptions/listen`. Raises `Expired`, `UpstreamError`."""
        wanted = member(member(ask.document, "params"), "notifications")
        subscribed = honoured(wanted, self.capabilities)
        await self._listen(caller, HEARD_WITHIN)
        for uri in list(subscribed.get("resourceSubscriptions", ())):
            if "error" in await self.simple(caller, "resources/subscribe", {"uri": uri}):
                subscribed["resourceSubscriptions"].remove(uri)
        listener = Listener(ask.document["id"], subscribed, Inbox(self.room, lambda _: None))
        listener.sink.put(Letter(to_json(acknowledged(subscribed, listener.id))))
        listener.sink.on_close = lambda _: self._unsubscribe(listener, caller)
        self._listeners.append(listener)
        self.family.add(listener)
        return Answer(200, messages=listener.sink)

    def _unsubscribe(self, listener: Listener, caller: Caller) -> None:
        self._listeners.remove(listener)
        self.family.remove(listener)
        still = {uri for one in self._listeners for uri in one.subscribed.get("resourceSubscriptions", ())}
        for uri in listener.subscribed.get("resourceSubscriptions", ()):
            if uri not in still and not self.ended:
                self._run(self._quietly(self.simple(caller, "resources/unsubscribe", {"uri": uri})))

    async def _log(self, caller: Caller, ask: Ask) -> None:
        """Have the server log what this client wants to hear."""
        level = meta_of(ask.document).get(LEVEL_KEY)
        if level is None or level == self._level or "logging" not in self.capabilities:
            return
        self._level = level
        await self.simple(caller, "logging/setLevel", {"level": level})

    async def simple(self, caller: Caller, method: str, params: Json) -> Json:
        """The response to a request of the gateway's own. Raises `Expired`, `UpstreamError`."""
        message = self.numbered(method, params)
        return await caller.response_of(await self.sent(caller, message), message.document["id"])

    def numbered(self, method: str, params: Json) -> Ask:
        return self.message({"jsonrpc": "2.0", "id": f"agw-{next(self._numbers)}", "method": method, "params": params})

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def about_task(self, caller: Caller, ask: Ask) -> Answer:
        """A request about a task. Raises `Expired`, `UpstreamError`, `McpError`."""
        if self.tasks is None:
            raise McpError(METHOD_NOT_FOUND, f"Method not found: {ask.method}", status=404)
        self.used = time.monotonic()
        if self.family.listens:
            await self._listen(caller, HEARD_WITHIN)
        return await self.tasks.answer(caller, ask)

    # --- what the server says -----------------------------------------------------------------------------------------

    async def said(self, caller: Caller, answer: Answer) -> AsyncGenerator[Json, None]:
        """The messages of a stream. Where the server closes it and has said from where to go on, it is taken up again
        (specification 2025-11-25, "Resumability and Redelivery")."""
        while answer.messages is not None:
            place, pause = None, 1.0
            try:
                async for one in answer.messages:
                    place, pause = one.event or place, one.retry / 1000 if one.retry is not None else pause
                    if one.data:
                        yield read_message(one.data)
            finally:
                await answer.close()
            if place is None:
                return
            await asyncio.sleep(min(max(pause, PAUSES[0]), PAUSES[1]))
            answer = await caller.send(Ask("listen", version=self.version, session=self.id, resume_from=place))
        await answer.close()

    def heard(self, document: Json, call: LegacyCall | None) -> None:
        """What the server asks or tells, during a call or outside of any. What says of no call that it belongs to it
        can only be meant for the one that there is."""
        method = document["method"]
        if "id" in document:
            self._asked(document, call)
        elif method in CHANGES or method == UPDATED:
            self._run(self.family.tell(document))
        elif method == STATUS and self.tasks is not None:
            self._run(self.family.tell(self.tasks.news(member(document, "params"))))
        else:
            token = member(document, "params").get("progressToken")
            meant = self._calls.get(token) if isinstance(token, str) else call or self._only()
            if meant is not None:
                meant.tell(document)

    def _only(self) -> LegacyCall | None:
        return next(iter(self._calls.values())) if len(self._calls) == 1 else None

    def _asked(self, document: Json, call: LegacyCall | None) -> None:
        meant = call or self._only()
        waits = call is None or not call.interactive
        if document["method"] == "ping":
            self._run(self._quietly(self.reply({"jsonrpc": "2.0", "id": document["id"], "result": {}})))
        elif (self.tasks is not None and self.tasks.asked(document)) or (meant is not None and meant.ask(document)):
            return
        elif waits and can_answer(document["method"], self._about["capabilities"]) and len(self._waiting) < WAITING:
            self._waiting.append(document)
        else:
            self.refuse(document)

    def refuse(self, question: Json) -> None:
        """Answer in the name of a client that does not."""
        error = {"code": METHOD_NOT_FOUND, "message": "the client cannot be asked that"}
        if not self.ended:
            self._run(self._quietly(self.reply({"jsonrpc": "2.0", "id": question["id"], "error": error})))

    async def reply(self, document: Json, caller: Caller | None = None) -> None:
        await (await (caller or self._caller).send(self.message(document))).close()

    async def _listen(self, caller: Caller, within: float) -> None:
        """Hear what the server says outside of any call, from now on."""
        self._caller = caller
        if self._hearing is None:
            begun = asyncio.Event()
            self._hearing = asyncio.get_running_loop().create_task(self._hear(caller, begun))
            if within:
                waiting = asyncio.ensure_future(begun.wait())
                await asyncio.wait((waiting, self._hearing), timeout=within, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()

    async def _hear(self, caller: Caller, begun: asyncio.Event) -> None:
        try:
            answer = await caller.send(Ask("listen", version=self.version, session=self.id))
            if answer.messages is None:
                return  # the server says nothing outside of calls
            begun.set()
            async for document in self.said(caller, answer):
                if "method" in document:
                    self.heard(document, None)
        except GatewayError:
            pass
        finally:
            self._hearing = None
            for listener in self._listeners:
                listener.sink.end()

    # --- calls and their end ------------------------------------------------------------------------------------------

    def hold(self, call: LegacyCall) -> str:
        """A ticket with which the client of a call comes back."""
        return self.held.put(call)

    def forget(self, call: LegacyCall) -> None:
        self._calls.pop(call.number, None)
        self._tasks.pop(call.number, None)

    def cancel(self, call: LegacyCall, caller: Caller) -> None:
        """Nobody waits for it."""
        task = self._tasks.get(call.number)
        self.forget(call)
        if task is not None:
            task.cancel()
            params = {"requestId": call.number, "reason": "the client is gone"}
            document = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
            self._run(self._quietly(self.reply(document, caller)))

    def leave(self) -> None:
        """The server does not know it any more: what is under way finds out by itself, or is answered all the same."""
        self.ended = True
        if self.tasks is not None:
            self.tasks.close()
        for call in self.held.clear():
            call.cancel()
        if self._hearing is not None:
            self._hearing.cancel()
        for listener in self._listeners:
            listener.sink.end()

    async def close(self) -> None:
        """End it at the server too."""
        tasks = [*self._tasks.values(), *([self._hearing] if self._hearing is not None else [])]
        for task in tasks:
            task.cancel()
        self.held.clear()
        self.leave()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.id is not None:
            await self._quietly(self._end())

    async def _end(self) -> None:
        await (await self._caller.send(self.message({}, "end"))).close()

    async def _quietly(self, work: Coroutine[Any, Any, object]) -> None:
        """What is of no consequence if it fails."""
        try:
            await work
        except (GatewayError, Expired):
            return
