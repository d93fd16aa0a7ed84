"""Messages for a conversation that lives in another worker: handed over to it, and what it answers.

One link a message. A head in JSON goes there, then the message; a head comes back, then the messages of the answer, a
frame each. Policies have worked on the request where it came in: what goes on is what they made of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import (
    ConnectFailed,
    GatewayError,
    InternalError,
    InvalidRequest,
    NoEndpoint,
    UpstreamError,
    UpstreamTimeout,
)
from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Link, PeerGone
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.servers import Answer, Ask, Said

ERRORS = {one.__name__: one for one in (ConnectFailed, InternalError, InvalidRequest, NoEndpoint, UpstreamTimeout)}
LATIN = "latin-1"


@dataclass(frozen=True, slots=True)
class Way:
    """What a worker that got a message made of the request to the server: what is not the target's configuration."""

    target: str
    headers: list[tuple[str, str]]
    authority: str | None = None
    head_timeout: float | None = None

    @classmethod
    def of(cls, out: Outgoing) -> Way:
        return cls(out.target, pairs(out.headers), out.authority, out.head_timeout)


Take = Callable[[Ask, Way | None], Awaitable[Answer]]


async def handed_over(link: Link, ask: Ask, outgoing: Outgoing | None) -> Answer:
    """The answer of a conversation elsewhere. Raises what was raised there, and `UpstreamError` when its worker ends
    meanwhile."""
    way = Way.of(outgoing) if outgoing is not None else None
    head = {"purpose": ask.purpose, "version": ask.version, "resume_from": ask.resume_from, "way": way}
    try:
        await link.send(to_json(head))
        await link.send(ask.message)
        told = from_json(await expected(link))
        if "error" in told:
            raise as_error(**told["error"])
        answer = Answer(told["status"], headers=Headers(bytes_of(told["headers"])))
        if told["whole"]:
            answer.whole = await expected(link)
    except PeerGone:
        raise ended() from None
    except BaseException:
        link.abort()
        raise
    if told["streams"]:
        answer.resumable = told.get("resumable", False)
        answer.messages = Relayed(link, answer.resumable)
    else:
        link.close()
    return answer


async def taken(link: Link, take: Take) -> None:
    """The other side: a message comes by a link, is taken, and its answer goes back, until nobody wants it any more."""
    head, message = from_json(await expected(link)), await expected(link)
    document = from_json(message) if message else {}
    ask = Ask(head["purpose"], message, document, head["version"], None, head["resume_from"])
    way = Way(**head["way"]) if head["way"] is not None else None
    await while_wanted(link, _answer(link, take, ask, way))


async def _answer(link: Link, take: Take, ask: Ask, way: Way | None) -> None:
    try:
        answer = await take(ask, way)
    except GatewayError as error:
        await link.send(to_json({"error": in_words(error)}))
        return
    try:
        whole, streams = answer.whole is not None, answer.messages is not None
        head = {"status": answer.status, "headers": pairs(answer.headers), "whole": whole, "streams": streams}
        head["resumable"] = answer.resumable
        await link.send(to_json(head))
        if answer.whole is not None:
            await link.send(answer.whole)
        if answer.messages is not None:
            async for said in answer.messages:
                await link.send(with_id(said) if answer.resumable else said.data)
    finally:
        await answer.close()


async def while_wanted(link: Link, work: Coroutine[Any, Any, None]) -> None:
    """Do something for the other end, as long as it is there; it is not expected to say anything."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(link.receive())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    try:
        if not working.cancelled():
            working.result()
    finally:
        del working, leaving, task  # an error refers to this frame


class Relayed:
    """The messages of an answer, as they come by a link, with the ids of events in front of them if there are any."""

    def __init__(self, link: Link, resumable: bool) -> None:
        self._link = link
        self._resumable = resumable
        self._over = False
        self._last = b"{}"

    def __aiter__(self) -> AsyncIterator[Said]:
        return self

    async def __anext__(self) -> Said:
        try:
            data = await self._link.receive()
        except PeerGone:
            if not is_response(self._last):
                raise ended() from None
            data = None  # all was said but the end
        if data is None:
            self._over = True
            self._link.close()
            raise StopAsyncIteration
        said = without_id(data) if self._resumable else Said(data)
        self._last = said.data
        return said

    async def aclose(self) -> None:
        if not self._over:
            self._link.abort()


def with_id(said: Said) -> bytes:
    return b"%b\n%b" % ((said.event or "").encode(), said.data)


def without_id(frame: bytes) -> Said:
    place, _, data = frame.partition(b"\n")
    return Said(data, place.decode() or None)


async def expected(link: Link) -> bytes:
    """The next frame, which has to come. Raises `PeerGone`."""
    frame = await link.receive()
    if frame is None:
        raise PeerGone
    return frame


def is_response(message: bytes) -> bool:
    """Whether it is one, and no request, notification, or nonsense."""
    try:
        document = from_json(message)
    except ValueError:
        return False
    return isinstance(document, dict) and "id" in document and "method" not in document


def ended() -> UpstreamError:
    return UpstreamError("the server has ended", detail="the worker that its session lived in is gone")


def in_words(error: GatewayError) -> dict[str, Any]:
    if isinstance(error, McpError):
        told = {"rpc": error.rpc, "data": error.data, "detail": error.detail, "headers": error.headers}
        return {"kind": "McpError", "message": error.message, "status": error.status, **told}
    kind = next((one.__name__ for one in type(error).__mro__ if one.__name__ in ERRORS), "")
    return {
        "kind": kind,
        "message": error.message,
        "detail": error.detail,
        "status": error.status,
        "code": error.code,
        "headers": error.headers,
    }


def as_error(kind: str, headers: list[list[str]], **told: Any) -> GatewayError:
    pairs = tuple((name, value) for name, value in headers)
    if kind == "McpError":
        return McpError(headers=pairs, **told)
    return ERRORS.get(kind, UpstreamError)(headers=pairs, **told)


def pairs(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode(LATIN), value.decode(LATIN)) for name, value in headers.raw]


def bytes_of(headers: list[Any]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(LATIN), value.encode(LATIN)) for name, value in headers]
