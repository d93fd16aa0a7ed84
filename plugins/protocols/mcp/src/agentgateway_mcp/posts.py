"""Messages of the transport of 2024-11-05: posted, accepted (202), and answered on the client's stream.

A message takes the way of every other one up to the servers. There its POST is over, and when that has left every
phase behind, the servers are asked: what comes back, what guards say of it and what goes wrong are told on the stream,
in whichever worker that is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from agentgateway.errors import GatewayError, InternalError, Unauthenticated, UpstreamError
from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.interfaces import Link, PeerGone, Peers
from agentgateway.streams import aclose
from agentgateway_mcp.door import gone
from agentgateway_mcp.elsewhere import expected, is_response, while_wanted
from agentgateway_mcp.errors import INVALID_REQUEST, LIMITED, McpError
from agentgateway_mcp.event_stream import ANSWERED, ASKED, OPENED, SAID, divert
from agentgateway_mcp.logins import LoginRequired, waiting_for_login
from agentgateway_mcp.messages import Afterwards, McpCall
from agentgateway_mcp.passing import refusal
from agentgateway_mcp.relay import Relay
from agentgateway_mcp.sessions import owner_of

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend

logger = logging.getLogger("agentgateway.mcp")


async def accepted(backend: McpBackend, exchange: Exchange, call: McpCall) -> Reply:
    """Take a message. A request is answered later; anything else has reached its servers when this returns."""
    link = await _entered(backend, call)
    if call.is_request:
        call.then = Afterwards(lambda: _answered(backend, exchange, call, link), link.close)
        return Reply(202, Headers([(b"content-length", b"0")]), Nothing(call.then), upstream=True)
    try:
        reply = await Relay(backend, exchange, call).answer()
        if not isinstance(reply.body, bytes):
            await aclose(reply.body)
    except GatewayError as error:
        exchange.error = error  # nobody is told what comes of a notification
    finally:
        link.close()
    return Reply(202, upstream=True)


async def _entered(backend: McpBackend, call: McpCall) -> Link:
    """A link to the stream, whose session is the message's from here on. Raises `McpError`."""
    try:
        link = await backend.host.peers.call(call.stream)
        session, room = from_json(await expected(link))
    except PeerGone:
        call.stream = ""
        raise gone() from None
    except UpstreamError:
        call.stream = ""
        raise
    call.session = backend.seal.open(session) if session else None
    problem = None
    if not room:
        problem = McpError(LIMITED, "too many requests under way", status=429)
    elif backend.stateful and (call.method == "initialize") is bool(session):
        problem = McpError(INVALID_REQUEST, "the session is open already" if session else "there is no session yet")
    if problem is not None:
        link.close()
        raise problem
    return link


async def _answered(backend: McpBackend, exchange: Exchange, call: McpCall, link: Link) -> None:
    """Have a request answered on the stream, unless the client leaves that."""
    try:
        await link.send(ASKED + to_json(call.id))
        await while_wanted(link, _answer(backend, exchange, call, link))
        link.close()
    except PeerGone:
        link.abort()
    except BaseException:
        link.abort()
        raise


async def _answer(backend: McpBackend, exchange: Exchange, call: McpCall, link: Link) -> None:
    answered = False

    async def put(message: bytes) -> None:
        nonlocal answered
        last = is_response(message)
        if not (last and answered):
            answered = answered or last
            await link.send((ANSWERED if last else SAID) + message)

    try:
        reply = await Relay(backend, exchange, call).answer()
        if (session := reply.headers.get("mcp-session-id")) is not None:
            await link.send(OPENED + session.encode())
        await divert(reply, call, backend.host.body_limit, put)
        if not answered:
            raise UpstreamError("the server ended without an answer")
    except GatewayError as error:
        logger.info("a request of a stream failed: %s", error.detail or error.message)
        told = waiting_for_login(call, error) if isinstance(error, LoginRequired) else refusal(call, error)
        await put(to_json(told))
    except PeerGone:
        raise
    except Exception:
        logger.exception("a request of a stream failed")
        await put(to_json(refusal(call, InternalError())))


def told_on_stream(peers: Peers, exchange: Exchange, error: GatewayError, document: Any) -> Reply | None:
    """An error of a request of somebody's own stream, as its answer there: older clients take a POST that fails for the
    end of everything. None where it is the POST's own: who asks is not known, or has no such stream."""
    call = exchange.call
    if not isinstance(call, McpCall) or not call.stream or not call.is_request or isinstance(error, Unauthenticated):
        return None
    if call.owner != owner_of(exchange):
        return None
    if call.then is not None:
        call.then.give_up()
    call.then = Afterwards(lambda: _tell(peers, call.stream, to_json(document)), due=True)
    return Reply(202)


async def _tell(peers: Peers, stream: str, message: bytes) -> None:
    try:
        link = await peers.call(stream)
        await expected(link)
        await link.send(SAID + message)
        link.close()
    except PeerGone:
        pass


class Nothing:
    """An empty body that is a stream: guards of streams look at what comes of a message one by one. It is read when all
    of them know of the reply; what follows is due from then on, and not where a client left before."""

    def __init__(self, then: Afterwards) -> None:
        self._then = then

    def __aiter__(self) -> Nothing:
        return self

    async def __anext__(self) -> bytes:
        self._then.due = True
        raise StopAsyncIteration
