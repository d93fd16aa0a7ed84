"""One request of a client with a session, at a server of 2026-07-28.

What the server needs to know first it says in its result; here it becomes requests to the client, on the stream of its
call, and what the client answers goes with the request once more (specification 2026-07-28, "Multi round-trip
requests").
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Protocol

from pydantic_core import to_json

from agentgateway.errors import GatewayError, UpstreamError, UpstreamTimeout
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.door import gone
from agentgateway_mcp.envelope import Json, can_answer, member
from agentgateway_mcp.errors import HEADER_MISMATCH, INTERNAL_ERROR, McpError, rpc_error
from agentgateway_mcp.inbox import Letter
from agentgateway_mcp.known_eras import LACKS_CAPABILITY, error_code, may_refuse
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.modern_words import INPUT_REQUIRED, legacy_notification, legacy_response
from agentgateway_mcp.param_headers import ParamHeaders
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.tape import Tape

ANSWERED_WITHIN = 600.0
"""Seconds for a client, and its user, to answer."""
ROUNDS = 32
"""How often a server may ask, for one request."""
PAUSE = 0.2
"""Seconds before a request goes out again of which the server only said that it is to."""
PAGES = 64


Keep = Callable[[Tape], Answer]


class Stale(Exception):
    """The server does not speak 2026-07-28 any more."""


class Calls(Protocol):
    """What a session has under way: requests by the client's id, and what the client has been asked."""

    calls: dict[Any, ModernCall]
    questions: dict[Any, ModernCall]


class ModernCall:
    """`document` is the request as the server gets it, with the client's own id; `keep` makes a stream of a tape."""

    _rounds = ROUNDS

    def __init__(
        self, under_way: Calls, document: Json, capabilities: Json, headers: ParamHeaders, tape: Tape, keep: Keep
    ) -> None:
        self._under_way = under_way
        self._document = document
        self._id = document["id"]
        self._capabilities = capabilities
        self._headers = headers
        self._sink = tape
        self._keep = keep
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._open: dict[Any, str] = {}
        self._given: Json = {}
        self._complete = asyncio.Event()
        self._refused: Json | None = None

    @property
    def _method(self) -> str:
        return str(self._document["method"])

    async def start(self, caller: Caller) -> Answer:
        """The answer: whole, or a stream. Raises `UpstreamError`."""
        self._under_way.calls[self._id] = self
        sending = self._task = asyncio.get_running_loop().create_task(self._sent(caller, self._document))
        try:
            answer = await sending
            first = document_in(answer)
        except asyncio.CancelledError:
            self._forget()
            if not self._cancelled:
                raise
            self._sink.end()
            return Answer(200, messages=self._sink.opened())
        except BaseException:
            self._forget()
            raise
        if answer.messages is None and (first is None or not self._continues(first)):
            self._forget()
            return answer if first is None else await self._whole(answer, first)
        self._sink.on_close = self.cancel
        self._task = asyncio.get_running_loop().create_task(self._run(caller, answer, first))
        return self._keep(self._sink)

    def answered(self, document: Json) -> None:
        """What the client says to one of the questions."""
        key = self._open.pop(document["id"], None)
        if key is not None and isinstance(document.get("result"), dict):
            self._given[key] = document["result"]
        elif key is not None:
            self._refused = member(document, "error")
        if not self._open or self._refused is not None:
            self._complete.set()

    def cancel(self) -> None:
        """The client waits no more: nor does the server, whose stream is closed."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    async def _whole(self, answer: Answer, document: Json) -> Answer:
        if self._method == "tools/list":
            self._headers.learn(member(document, "result"))
        said = await self._told(document)
        return Answer(200 if "error" in said else answer.status, whole=to_json(said), headers=answer.headers)

    async def _sent(self, caller: Caller, document: Json) -> Answer:
        """Ask the server; once more, where it wants arguments in headers that were not known to have any."""
        answer = await caller.send(self._ask(document))
        if self._method == "tools/call" and answer.whole and error_code(answer) == HEADER_MISMATCH:
            await self._learn(caller)
            answer = await caller.send(self._ask(document))
        if may_refuse(answer):
            raise Stale
        return answer

    def _ask(self, document: Json) -> Ask:
        return Ask("send", to_json(document), document, MODERN, fields=self._headers.of(document))

    async def _learn(self, caller: Caller) -> None:
        """Read what the server's tools look like."""
        meta, cursor = {"_meta": member(member(self._document, "params"), "_meta")}, None
        for page in range(PAGES):
            params = {**meta, "cursor": cursor} if cursor is not None else meta
            document = {"jsonrpc": "2.0", "id": f"agw-tools-{page}", "method": "tools/list", "params": params}
            result = member(await caller.response(Ask("send", to_json(document), document, MODERN)), "result")
            self._headers.learn(result)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                return

    # --- in a stream --------------------------------------------------------------------------------------------------

    async def _run(self, caller: Caller, answer: Answer, first: Json | None) -> None:
        try:
            document = first if first is not None else await self._response(answer)
            for number in range(self._rounds):
                if not self._continues(document):
                    break
                again = await self._round(caller, document["result"], number)
                document = await self._response(await self._sent(caller, again))
            else:
                raise UpstreamError("the server asks again and again")
            if self._method == "tools/list":
                self._headers.learn(member(document, "result"))
            self._say(await self._told(document))
        except GatewayError as error:
            self._say({"jsonrpc": "2.0", "id": self._id, "error": rpc_error(error)})
        except Stale:
            self._say({"jsonrpc": "2.0", "id": self._id, "error": rpc_error(gone())})
        finally:
            self._forget()
            self._sink.end()

    async def _response(self, answer: Answer) -> Json:
        """The response in an answer. What comes before it goes on to the client."""
        try:
            whole = document_in(answer)
            if whole is not None:
                return whole
            if answer.messages is None:
                raise UpstreamError("the server's answer is no message", detail=f"status {answer.status}")
            async for said in answer.messages:
                document = read_message(said.data) if said.data else {}
                if "method" not in document and "id" in document:
                    return document
                if "method" in document and "id" not in document:
                    self._say(legacy_notification(document))
                    await asyncio.sleep(0)  # the reader's turn, before it lacks something
        finally:
            await answer.close()
        raise UpstreamError("the server ended without an answer", detail=f"status {answer.status}")

    def _continues(self, document: Json) -> bool:
        """Whether a response is not the last one."""
        return is_question(document)

    async def _told(self, document: Json) -> Json:
        """The last response as the client gets it."""
        return legacy_response(document, self._method, self._id)

    async def _round(self, caller: Caller, result: Json, number: int) -> Json:
        """Ask the client what the server wants to know: the request with its answers. Raises `McpError`."""
        given = await self._answers(member(result, "inputRequests"))
        if not given:
            await asyncio.sleep(PAUSE)
        more: Json = {"inputResponses": given} if given else {}
        if isinstance(result.get("requestState"), str):
            more["requestState"] = result["requestState"]
        params = {**member(self._document, "params"), **more}
        return {**self._document, "id": f"agw-round-{number}-{secrets.token_hex(4)}", "params": params}

    async def _answers(self, questions: Json) -> Json:
        """What the client says to each. Raises `McpError`."""
        self._given, self._refused = {}, None
        self._complete.clear()
        for key, question in questions.items():
            self._put(key, question if isinstance(question, dict) else {})
        if self._open:
            await self._wait()
        return self._given

    def _put(self, key: str, question: Json) -> None:
        method = str(question.get("method", ""))
        if not can_answer(method, self._capabilities):
            raise McpError(LACKS_CAPABILITY, f"the server asks for {method[:64]}, which the client does not know")
        wanted = f"agw-ask-{secrets.token_urlsafe(9)}"
        self._open[wanted] = key
        self._under_way.questions[wanted] = self
        params = {"params": question["params"]} if isinstance(question.get("params"), dict) else {}
        self._say({"jsonrpc": "2.0", "id": wanted, "method": method, **params}, owed=True)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                await self._complete.wait()
        except TimeoutError:
            raise UpstreamTimeout("the client did not answer in time") from None
        if self._refused is not None:
            code, message = self._refused.get("code"), str(self._refused.get("message", ""))[:512]
            raise McpError(code if isinstance(code, int) else INTERNAL_ERROR, message)

    def _say(self, document: Json, *, owed: bool = False) -> None:
        self._sink.put(Letter(to_json(document), owed, document.get("id")))

    def _forget(self) -> None:
        self._under_way.calls.pop(self._id, None)
        for wanted in self._open:
            self._under_way.questions.pop(wanted, None)


def document_in(answer: Answer) -> Json | None:
    """The message that an answer is; None for a stream, and for what is no message."""
    if answer.messages is not None or not (answer.whole or b"").lstrip().startswith(b"{"):
        return None
    return read_message(answer.whole or b"")


def is_question(document: Json) -> bool:
    return member(document, "result").get("resultType") == INPUT_REQUIRED
