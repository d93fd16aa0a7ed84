"""Realtime sessions: the call that a WebSocket is, and the eye on its events.

Events pass as they come, in both directions. Of the client's all are read, since nothing may say something else to the
gateway than to the vendor; of the upstream's those with usage, and all of them where guards want to see texts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qsl, urlencode

from agentgateway.errors import GatewayError, GuardFailed, InvalidRequest
from agentgateway.exchange import Exchange, Request, Usage
from agentgateway.guarded import GuardedEvents
from agentgateway.interfaces import Segment
from agentgateway.llm import documents
from agentgateway.llm.calls import Dialect, ErrorFacts, Head, LlmCall
from agentgateway.llm.dialects.realtime import Realtime
from agentgateway.llm.sse import Event
from agentgateway.sockets import Duplex, Message, SocketClosed

CREDENTIAL = "openai-insecure-api-key."
"""A subprotocol that is a key: browsers can put it nowhere else."""
OWN = ("openai-organization.", "openai-project.")
"""Subprotocols that name the client's account at the vendor, which is not the one that is asked."""
MODEL, DEPLOYMENT = "model", "deployment"
"""What names the model in a client's query: OpenAI's word for it, and that of Azure's dated versions."""

Ask = Callable[[Sequence[Segment]], Awaitable[None]]
"""Judges texts, and may replace them. Raises `GuardRejected`, `GuardFailed`."""


def split_credential(offered: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The subprotocols that may be passed on, and the key among them if there is one."""
    key = next((one.removeprefix(CREDENTIAL) for one in offered if one.startswith(CREDENTIAL)), "")
    return tuple(one for one in offered if not one.startswith((CREDENTIAL, *OWN))), key


class RealtimeCall(LlmCall):
    """A session that is asked for. `asked` judge what the client says, `views` make what holds back the model's events
    until they are judged, `observers` see them afterwards; `charges` are told the usage of each turn, and raise when
    there may be no other."""

    __slots__ = ("asked", "charges", "intent", "observers", "views")

    def __init__(self, dialect: Dialect, model: str, path: str, intent: str = "") -> None:
        super().__init__(dialect, {}, Head(model, True), raw=b"", path=path)
        self.intent = intent
        self.asked: list[Ask] = []
        self.views: list[Callable[[], GuardedEvents]] = []
        self.observers: list[Ask] = []
        self.charges: list[Callable[[Usage], None]] = []

    @classmethod
    def of(cls, dialect: Dialect, request: Request) -> RealtimeCall:
        """Raises `InvalidRequest` for a query that names no model, or two, or somebody else's call."""
        asked = parse_qsl(request.query, keep_blank_values=True)
        named = MODEL if any(name == MODEL for name, _ in asked) else DEPLOYMENT
        models = [value for name, value in asked if name == named]
        if len(models) != 1 or not models[0]:
            raise InvalidRequest("the query must name one `model`", code="missing_required_parameter", param="model")
        if any(name == "call_id" for name, _ in asked):
            raise InvalidRequest("calls cannot be joined here", code="unsupported_parameter", param="call_id")
        return cls(dialect, models[0], request.path, next((value for name, value in asked if name == "intent"), ""))

    def target(self, path: str, model: str, named: str = MODEL) -> str:
        """Path and query for the vendor, which looks for the model under that name. Nothing else of the client's query
        is passed on: vendors take models and keys there."""
        query = {named: model, **({"intent": self.intent} if self.intent else {})}
        return f"{path}{'&' if '?' in path else '?'}{urlencode(query)}"

    def copy(self) -> RealtimeCall:
        call = RealtimeCall(self.dialect, self.model, self.path, self.intent)
        call.document, call.requested_model = deepcopy(self.document), self.requested_model
        call.asked, call.views = self.asked[:], self.views[:]
        call.observers, call.charges = self.observers[:], self.charges[:]
        return call


class RealtimeSession(Duplex):
    """The upstream's end, as the relay sees it. `model` is what the upstream was asked for."""

    def __init__(self, exchange: Exchange, upstream: Duplex, call: RealtimeCall, model: str) -> None:
        assert isinstance(call.dialect, Realtime)
        self.subprotocol = upstream.subprotocol
        self._exchange = exchange
        self._upstream = upstream
        self._call = call
        self._dialect = call.dialect
        self._model = model
        self._views: list[GuardedEvents] | None = None
        self._ready: deque[Message | Exception] = deque()

    # --- what the client says ----------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Raises `InvalidRequest` for what is no event or names another model, and what guards raise."""
        if isinstance(message, str):
            message = await self._allowed(message)
        elif self._call.asked:
            raise InvalidRequest("this route's guards can read texts only", code="unsupported_message")
        await self._upstream.send(message)

    async def _allowed(self, message: str) -> str:
        document = documents.parse(message.encode())
        changed = self._keep_model(document)
        if self._call.asked:
            edits: list[bool] = []
            segments = self._dialect.sent_segments(document, lambda: edits.append(True))
            for ask in self._call.asked:
                await ask(segments)
            changed = changed or bool(edits)
        return documents.dump(document).decode() if changed else message

    def _keep_model(self, document: dict[str, Any]) -> bool:
        """See to it that an event names no other model than was allowed; whether that changed it."""
        changed = False
        for holder in (document, document.get("session"), document.get("response")):
            named = holder.get("model") if isinstance(holder, dict) else None
            if named is None or named == self._model or not isinstance(holder, dict):
                continue
            if named != self._call.requested_model:
                raise InvalidRequest("the model of a session cannot be changed", code="model_change", param="model")
            holder["model"] = self._model
            changed = True
        return changed

    # --- what the upstream says --------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        while not self._ready:
            try:
                message = await self._upstream.receive()
            except SocketClosed as closed:
                await self._release((), ended=True)
                self._ready.append(closed)
            else:
                await self._take(message)
        found = self._ready.popleft()
        if isinstance(found, Exception):
            raise found
        return found

    async def _take(self, message: Message) -> None:
        guarded = bool(self._call.views or self._call.observers or self._call.asked)
        if isinstance(message, bytes):
            if guarded:
                raise GuardFailed(detail="a binary message of a realtime session")
            self._ready.append(message)
            return
        if not guarded and not self._tells(message):
            self._ready.append(message)
            return
        event = Event(data := message.encode(), None, data)
        spent = self._see(event)
        if guarded:
            await self._release((event,))
        else:
            self._ready.append(message)
        if spent is not None:
            self._ready.append(spent)

    def _tells(self, message: str) -> bool:
        """Whether an event that nobody guards may be worth reading."""
        if self._exchange.first_token_at is None and ('.delta"' in message or '"session.' in message):
            return True
        return '"response.done"' in message

    def _see(self, event: Event) -> GatewayError | None:
        """Note usage, times and the model. Returns why there may be no other turn, if a limit is spent."""
        exchange, document = self._exchange, event.document or {}
        kind = str(document.get("type"))
        if kind.endswith(".delta") and exchange.first_token_at is None:
            exchange.first_token_at = time.monotonic()
        if kind == "session.created" and isinstance(session := document.get("session"), dict):
            exchange.response_model = self._dialect.reply_model(session)
        if kind != "response.done" or (usage := self._dialect.usage(document)) is None:
            return None
        exchange.usage = usage if exchange.usage is None else total(exchange.usage, usage)
        spent = None
        for charge in self._call.charges:
            try:
                charge(usage)
            except GatewayError as error:
                spent = error
        return spent

    async def _release(self, events: Sequence[Event], *, ended: bool = False) -> None:
        """Let events pass the views, one after the other: what comes out of the last is for the client."""
        if self._views is None:
            self._views = [view() for view in self._call.views]
        for event in events:
            for ask in self._call.asked:
                if heard := self._dialect.heard_segments(event):
                    await ask(heard)
        for view in self._views:
            passed = [out for event in events for out in await view.take(event)]
            events = [*passed, *await view.finish()] if ended else passed
        for event in events:
            changed = event.changed and event.document is not None
            self._ready.append(documents.dump(event.document).decode() if changed else event.raw.decode())
            await self._show(event)

    async def _show(self, event: Event) -> None:
        """Let observers see a text that is whole. What they refuse ends the session behind it."""
        if not self._call.observers or str((event.document or {}).get("type")).endswith(".delta"):
            return
        for observe in self._call.observers:
            try:
                await observe(self._dialect.event_segments(event))
            except GatewayError as error:
                self._ready.append(error)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        await self._upstream.ping()

    def failure(self, status: int, code: str, message: str) -> Message | None:
        told = self._dialect.encode_error(ErrorFacts(status, message, code=code))
        return documents.dump({"type": "error", "event_id": "event_agentgateway", **told}).decode()

    async def close(self, code: int, reason: str = "") -> None:
        await self._upstream.close(code, reason)

    async def aclose(self) -> None:
        await self._upstream.aclose()


def total(one: Usage, other: Usage) -> Usage:
    """The tokens of both."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cached_input_tokens + other.cached_input_tokens,
    )
