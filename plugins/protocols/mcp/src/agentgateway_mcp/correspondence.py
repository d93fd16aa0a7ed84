"""Who is meant by what a server says, where all it says comes on one channel: a pipe, or the one stream of the legacy
transport.

Pure bookkeeping: bytes come in by `hear`, and `reply` takes what the gateway itself has to say to the server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from agentgateway.errors import InvalidRequest
from agentgateway_mcp import rpc
from agentgateway_mcp.errors import INTERNAL_ERROR
from agentgateway_mcp.inbox import Inbox, Letter
from agentgateway_mcp.servers import Ask

Send = Callable[[bytes], None]
KEPT = 64 * 1024
"""Bytes that are kept for a listener who may never come."""
SPONTANEOUS = frozenset(
    (
        *("notifications/tools/list_changed", "notifications/prompts/list_changed"),
        *("notifications/resources/list_changed", "notifications/resources/updated"),
    )
)
"""What has nothing to do with the request under way."""


@dataclass(slots=True)
class Pending:
    """A request under way. `key` is the id that the server knows, as JSON; `token` its `progressToken` likewise."""

    key: bytes
    asked: Ask
    inbox: Inbox
    cancel: Send
    token: bytes | None = None

    @property
    def id(self) -> Any:
        return self.asked.document["id"]


class Correspondence:
    """With one client, whose ids and tokens stand as they are.

    What a server says unasked goes to the request that came last, since it is most likely about that, and otherwise to
    whoever listens; news of lists and resources the other way round. While there is neither it is kept, up to the
    bounds of an `Inbox`. A request of the server's that nobody gets to see is refused in the client's name.
    """

    def __init__(self, reply: Send, room: int) -> None:
        self._reply = reply
        self._room = room
        self._pending: dict[bytes, Pending] = {}
        self._kept = Inbox(min(room, KEPT), self._refuse)
        self._listener: Inbox | None = None

    @property
    def busy(self) -> bool:
        """Whether somebody waits for something."""
        return bool(self._pending) or self._listener is not None

    def ask(self, ask: Ask, cancel: Send) -> tuple[bytes, Inbox]:
        """The message to send, and where its answer will be. When the reader lets go before that, `cancel` gets the
        notification to send. Raises `InvalidRequest` for an id that is in use."""
        pending = self._enter(ask, cancel)
        if pending.key in self._pending:
            raise InvalidRequest("a request with this id is under way")
        self._pending[pending.key] = pending
        pending.inbox.on_close = lambda _: self._given_up(pending)
        return self._outbound(pending), pending.inbox

    def withdraw(self, ask: Ask) -> None:
        """The client says itself that it does not want an answer any more: its stream ends."""
        pending = self._pending.pop(to_json(rpc.inside(ask.document, "params", "requestId")), None)
        if pending is not None:
            pending.inbox.end()

    def forget(self, inbox: Inbox) -> None:
        """The request whose answer would be there was never sent."""
        self._pending = {key: pending for key, pending in self._pending.items() if pending.inbox is not inbox}
        inbox.on_close = None

    def listen(self) -> Inbox:
        """A stream of what is said unasked; it ends the one before it."""
        if self._listener is not None:
            self._listener.end()
        listener = self._listener = self._inbox()
        listener.on_close = self._deaf
        self._kept.empty_into(listener)
        return listener

    def hear(self, data: bytes) -> None:
        """The server says something. Raises ValueError when it makes no sense."""
        for document, raw in rpc.read(data):
            if type(document.get("method")) is str:
                self._unasked(document, raw)
            elif "id" in document:
                self._answered(document, raw)
            else:
                raise ValueError("neither a method nor an id")

    def fail(self, reason: str) -> None:
        """The server is gone: whoever waits is told so."""
        waiting, self._pending = list(self._pending.values()), {}
        for pending in waiting:
            pending.inbox.put(Letter(rpc.failure(pending.id, INTERNAL_ERROR, reason)))
            pending.inbox.end()
        if self._listener is not None:
            self._listener.end()

    def _enter(self, ask: Ask, cancel: Send) -> Pending:
        token = rpc.inside(ask.document, "params", "_meta", "progressToken")
        encoded = to_json(token) if token is not None else None
        return Pending(to_json(ask.document["id"]), ask, self._inbox(), cancel, encoded)

    def _outbound(self, pending: Pending) -> bytes:
        return pending.asked.message

    def _answered(self, document: dict[str, Any], raw: bytes) -> None:
        pending = self._pending.pop(to_json(document["id"]), None)
        if pending is not None:
            pending.inbox.put(Letter(self._inbound(pending, document, raw)))
            pending.inbox.end()

    def _inbound(self, pending: Pending, document: dict[str, Any], raw: bytes) -> bytes:
        return raw

    def _unasked(self, document: dict[str, Any], raw: bytes) -> None:
        letter = Letter(raw, "id" in document, document.get("id"))
        self._addressee(document).put(letter)

    def _addressee(self, document: dict[str, Any]) -> Inbox:
        method, listener = document["method"], self._listener
        if method == "notifications/progress":
            token = to_json(rpc.inside(document, "params", "progressToken"))
            meant = next((pending for pending in self._pending.values() if pending.token == token), None)
            if meant is not None:
                return meant.inbox
        under_way = (one for one in reversed(self._pending.values()) if one.asked.method != "initialize")
        latest = next(under_way, None)
        if listener is not None and (latest is None or method in SPONTANEOUS):
            return listener
        return latest.inbox if latest is not None else self._kept

    def _inbox(self) -> Inbox:
        return Inbox(self._room, self._refuse)

    def _refuse(self, letter: Letter) -> None:
        self._reply(rpc.failure(letter.request, INTERNAL_ERROR, "the client cannot be asked"))

    def _given_up(self, pending: Pending) -> None:
        if self._pending.get(pending.key) is pending:
            del self._pending[pending.key]
            if pending.asked.method != "initialize":  # which must not be cancelled (2025-11-25, "Cancellation")
                pending.cancel(self._cancellation(pending))

    def _cancellation(self, pending: Pending) -> bytes:
        return rpc.cancelled(pending.id)

    def _deaf(self, listener: Inbox) -> None:
        if self._listener is listener:
            self._listener = None
            listener.empty_into(self._kept)
