"""Who else has a word in requests and results: processors, asked where it is known which server a request goes to,
before the rules of `mcpAuthorization` are; and again with the result, as the client would get it.

A policy brings its own in `authz`: `exchange.call.processors.append(...)`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from pydantic_core import to_json

from agentgateway.errors import GatewayError
from agentgateway.exchange import Exchange, Reply, Stream
from agentgateway.streams import OwnedStream
from agentgateway_mcp.door import unknown
from agentgateway_mcp.errors import INTERNAL_ERROR, McpError
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.passing import failure
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Said
from agentgateway_mcp.streamable import Events, event

NAMED = {"tool": "name", "prompt": "name", "resource": "uri", "task": "taskId"}
"""The parameter that names the thing that a request is about."""

Params = dict[str, Any]


class Processor:
    """Looks at requests and results of some methods. `targets` are the servers that a message concerns."""

    async def before(self, exchange: Exchange, targets: Sequence[str], params: Params | None) -> Params | None:
        """A request. `params` are in the words of the one server that it goes to; None where it goes to several, and
        nothing of it can be changed. What is returned stands for them. Raises `GatewayError`: a refusal."""
        return None

    def awaits_results(self, method: str | None) -> bool:
        """Whether it wants to see the results of that method; None is any."""
        return False

    async def after(self, exchange: Exchange, targets: Sequence[str], result: Params) -> Params | None:
        """A result, in the client's words. What is returned stands for it. Raises `GatewayError`."""
        return None


async def past_processors(
    exchange: Exchange, call: McpCall, names: Names, limit: int, answer: Callable[[], Awaitable[Reply]]
) -> Reply:
    """What comes of a message that they have a word in. What is about one thing is asked about when its server is
    known, by `ask_before_one`."""
    if not call.is_request and call.purpose != "listen":
        return await answer()
    if call.is_request and call.kind is None and call.method != "completion/complete":
        await ask_before_all(exchange, call, names)
    return await seen(exchange, call, await answer(), names, limit)


async def ask_before_all(exchange: Exchange, call: McpCall, names: Names) -> None:
    """Ask about a request that is about no one thing."""
    for processor in call.processors:
        await processor.before(exchange, names.targets, None)


async def ask_before_one(exchange: Exchange, call: McpCall, names: Names) -> None:
    """Ask about a request whose server is known, and change it as they say. Raises `GatewayError`."""
    assert call.target is not None
    params = shown = {**call.params, **own_words(call)}
    for processor in call.processors:
        params = kept(await processor.before(exchange, (call.target,), params), params, "_meta")
    if params is shown:
        return
    name = name_in(call, params)
    if name is None:
        raise McpError(INTERNAL_ERROR, "a processor left out what the request is about", status=200)
    call.document = {**call.document, "params": params}
    call.changed_by_guard = True
    call.name = name
    kind = call.kind
    if call.looked_at is not None:
        kind = call.looked_at[0]
        call.looked_at = (kind, call.target, name)
    if kind is not None and not names.seen[call.target].has(kind, name):
        raise unknown(call)


def own_words(call: McpCall) -> Params:
    """The parameter that names a thing, as its server has it."""
    if call.kind is not None:
        return {NAMED[call.kind]: call.name}
    reference = call.params.get("ref")
    if isinstance(reference, dict):
        return {"ref": {**reference, "name" if "name" in reference else "uri": call.name}}
    return {}


def name_in(call: McpCall, params: Params) -> str | None:
    reference = params.get("ref")
    holder, key = (params, NAMED[call.kind]) if call.kind is not None else (reference, "name")
    if not isinstance(holder, dict):
        return None
    name = holder.get(key) if call.kind is not None or key in holder else holder.get("uri")
    return name if isinstance(name, str) else None


def kept(changed: Params | None, before: Params, own: str) -> Params:
    """What a processor made of something; a member that is the protocol's own remains where it was left out."""
    if changed is None:
        return before
    return {**changed, own: before[own]} if own in before and own not in changed else changed


async def seen(exchange: Exchange, call: McpCall, reply: Reply, names: Names, limit: int) -> Reply:
    """The reply, its result shown to those who want to see it: at once, or when it comes, in an event of at most
    `limit` bytes."""
    method = None if call.purpose == "listen" else call.method
    wanting = [one for one in call.processors if one.awaits_results(method)]
    if not wanting or reply.status != 200:
        return reply
    looking = Looking(exchange, call, wanting, (call.target,) if call.target is not None else names.targets)
    if isinstance(reply.body, bytes):
        document = read_message(reply.body) if reply.body else {}
        changed = await looking.changed(document)
        if changed is not None:
            reply.body = to_json(changed)
    else:
        reply.body = OwnedStream(looking.each(reply.body, limit), reply.body)
    return reply


class Looking:
    """Processors in front of the result of one request."""

    def __init__(
        self, exchange: Exchange, call: McpCall, processors: Sequence[Processor], targets: Sequence[str]
    ) -> None:
        self._exchange = exchange
        self._call = call
        self._processors = processors
        self._targets = targets

    async def changed(self, document: Params) -> Params | None:
        """The message, if it is a result and somebody changed it. A result that comes late, on a stream that a client
        came back to, is withheld: nobody knows any more what it is of."""
        result = document.get("result")
        if not isinstance(result, dict) or "method" in document:
            return None
        if not self._call.is_request:
            told = {"code": INTERNAL_ERROR, "message": "a guardrail could not be evaluated: ask again"}
            return {"jsonrpc": "2.0", "id": document.get("id"), "error": told}
        now = result
        for processor in self._processors:
            now = kept(await processor.after(self._exchange, self._targets, now), now, "resultType")
        return {**document, "result": now} if now is not result else None

    async def each(self, stream: Stream, limit: int) -> AsyncGenerator[bytes, None]:
        """The events of a stream. A refusal is the answer, and ends it."""
        events = Events(stream, limit)
        try:
            async for said in events:
                changed = await self.changed(read_message(said.data)) if said.data else None
                yield event(said if changed is None else Said(to_json(changed), said.event, said.retry))
        except GatewayError as error:
            self._exchange.error = error
            yield failure(self._call, error)
        finally:
            await events.aclose()
