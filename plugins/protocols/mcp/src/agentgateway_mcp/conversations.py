"""Sessions that live in one process, as they do with servers that are known by a pipe or an open stream. Other workers
hand their messages over to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, ClassVar

from agentgateway.errors import NoEndpoint, UpstreamError, UpstreamTimeout
from agentgateway.exchange import Body, Exchange, Headers, Outgoing, Request
from agentgateway.interfaces import Host, Link, PeerGone
from agentgateway.tasks import in_a_task
from agentgateway_mcp import rpc
from agentgateway_mcp.correspondence import Correspondence
from agentgateway_mcp.elsewhere import Way, handed_over, taken
from agentgateway_mcp.errors import INVALID_REQUEST
from agentgateway_mcp.servers import Answer, Ask, Server

MAX_SESSIONS = 1024
INITIALIZE_WITHIN = 60.0
"""Seconds for a server to start and to answer `initialize`."""

logger = logging.getLogger("agentgateway.mcp")


class Conversation:
    """One session with one server. `address` is where workers reach it, and cannot be guessed; `id`, which begins with
    it, is the session's."""

    def __init__(self) -> None:
        self.address = ""
        self.used = time.monotonic()
        self.ended = False
        self.correspondence: Correspondence

    @property
    def id(self) -> str:
        return self.address

    def outgoing(self, way: Way) -> Outgoing | None:
        """The request to the server, for a message that came to another worker."""
        return None

    async def deliver(self, message: bytes, exchange: Exchange) -> Answer | None:
        """Bring a message to the server. An answer says that it was not taken. Raises `UpstreamError`."""
        raise NotImplementedError

    def cancel(self, notification: bytes, exchange: Exchange) -> None:
        """Tell the server, without waiting, that nobody waits any more for what came with that exchange."""
        raise NotImplementedError

    async def close(self) -> None:
        """End it, and wait until that is done."""
        raise NotImplementedError

    async def take(self, ask: Ask, exchange: Exchange) -> Answer:
        """A message of the client's."""
        self.used = time.monotonic()
        if not ask.wants_answer:
            if ask.method == "notifications/cancelled":
                self.correspondence.withdraw(ask)
            return await self.deliver(ask.message, exchange) or Answer(202)
        message, inbox = self.correspondence.ask(ask, lambda notification: self.cancel(notification, exchange))
        try:
            refusal = await self.deliver(message, exchange)
        except BaseException:
            inbox.close()
            raise
        if refusal is not None:
            self.correspondence.forget(inbox)
            return refusal
        return Answer(200, messages=inbox)

    def idle_since(self, moment: float) -> bool:
        """Whether nothing has happened since then, and nobody waits for anything."""
        if self.correspondence.busy:
            self.used = time.monotonic()
        return self.used < moment


class LiveServer(Server):
    """A target whose sessions are conversations, at most so many at the same time."""

    resumable: ClassVar[bool] = False

    def __init__(self, config: Any, host: Host, max_sessions: int = MAX_SESSIONS) -> None:
        super().__init__(config, host)
        self._max = max_sessions
        self._conversations: dict[str, Conversation] = {}
        self._starting = 0
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reaper: asyncio.Task[None] | None = None

    async def begin(self, exchange: Exchange) -> Conversation | Answer:
        """Open a new conversation; an answer says why there is none. Raises `UpstreamError`."""
        raise NotImplementedError

    async def send(self, exchange: Exchange) -> Answer:
        ask = exchange.call
        assert isinstance(ask, Ask)
        await in_a_task()
        if ask.session is None:
            return await self.unbound(ask, exchange)
        conversation = self._conversations.get(ask.session)
        if conversation is not None and not conversation.ended:
            return await self._told(conversation, ask, exchange)
        try:
            link = await self.host.peers.call(ask.session.partition(" ")[0])
        except PeerGone:
            return Answer(404)
        return await handed_over(link, ask, exchange.outgoing)

    async def _told(self, conversation: Conversation, ask: Ask, exchange: Exchange) -> Answer:
        """A message of an open session."""
        if conversation.ended:
            return Answer(404)
        if ask.purpose == "end":
            self.retire(conversation)
            return Answer(200)
        if ask.purpose == "listen":
            conversation.used = time.monotonic()
            return Answer(200, messages=conversation.correspondence.listen())
        return await conversation.take(ask, exchange)

    async def _called(self, conversation: Conversation, link: Link) -> None:
        """A message of an open session, from another worker."""

        async def take(ask: Ask, way: Way | None) -> Answer:
            exchange = Exchange(Request("POST", "/", Headers(), Body()))
            exchange.call, exchange.outgoing = ask, conversation.outgoing(way) if way is not None else None
            return await self._told(conversation, ask, exchange)

        await taken(link, take)

    async def unbound(self, ask: Ask, exchange: Exchange) -> Answer:
        """A message outside any session."""
        if ask.purpose != "send":
            return Answer(405)
        if ask.method == "initialize" and ask.wants_answer:
            return await self._initialize(ask, exchange)
        return Answer(400, whole=rpc.failure(ask.document.get("id"), INVALID_REQUEST, "there is no session"))

    async def _initialize(self, ask: Ask, exchange: Exchange) -> Answer:
        if len(self._conversations) + self._starting >= self._max:
            raise NoEndpoint("the server has too many sessions", detail=f"{self.label}: {self._max}")
        self._starting += 1
        conversation: Conversation | None = None
        try:
            async with asyncio.timeout(INITIALIZE_WITHIN):
                begun = await self.begin(exchange)
                if isinstance(begun, Answer):
                    return begun
                conversation = begun
                answer = await conversation.take(ask, exchange)
                return await self._initialized(conversation, answer)
        except TimeoutError:
            raise UpstreamTimeout("the server did not answer in time", detail=f"{self.label}: initialize") from None
        finally:
            self._starting -= 1
            if conversation is not None and not conversation.address:
                self.retire(conversation)

    async def _initialized(self, conversation: Conversation, answer: Answer) -> Answer:
        """The session, once the server has agreed to it."""
        if answer.messages is None:
            return answer
        whole = (await anext(answer.messages)).data
        if conversation.ended or self._stopped:
            raise UpstreamError("the server ended before it answered", detail=self.label)
        ((document, _),) = rpc.read(whole)
        if "result" not in document:
            return Answer(200, whole=whole)
        conversation.address = self.host.peers.open(partial(self._called, conversation))
        self._conversations[conversation.id] = conversation
        return Answer(200, whole=whole, session=conversation.id)

    def retire(self, conversation: Conversation) -> None:
        """End a conversation, without waiting for it."""
        conversation.ended = True
        self.lost(conversation)
        self.run(conversation.close())

    def lost(self, conversation: Conversation) -> None:
        """A conversation has ended."""
        self._conversations.pop(conversation.id, None)
        self.host.peers.close(conversation.address)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that `stop` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: %r", self.label, error)

    async def start(self) -> None:
        self._reaper = asyncio.get_running_loop().create_task(self._reap())

    async def stop(self) -> None:
        self._stopped = True
        if self._reaper is not None:
            self._reaper.cancel()
        for conversation in list(self._conversations.values()):
            self.retire(conversation)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(30.0, self.session_ttl / 4))
            limit = time.monotonic() - self.session_ttl
            for conversation in list(self._conversations.values()):
                if conversation.idle_since(limit):
                    logger.info("%s: a session has been idle for %.0f s and ends", self.label, self.session_ttl)
                    self.retire(conversation)
