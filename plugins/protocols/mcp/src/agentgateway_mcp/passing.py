"""Answers on their way to the client, as a reply: whole, or one message after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from pydantic_core import to_json

from agentgateway.errors import GatewayError, GuardRejected, UpstreamError
from agentgateway.exchange import Exchange, Headers, Reply, Stream
from agentgateway.streams import OnChunk, OnEnd, Taskless
from agentgateway.tasks import in_a_task
from agentgateway_mcp.errors import REFUSED, rpc_error
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.replies import McpReply, Outward, read_message
from agentgateway_mcp.servers import Answer, Said
from agentgateway_mcp.sifting import Pushing, SiftedStream
from agentgateway_mcp.streamable import Events, event

EVENTS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
PASSED_ON = frozenset((b"content-type", b"cache-control", b"www-authenticate", b"retry-after", b"allow"))
"""Headers of servers that clients have a use for."""


def whole(document: dict[str, Any], status: int = 200) -> Reply:
    """A JSON reply."""
    return Reply(status, Headers([(b"content-type", b"application/json")]), to_json(document), upstream=True)


def passed(exchange: Exchange, call: McpCall, answer: Answer, outward: Outward) -> Reply:
    """What one server answers, as the client's reply."""
    headers = Headers([pair for pair in answer.headers.raw if pair[0] in PASSED_ON])
    if answer.messages is not None:
        return Reply(200, Headers(list(EVENTS)), Passing(exchange, call, answer, outward), upstream=True)
    body = answer.whole or b""
    if body and "content-type" not in headers:
        headers.add("content-type", "application/json")
    needed = outward.needed and not outward.leaves(body)
    if body and is_json(answer) and (needed or answer.status >= 400 or b'"error"' in body):
        document = outward.message(read_message(body))
        note(call, document)
        body = to_json(document) if needed else body
    return Reply(answer.status, headers, body, upstream=True)


def is_json(answer: Answer) -> bool:
    return (answer.headers.get("content-type") or "application/json").partition(";")[0].strip() == "application/json"


def note(call: McpCall, document: dict[str, Any]) -> None:
    """Remember what went wrong, for the log."""
    error = document.get("error")
    if isinstance(error, dict) and isinstance(error.get("code"), int):
        call.error_code = error["code"]


class Passing(Taskless):
    """The body of a streamed reply. Bytes pass as they came wherever nothing in them is another thing for clients; each
    message is read and put in front of the guards that the way back has added meanwhile, if there are any."""

    def __init__(self, exchange: Exchange, call: McpCall, answer: Answer, outward: Outward) -> None:
        self._exchange = exchange
        self._call = call
        self._answer = answer
        self._outward = outward
        messages = answer.messages
        assert messages is not None
        self._messages = messages
        self._raw: Untouched | None = None
        if isinstance(messages, Events):
            same = not outward.needed and not outward.renames_events
            stream = messages.stream if same else renamed(call, messages, outward)
            self._raw = Untouched(exchange, call, stream)
        self._edited: AsyncGenerator[bytes, None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._raw is not None and not self._call.judges:
            return await self._raw.__anext__()
        if self._edited is None:
            await in_a_task()
            self._edited = edited(self._exchange, self._call, self._messages, self._outward)
        return await self._edited.__anext__()

    def push(self, on_chunk: OnChunk, on_end: OnEnd) -> bool:
        return self._raw is not None and not self._call.judges and self._raw.push(on_chunk, on_end)

    def pause(self) -> None:
        if self._raw is not None:
            self._raw.source.pause()

    def resume(self) -> None:
        if self._raw is not None:
            self._raw.source.resume()

    async def aclose(self) -> None:
        if self._edited is not None:
            await self._edited.aclose()
        await self._answer.close()


def renamed(call: McpCall, messages: Events, outward: Outward) -> SiftedStream:
    """The bytes of a stream, with the names that clients know."""

    async def rename(data: bytes) -> bytes:
        document = outward.message(read_message(data))
        note(call, document)
        return to_json(document)

    place = outward.event if outward.renames_events else None
    return SiftedStream(messages.stream, rename, outward.leaves, messages.limit, place)


class Untouched:
    """The bytes of a stream as they come. A request whose stream breaks is answered with an error, unless events have
    ids: its client asks for the rest (`Last-Event-ID`)."""

    def __init__(self, exchange: Exchange, call: McpCall, stream: Stream) -> None:
        self._exchange = exchange
        self._call = call
        self._stream = stream
        self._may_resume = not call.modern
        self._tail = b"\n\n"
        self._resumable = False
        self._over = False

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        try:
            chunk = await self._stream.__anext__()
        except GatewayError as error:
            if self._resumable or self._call.stream or not self._call.is_request:
                raise  # of the legacy transport, whoever puts the messages on its stream says so
            self._over, self._exchange.error = True, error
            whole_so_far = self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
            return (b"" if whole_so_far else b"\n\n") + failure(self._call, error)
        self._see(chunk)
        return chunk

    def push(self, on_chunk: OnChunk, on_end: OnEnd) -> bool:
        def pushed(chunk: bytes) -> None:
            self._see(chunk)
            on_chunk(chunk)

        return hasattr(self._stream, "push") and self.source.push(pushed, on_end) is not False

    @property
    def source(self) -> Pushing:
        return cast("Pushing", self._stream)

    def _see(self, chunk: bytes) -> None:
        edge = self._tail + chunk[:3]
        if b"\nid:" in edge or b"\nid:" in chunk:
            self._resumable = self._may_resume
        self._tail = (chunk if len(chunk) >= 4 else edge)[-4:]


async def edited(
    exchange: Exchange, call: McpCall, messages: AsyncIterator[Said], outward: Outward
) -> AsyncGenerator[bytes, None]:
    """The events of a stream that somebody looks into. What a guard refuses is answered in its place, and ends it. One
    that breaks off does so here, too, where the client can have the rest (`Last-Event-ID`)."""
    resumable = call.purpose == "listen"
    try:
        async for said in messages:
            place = outward.event(said.event)
            resumable = resumable or (place is not None and not call.modern)
            if not said.data:
                yield event(Said(b"", place, said.retry))
                continue
            document = outward.message(read_message(said.data))
            note(call, document)
            await judged(call, document)
            yield event(Said(to_json(document), place, said.retry))
    except UpstreamError as error:
        if resumable and not call.stream:
            raise
        exchange.error = error
        yield failure(call, error)
    except GatewayError as error:
        exchange.error = error
        yield failure(call, error)


async def judged(call: McpCall, document: dict[str, Any]) -> None:
    """Show a message's texts to the guards of the reply. Raises `GuardRejected`, `GuardFailed`."""
    if call.judges:
        segments = McpReply(document).segments()
        for judge in call.judges:
            await judge(segments)


def failure(call: McpCall, error: GatewayError) -> bytes:
    """An error as the last event of a stream."""
    return event(Said(to_json(refusal(call, error))))


def refusal(call: McpCall, error: GatewayError) -> dict[str, Any]:
    """An error as the response to a message."""
    told = rpc_error(error)
    if isinstance(error, GuardRejected):
        told["code"] = REFUSED
    call.error_code = told["code"]
    return {"jsonrpc": "2.0", "id": call.id if call.is_request else None, "error": told}
