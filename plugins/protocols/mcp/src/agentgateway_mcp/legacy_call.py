"""One request of a client of 2026-07-28, in a session with a server that may ask back meanwhile.

The server waits for its answer while the client, which has been told what is wanted, comes back with it: what it reads
is another stream each time, and the request at the server the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from agentgateway.errors import GatewayError
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import INTERACTIVE, LEVEL_KEY, Json, can_answer, member, meta_of, without
from agentgateway_mcp.errors import INTERNAL_ERROR
from agentgateway_mcp.inbox import Inbox, Letter
from agentgateway_mcp.legacy_words import status_of
from agentgateway_mcp.messages import CAPABILITIES_KEY, NAMED_BY
from agentgateway_mcp.modern_call import document_in
from agentgateway_mcp.modern_words import INPUT_REQUIRED, LEVELS
from agentgateway_mcp.servers import Answer, Ask

if TYPE_CHECKING:
    from agentgateway_mcp.legacy_session import LegacySession


SOON = 1.0
"""Seconds that an answer waits for its first message: a response that stands alone has a status of its own."""
MISSED = 64
"""Notifications that are kept for a client that is away to answer; the oldest goes."""
TOGETHER = 0.02
"""Seconds after a question in which others may come, to be asked with it."""


class LegacyCall:
    """`number` is its id at the server, and the token of its progress; `since` when its client was last asked."""

    def __init__(self, session: LegacySession, number: str, caller: Caller, ask: Ask) -> None:
        self.number = number
        self.since = time.monotonic()
        self._about = subject(ask)
        self._owner = caller.owner
        self.method = ask.method
        self._session = session
        self._only: Json | None = None
        self._refusal: Answer | Exception | None = None
        self._streams = False
        self._questions: dict[str, Json] = {}
        self._keys = count(1)
        self._shown: tuple[str, ...] = ()
        self._missed: deque[Json] = deque(maxlen=MISSED)
        self._last: Json | None = None
        self._sink: Inbox | None = None
        self._attach(caller, ask)

    @property
    def interactive(self) -> bool:
        return self.method in INTERACTIVE

    @property
    def caller(self) -> Caller:
        """Who was here last."""
        return self._caller

    def is_of(self, owner: str, ask: Ask) -> bool:
        """Whether somebody comes back to it, with the same request."""
        return self._owner == owner and self._about == subject(ask)

    async def answer(self) -> Answer:
        """What the client gets: a stream, unless the response is the first that there is to say, and soon. Raises
        `Expired`, `UpstreamError`."""
        try:
            await self._begun.wait()
        except BaseException:
            self.cancel()
            raise
        if isinstance(self._refusal, Exception):
            raise self._refusal
        if self._refusal is not None:
            return self._refusal
        if self._only is not None:
            return Answer(status_of(self._only), whole=to_json(self._only))
        return Answer(200, messages=self._inbox)

    async def run(self, message: Ask) -> None:
        """Ask the server, and take what it says. It may ask the client before its answer begins."""
        try:
            answer = await self._session.sent(self._caller, message)
            await self._take(answer, document_in(answer))
        except Exception as error:  # whoever waits for the answer gets it
            self._refuse(error, "the server cannot be asked")
        finally:
            self._session.forget(self)
            for key in self._questions.keys() - set(self._shown):
                self._session.heard(self._questions.pop(key), None)

    async def _take(self, answer: Answer, document: Json | None) -> None:
        if answer.messages is not None:
            self._streams = True
            self._begin_soon()
            return await self._read(answer)
        if document is None:
            return self._refuse(answer, f"the server answered {answer.status}")
        if answer.status >= 400 and not self._begun.is_set():
            response = self._session.response(document, self.method, self._id)
            return self._refuse(Answer(answer.status, whole=to_json(response), headers=answer.headers), "")
        self._finish(document)

    def _refuse(self, what: Answer | Exception, reason: str) -> None:
        """The answer is no response, or more than one: it stands for what the client gets, if that has not begun."""
        if self._begun.is_set() or self._sink is None:
            return self._fail(reason)
        self._refusal = what
        self._begun.set()

    def _begin_soon(self) -> None:
        asyncio.get_running_loop().call_later(SOON, self._begun.set)

    async def _read(self, answer: Answer) -> None:
        said = self._session.said(self._caller, answer)
        try:
            async for document in said:
                if "method" in document:
                    self._session.heard(document, self)
                elif document.get("id") == self.number:
                    return self._finish(document)
            self._fail("the server ended without an answer")
        except GatewayError as error:
            self._fail(error.message)
        finally:
            await said.aclose()

    def tell(self, document: Json) -> None:
        """A notification about it, if the client has asked for such."""
        if self._sink is None:
            self._missed.append(document)
            return
        params = member(document, "params")
        if document["method"] == "notifications/progress" and self._token is not None:
            document = {**document, "params": {**params, "progressToken": self._token}}
        elif document["method"] != "notifications/message" or not self._hears(params.get("level")):
            return
        self._sink.put(Letter(to_json(document)))
        self._begun.set()

    def ask(self, document: Json) -> bool:
        """The server asks the client, which is shown it soon. False for what it cannot be asked."""
        if not self.interactive or not can_answer(document["method"], self._capabilities):
            return False
        self._questions[f"{document['method']}-{next(self._keys)}"] = document
        if self._sink is not None and len(self._questions) == 1:
            asyncio.get_running_loop().call_later(TOGETHER, self.show)
        return True

    async def resume(self, caller: Caller, ask: Ask) -> Answer:
        """The client is back. What it brings goes to the server, and it waits for what comes then."""
        self._session.used = time.monotonic()
        given = member(member(ask.document, "params"), "inputResponses")
        self._attach(caller, ask)
        missed, self._missed = self._missed, deque(maxlen=MISSED)
        for document in missed:
            self.tell(document)
        if self._shown and all(isinstance(given.get(key), dict) for key in self._shown):
            try:
                await self._bring(given, caller)
            except BaseException:
                self.cancel()
                raise
        if self._last is not None:
            self._finish(self._last)
        self.show()
        return await self.answer()

    async def _bring(self, given: Json, caller: Caller) -> None:
        answered, self._shown = {key: self._questions.pop(key) for key in self._shown}, ()
        for key, question in answered.items():
            await self._session.reply({"jsonrpc": "2.0", "id": question["id"], "result": given[key]}, caller)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.on_close = None
            sink.end()
        for question in self._questions.values():
            self._session.refuse(question)
        self._questions.clear()
        self._session.cancel(self, self._caller)

    def _attach(self, caller: Caller, ask: Ask) -> None:
        self._begun, self._only = asyncio.Event(), None
        meta = meta_of(ask.document)
        self._caller, self._id, self._token = caller, ask.document["id"], meta.get("progressToken")
        self._level, self._capabilities = meta.get(LEVEL_KEY), member(meta, CAPABILITIES_KEY)
        self._sink = self._inbox = Inbox(self._session.room, lambda _: None)
        self._inbox.on_close = self._left
        if self._streams:
            self._begin_soon()

    def _hears(self, level: Any) -> bool:
        if self._level not in LEVELS or level not in LEVELS:
            return self._level is not None
        return LEVELS.index(level) >= LEVELS.index(self._level)

    def show(self) -> None:
        """Tell the client what the server wants to know, if it is there, and there is something."""
        if not self._questions or self._sink is None:
            return
        self._shown = tuple(self._questions)
        questions = {
            key: {"method": one["method"], "params": without(member(one, "params"), ("_meta",))}
            for key, one in self._questions.items()
        }
        self.since = time.monotonic()
        result = {"resultType": INPUT_REQUIRED, "inputRequests": questions, "requestState": self._session.hold(self)}
        self._say({"jsonrpc": "2.0", "id": self._id, "result": result})

    def _finish(self, document: Json) -> None:
        if self._sink is None:
            self._last = document
        else:
            self._say(self._session.response(document, self.method, self._id))

    def _fail(self, reason: str) -> None:
        self._finish({"error": {"code": INTERNAL_ERROR, "message": reason}})

    def _say(self, response: Json) -> None:
        """The end of what the client reads now."""
        sink, self._sink = self._sink, None
        if sink is not None:
            if self._begun.is_set():
                sink.put(Letter(to_json(response)))
            else:
                self._only = response
            sink.on_close = None
            sink.end()
            self._begun.set()

    def _left(self, sink: Inbox) -> None:
        if sink is self._sink:
            self.cancel()


def subject(ask: Ask) -> bytes:
    """What a request is about: the same when a client comes back with an answer."""
    params = member(ask.document, "params")
    return to_json([ask.method, params.get(NAMED_BY.get(ask.method, "")), params.get("arguments")])
