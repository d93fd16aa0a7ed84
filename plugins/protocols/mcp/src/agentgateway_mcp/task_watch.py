"""The request for the result of a task of 2025-11-25, which its server answers when that is over, and on whose stream
it asks meanwhile. It stays open here, while its client only looks in from time to time."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from agentgateway.errors import GatewayError
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import Json, can_answer, member, without
from agentgateway_mcp.modern_call import document_in
from agentgateway_mcp.task_words import RELATED

if TYPE_CHECKING:
    from agentgateway_mcp.legacy_session import LegacySession

OPEN = 3600.0
"""Seconds that it stays open at most."""
ASKED = 8
"""Questions that wait for an answer at the same time."""


class TaskWatch:
    """`response` is the answer, once it has come; `questions` are what the server wants to know, by the key that the
    client is told; `news` is set when either comes."""

    def __init__(self, session: LegacySession, task: str, capabilities: Json) -> None:
        self.response: Json | None = None
        self.questions: dict[str, Json] = {}
        self.news = asyncio.Event()
        self._session = session
        self._name = task
        self._capabilities = capabilities
        self._keys = count(1)
        self._task: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, caller: Caller) -> None:
        if not self.open:
            self._task = asyncio.get_running_loop().create_task(self._run(caller))

    def ask(self, question: Json) -> bool:
        """The server asks. False for what the client cannot be asked, or for too much at a time."""
        if len(self.questions) >= ASKED or not can_answer(question["method"], self._capabilities):
            return False
        self.questions[f"{question['method']}-{next(self._keys)}"] = question
        self.news.set()
        return True

    @property
    def wanted(self) -> Json:
        """The questions as the client is told them."""
        return {key: worded(question) for key, question in self.questions.items()}

    async def answer(self, given: Json, caller: Caller) -> None:
        """What the client says to some of them."""
        for key in [key for key in self.questions if isinstance(given.get(key), dict)]:
            question = self.questions.pop(key)
            await self._session.reply({"jsonrpc": "2.0", "id": question["id"], "result": given[key]}, caller)

    async def end(self, within: float) -> Json | None:
        """The response, if it comes within so many seconds; else nobody waits for it any more."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=within)
            self._task.cancel()
        return self.response

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, caller: Caller) -> None:
        message = self._session.numbered("tasks/result", {"taskId": self._name})
        try:
            async with asyncio.timeout(OPEN):
                answer = await caller.send(message)
                if answer.messages is None:
                    self.response = document_in(answer)
                    return
                said = self._session.said(caller, answer)
                try:
                    async for document in said:
                        if "method" not in document and document.get("id") == message.document["id"]:
                            self.response = document
                            return
                        if "method" in document:
                            self._heard(document)
                finally:
                    await said.aclose()
        except (GatewayError, TimeoutError):
            pass  # who looks in again asks again
        finally:
            self.news.set()

    def _heard(self, document: Json) -> None:
        asks = "id" in document and document["method"] != "ping"
        if not asks:
            self._session.heard(document, None)
        elif not self.ask(document):
            self._session.refuse(document)


def worded(question: Json) -> Json:
    """A question as one of the extension's: which task it is about is said around it."""
    params = member(question, "params")
    meta = without(member(params, "_meta"), (RELATED,))
    kept = {**without(params, ("_meta",)), **({"_meta": meta} if meta else {})}
    return {"method": question["method"], "params": kept}
