"""The protocol of routes to MCP servers: requests become `McpCall`s, errors JSON-RPC errors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from pydantic_core import to_json

from agentgateway.errors import GatewayError, GuardRejected, InvalidRequest
from agentgateway.exchange import Content, Exchange, Headers, Reply, Request
from agentgateway.interfaces import Host, Protocol
from agentgateway.llm.documents import check, read_object
from agentgateway_mcp.door import shown
from agentgateway_mcp.eras import speak
from agentgateway_mcp.errors import INVALID_REQUEST, PARSE_ERROR, REFUSED, UNSUPPORTED_VERSION, McpError, rpc_error
from agentgateway_mcp.logins import LoginRequired, waiting_for_login
from agentgateway_mcp.messages import MODERN, McpCall
from agentgateway_mcp.posts import told_on_stream
from agentgateway_mcp.replies import McpReply, Page, read_message
from agentgateway_mcp.spelling import misspelt
from agentgateway_mcp.tickets import is_stream_path, take_ticket

ALLOWED = (("allow", "GET, POST, DELETE"),)
JSON, EVENTS = "application/json", "text/event-stream"
TOLD = "notifications/"
"""How methods of notifications begin, in every version."""


class McpProtocol(Protocol):
    """Reads JSON-RPC messages of every version of the protocol: Streamable HTTP, and HTTP with SSE at `/sse`."""

    reads_body: ClassVar[bool] = True
    guards_failures: ClassVar[bool] = True
    inline: ClassVar[bool] = True

    def __init__(self, host: Host) -> None:
        self._limit = host.body_limit
        self._peers = host.peers

    async def decode(self, exchange: Exchange) -> None:
        request = exchange.request
        if is_stream_path(request.path):
            await self._of_stream(exchange, take_ticket(request))
            return
        if request.method == "POST":
            call = await self._message(exchange)
        elif request.method in ("GET", "DELETE"):
            call = exchange.call = McpCall("listen" if request.method == "GET" else "end")
        else:
            raise InvalidRequest("method not allowed", status=405, headers=ALLOWED)
        _negotiate(call, request)
        speak(call, request.headers)

    async def _of_stream(self, exchange: Exchange, ticket: str) -> None:
        """A stream of the transport of 2024-11-05, or a message for one."""
        request = exchange.request
        if request.method == "POST":
            call = await self._message(exchange)
        elif request.method == "GET":
            call = exchange.call = McpCall("listen")
            _negotiate(call, request)
        else:
            raise InvalidRequest("method not allowed", status=405, headers=(("allow", "GET, POST"),))
        if (request.headers.get("mcp-protocol-version") or "") >= MODERN:
            raise McpError(UNSUPPORTED_VERSION, "versions without sessions are not spoken at this path")
        speak(call, request.headers)
        call.ticket = ticket

    async def _message(self, exchange: Exchange) -> McpCall:
        request = exchange.request
        if _kind(request.headers) != JSON:
            raise McpError(INVALID_REQUEST, "the content type must be application/json", status=415)
        if request.headers.get("content-encoding") not in (None, "identity"):
            raise McpError(INVALID_REQUEST, "compressed request bodies are not supported", status=415)
        raw = await request.body.read(self._limit)
        try:
            document = read_object(raw)
        except ValueError as error:
            if raw.lstrip()[:1] == b"[":
                raise McpError(INVALID_REQUEST, "batches are not supported: send one message a request") from None
            raise McpError(PARSE_ERROR, f"Parse error: {error}") from None
        exchange.call = call = McpCall("send", raw, document)
        try:
            check(document, raw)
        except InvalidRequest as error:
            raise McpError(INVALID_REQUEST, error.message) from None
        _check_envelope(call)
        return call

    def content(self, exchange: Exchange) -> Content | None:
        """The message in a whole reply; one without texts where there is none. A failure may be a page of any kind."""
        reply = exchange.reply
        if reply is None or not isinstance(reply.body, bytes):
            return None
        if reply.content is None:
            if reply.status >= 400 and _kind(reply.headers) != JSON:
                reply.content = Page(reply.body.decode("utf-8", "replace"))
            else:
                reply.content = McpReply(read_message(reply.body) if reply.body else {})
        return reply.content

    def render(self, exchange: Exchange) -> None:
        reply = exchange.reply
        if reply is not None and isinstance(reply.content, McpReply | Page):
            reply.body = reply.content.body()
            reply.headers.remove("content-length")

    def error(self, exchange: Exchange, error: GatewayError) -> Reply:
        """A JSON-RPC error; what a guard refuses is the answer of a request that was understood (200)."""
        call = exchange.call if isinstance(exchange.call, McpCall) else None
        if isinstance(error, LoginRequired) and call is not None and call.is_request:
            headers = Headers([(b"content-type", JSON.encode()), (b"cache-control", b"no-store")])
            return Reply(200, headers, to_json(waiting_for_login(call, error)))
        rpc = rpc_error(error)
        if isinstance(error, GuardRejected):
            rpc["code"] = REFUSED
        if call is not None:
            call.error_code = rpc["code"]
        document = {"jsonrpc": "2.0", "id": request_id(call), "error": rpc}
        if call is not None and call.stream and (reply := told_on_stream(self._peers, exchange, error, document)):
            return reply
        status = 200 if isinstance(error, GuardRejected) and call is not None and call.is_request else error.status
        reply = Reply(status, Headers([(b"content-type", JSON.encode())]), to_json(document))
        for name, value in error.headers:
            reply.headers.add(name.lower(), value)
        return reply


def request_id(call: McpCall | None) -> Any:
    """The id to answer to; null where there is none, or none that is one."""
    wanted = call.id if call is not None and call.is_request else None
    return wanted if isinstance(wanted, str | int) and not isinstance(wanted, bool) else None


def _check_envelope(call: McpCall) -> None:
    """One request, notification or response of JSON-RPC 2.0, whose ids are texts or integers. Notifications are what is
    called so: a request without an id would go past everything that decides about requests, to servers that do not
    mind, and a notification with one would wait for an answer that does not come."""
    document = call.document
    wanted = document.get("id")
    named = isinstance(wanted, str) or (isinstance(wanted, int) and not isinstance(wanted, bool))
    params = document.get("params")
    whole = (
        document.get("jsonrpc") == "2.0"
        and (named or ("id" not in document and bool(call.method)))
        and (params is None or isinstance(params, dict))
        and (bool(call.method) or (("result" in document) != ("error" in document) and "method" not in document))
    )
    if not whole:
        raise McpError(INVALID_REQUEST, "the body must be one JSON-RPC 2.0 request, notification or response")
    if (unknown := misspelt(document)) is not None:
        raise McpError(INVALID_REQUEST, f"no member of a message is spelt like that: {shown(unknown)}")
    if call.method and call.method.startswith(TOLD) is named:
        problem = "a notification has no id" if named else "a request must have an id"
        raise McpError(INVALID_REQUEST, f"{problem}: {shown(call.method)}")


def _negotiate(call: McpCall, request: Request) -> None:
    """What the client must be ready to read. Raises 406."""
    wanted = {"send": (JSON, EVENTS), "listen": (EVENTS,), "end": ()}[call.purpose]
    if not wanted:
        return
    if not all_accepted(wanted, ",".join(request.headers.all("accept"))):
        raise McpError(INVALID_REQUEST, f"the client must accept {' and '.join(wanted)}", status=406)


@lru_cache(256)
def all_accepted(wanted: tuple[str, ...], accept: str) -> bool:
    """Whether a client reads every one of these media types (RFC 9110 section 12.5.1, without weights)."""
    accepted = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return not any(accepted.isdisjoint((kind, f"{kind.partition('/')[0]}/*", "*/*")) for kind in wanted)


def _kind(headers: Headers) -> str:
    return (headers.get("content-type") or "").partition(";")[0].strip().lower()
