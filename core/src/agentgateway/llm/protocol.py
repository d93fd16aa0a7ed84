"""The protocol of routes that speak to models: requests become `LlmCall`s, errors the client's own."""

from __future__ import annotations

import re
from typing import ClassVar

from agentgateway.errors import GatewayError, InvalidRequest
from agentgateway.exchange import Content, Exchange, Headers, Reply, Request
from agentgateway.interfaces import Host, Protocol
from agentgateway.llm import documents
from agentgateway.llm.calls import Dialect, ErrorFacts, LlmCall, LlmReply
from agentgateway.llm.dialects import by_header, by_path, dialect, endings
from agentgateway.llm.dialects.realtime import Realtime
from agentgateway.llm.dialects.unread import UNREAD
from agentgateway.llm.forms import FormCall
from agentgateway.llm.realtime import RealtimeCall
from agentgateway.llm.resources import resource_call, resources

DEFAULT = "completions"
APIS = frozenset(("v1", "v1beta", "v1beta1", "model"))
"""Segments below which vendors have their calls: a path that has one and names no dialect is one that nobody here
reads, however it is spelled."""
SEGMENTS = re.compile("[/;]|%2f")


class LlmProtocol(Protocol):
    """Reads model calls in every installed dialect, by the ending of their path, and requests for what vendors keep.

    A path that names none is read as chat completions, like a route without a `routes` map in the reference. But one
    that goes on where a dialect's own ends (`/v1/messages/count_tokens`), or that is another call of a vendor's API
    (`/v1/files`), asks for something else: nobody reads it, lest a question about a call become the call. Where a
    backend takes such requests as they are (`passes`), the model that they name is looked for.
    """

    reads_body: ClassVar[bool] = True
    models: ClassVar[bool] = True
    inline: ClassVar[bool] = True

    def __init__(self, host: Host) -> None:
        self._limit = host.body_limit
        endings(), resources()  # imports every dialect: here rather than on the first request

    async def decode(self, exchange: Exchange) -> None:
        request = exchange.request
        found = by_path(request.path) if request.method == "POST" else None
        if found is None:
            exchange.call = upgraded(request) if request.upgrade else resource_call(request)
        if request.method != "POST" or exchange.call is not None:
            return
        if "content-encoding" in request.headers and request.headers.get("content-encoding") != "identity":
            raise InvalidRequest("compressed request bodies are not supported", status=415, code="unsupported_encoding")
        if found is not None and found.forms and (form := await FormCall.ahead(found, request)) is not None:
            exchange.call = form
            return
        raw = request.body.data
        if raw is None or len(raw) > self._limit:
            raw = await request.body.read(self._limit)  # the rest of it, or an error
        if found is None and not goes_on(request.path):
            found = dialect(DEFAULT)
        if found is not None:
            found.check_query(request.query, request.path)
            exchange.call = LlmCall.read(found, raw, request.path)
        elif self.passes:
            exchange.call = unread(raw, request.path)

    def content(self, exchange: Exchange) -> Content | None:
        reply = exchange.reply
        if reply is None or not isinstance(reply.body, bytes) or reply.status >= 400:
            return None
        if reply.content is None and isinstance(exchange.call, LlmCall) and is_document(exchange):
            reply.content = LlmReply.read(exchange.call.dialect, reply.body)
        return reply.content

    def render(self, exchange: Exchange) -> None:
        reply = exchange.reply
        if reply is not None and isinstance(reply.content, LlmReply):
            reply.body = reply.content.body()
            reply.headers.remove("content-length")

    def error(self, exchange: Exchange, error: GatewayError) -> Reply:
        facts = ErrorFacts(error.status, error.message, code=error.code, param=error.param)
        reply = Reply(error.status, body=documents.dump(spoken(exchange).encode_error(facts)))
        reply.headers = Headers([(b"content-type", b"application/json")])
        for name, value in error.headers:
            reply.headers.add(name.lower(), value)
        return reply


def upgraded(request: Request) -> RealtimeCall | None:
    """The session that an upgrade asks for, if its path names one."""
    found = by_path(request.path)
    return RealtimeCall.of(found, request) if isinstance(found, Realtime) else None


def unread(raw: bytes, path: str) -> LlmCall | None:
    """A call that nobody reads, if it names a model."""
    try:
        return LlmCall.read(UNREAD, raw, path)
    except InvalidRequest:
        return None


def goes_on(path: str) -> bool:
    """Whether a path is longer than one that names a dialect, or stands beside it."""
    return not APIS.isdisjoint(SEGMENTS.split(path.lower())) or any(f"{ending}/" in path for ending, _ in endings())


def is_document(exchange: Exchange) -> bool:
    """Whether the reply should be JSON: those to forms may be plain text, as the client likes."""
    call, reply = exchange.call, exchange.reply
    return not isinstance(call, FormCall) or reply is None or "json" in (reply.headers.get("content-type") or "")


def spoken(exchange: Exchange) -> Dialect:
    """The dialect the client speaks, also when its request could not be read."""
    if isinstance(exchange.call, LlmCall) and not exchange.call.dialect.unread:
        return exchange.call.dialect
    return by_path(exchange.request.path) or by_header(exchange.request.headers) or dialect(DEFAULT)
