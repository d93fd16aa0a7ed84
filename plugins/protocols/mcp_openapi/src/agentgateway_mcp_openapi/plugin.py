"""The target kind `openapi`: an MCP server whose tools are the operations of an HTTP API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from agentgateway_mcp.servers import Answer, Ask, Server

from agentgateway.errors import ConfigError, ConnectFailed, UpstreamError
from agentgateway.exchange import Exchange, Headers, Outgoing
from agentgateway.interfaces import Host
from agentgateway_mcp_openapi.config import OpenApiConfig, split_address
from agentgateway_mcp_openapi.document import DocumentError
from agentgateway_mcp_openapi.messages import INVALID_PARAMS, answered, own_answer, refused
from agentgateway_mcp_openapi.operations import Operation
from agentgateway_mcp_openapi.parameters import ArgumentError
from agentgateway_mcp_openapi.remote import Pace, RemoteDocument
from agentgateway_mcp_openapi.results import added, fitting, result_of, said, whole_of
from agentgateway_mcp_openapi.tools import Api, build

TRACE = frozenset((b"traceparent", b"tracestate", b"baggage"))
"""What of the client's own headers goes to the API."""
AT_ONCE = 32 * 1024
"""Bytes of an answer above which its check, some milliseconds, is not for the event loop."""
OURS = (
    (b"accept", b"application/json, */*;q=0.8"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"agentgateway"),
)


@dataclass(frozen=True, slots=True)
class Local:
    """The `call` of an outgoing request that is never sent: the answer is here already."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Call:
    """The `call` of a request to the API: the operation, and what there was before policies added credentials."""

    operation: Operation
    target: str
    values: frozenset[bytes]


class OpenApi(Server):
    """Answers for an API: lists its operations as tools, and makes calls of them requests."""

    Config = OpenApiConfig

    def __init__(self, config: OpenApiConfig, host: Host, pace: Pace | None = None) -> None:
        super().__init__(config, host)
        self._api: Api | None = None
        self._remote: RemoteDocument | None = None
        if config.schema_.url:
            self._remote = RemoteDocument(config.schema_.url, self._read, host.at, pace or Pace())
            return
        try:
            self._api = build(config.schema_.read(), config)
        except DocumentError as error:
            raise ConfigError(str(error), path=f"{host.at}.schema") from None

    @property
    def endpoint(self) -> str:
        if self._api is not None:
            return self._api.base.url.partition("://")[2]
        return split_address(self.config.host).netloc if self.config.host is not None else ""

    async def start(self) -> None:
        if self.config.schema_.file is not None:
            self.host.watch(self.config.schema_.file)
        if self._remote is not None:
            await self._remote.start(self.host.client())

    async def stop(self) -> None:
        if self._remote is not None:
            await self._remote.stop()

    async def prepare(self, exchange: Exchange) -> None:
        """Set the request, or one that is never sent where the answer is known without it: policies of the target
        expect that there is one."""
        ask, api = exchange.call, self._api
        assert isinstance(ask, Ask)
        if api is None:
            raise ConnectFailed("the description of the API has not been read yet", detail=self.host.at)
        calls = ask.purpose == "send" and ask.wants_answer and ask.method == "tools/call"
        made = called(api, ask, exchange) if calls else own_answer(ask, api)
        if isinstance(made, Answer):
            made = Outgoing("GET", api.base.url, api.base.path or "/", Headers(), call=Local(made))
        exchange.outgoing = made

    async def send(self, exchange: Exchange) -> Answer:
        outgoing, ask = exchange.outgoing, exchange.call
        assert outgoing is not None and isinstance(ask, Ask)
        call = outgoing.call
        if isinstance(call, Local):
            return call.answer
        assert isinstance(call, Call)
        reply = await self.host.send(exchange, stream=True)
        body = await whole_of(reply, self.host.body_limit)
        if body is None:
            return answered(
                ask, said(f"The answer is larger than {self.host.body_limit} bytes: ask for less", error=True)
            )
        if (reply.headers.get("content-encoding") or "identity").lower() != "identity":
            raise UpstreamError("the API's answer is compressed, which was not asked for")
        secrets = added(outgoing, call.target, call.values)
        result, fits = result_of(reply, body, call.operation.name, secrets), call.operation.fits
        if fits is not None and len(body) > AT_ONCE:
            return answered(ask, await asyncio.to_thread(fitting, result, fits, True))
        return answered(ask, fitting(result, fits))

    async def _read(self, text: str) -> None:
        """Takes a second for a thousand operations, so not on the event loop."""
        self._api = await asyncio.to_thread(build, text, self.config)


def called(api: Api, ask: Ask, exchange: Exchange) -> Outgoing | Answer:
    """The request that a `tools/call` comes to, or the answer that says why there is none."""
    params = ask.document.get("params")
    name, arguments = (params.get("name"), params.get("arguments")) if isinstance(params, dict) else (None, None)
    operation = api.operations.get(name) if isinstance(name, str) else None
    if operation is None:
        return refused(ask, INVALID_PARAMS, f"Unknown tool: {str(name)[:128]}")
    given: Any = {} if arguments is None else arguments
    if not isinstance(given, dict):
        return refused(ask, INVALID_PARAMS, "`arguments` must be an object")
    try:
        request = operation.request(given)
    except ArgumentError as error:
        return answered(ask, said(str(error), error=True))
    headers = Headers([*OURS, *(pair for pair in exchange.request.headers.raw if pair[0] in TRACE)])
    for field, value in request.headers:
        headers.add(field, value)
    call = Call(operation, request.target, frozenset(value for _, value in headers.raw))
    return Outgoing(operation.method, operation.base.url, request.target, headers, request.body, call=call)
