"""A client in this process: what a target answers, seen as clients of its backend see it, and without a port.

It goes the way of a client's message from where the route ends: through the backend, the target's policies, its edits
and its pins. What stands on the route (who may ask, guards, limits) has no say.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from pydantic_core import to_json

from agentgateway.errors import GatewayError, UpstreamError
from agentgateway.exchange import Body, Exchange, Headers, Reply, Request, Source, Target
from agentgateway_mcp.door import resolve
from agentgateway_mcp.merging import NAME, VERSION
from agentgateway_mcp.messages import CAPABILITIES_KEY, LEGACY, MODERN, VERSION_KEY, McpCall
from agentgateway_mcp.plugin import McpBackend
from agentgateway_mcp.replies import LISTS, read_message
from agentgateway_mcp.servers import Answer, Ask, Server
from agentgateway_mcp.sessions import Opened
from agentgateway_mcp.streamable import Events

Json = dict[str, Any]
ENVELOPE = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}
SELF = {"name": NAME, "version": VERSION}
PAGES = 1000
HERE = Source("127.0.0.1", 0)


class Refused(Exception):
    """The answer is an error of the protocol."""

    def __init__(self, error: Any) -> None:
        known = error if isinstance(error, dict) else {}
        super().__init__(f"{known.get('message', 'no result')} ({known.get('code', 'without a code')})")


class Observed:
    """A server; it notes in which `version` of the protocol it was asked last."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.version = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def send(self, exchange: Exchange) -> Answer:
        if isinstance(exchange.call, Ask) and exchange.call.version:
            self.version = exchange.call.version
        return await self._server.send(exchange)


class Visit:
    """One target of a backend: `async with` opens and ends it. `version` is what this client speaks, `told` what the
    target says of itself."""

    def __init__(self, backend: McpBackend, chosen: Target, name: str) -> None:
        (member,) = (one for one in chosen.members if one.name == name)
        self.backend = backend
        self.name = name
        self.version = MODERN
        self.server = Observed(member.facts)
        self.told: Json = {}
        self._target = replace(chosen, members=(replace(member, facts=self.server),))
        self._session: Opened | None = None
        self._ids = count(1)

    async def __aenter__(self) -> Visit:
        """Raises `GatewayError`, `Refused`."""
        try:
            self.told = await self.ask("server/discover")
            translated = self.backend.bridges[self.name].known.stateless is False
        except (Refused, GatewayError):
            translated = True
        if translated:  # the server's own words say more
            await self._initialize()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            with suppress(GatewayError):  # what was asked for is here
                await closed(await self.backend.send(self._exchange(McpCall("end"))))

    async def ask(self, method: str, **params: Any) -> Json:
        """The result of a request. Raises `GatewayError`, `Refused`."""
        if self.version >= MODERN:
            params["_meta"] = ENVELOPE
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        return result_of(await response_to(message["id"], await self._send(message)))

    async def listed(self, method: str) -> list[Json]:
        """All pages of a list; nothing where the server has no such list."""
        key, found, params = LISTS[method][0], list[Json](), Json()
        capability = key if key != "resourceTemplates" else "resources"
        if capability not in (self.told.get("capabilities") or {}):
            return []
        for _ in range(PAGES):
            try:
                result = await self.ask(method, **params)
            except Refused:
                if method == "resources/templates/list":  # few servers have them
                    return []
                raise
            part = result.get(key)
            found.extend(one for one in (part if isinstance(part, list) else ()) if isinstance(one, dict))
            if not isinstance(result.get("nextCursor"), str):
                break
            params = {"cursor": result["nextCursor"]}
        return found

    async def _initialize(self) -> None:
        self.version = LEGACY[-1]
        params = {"protocolVersion": self.version, "capabilities": {}, "clientInfo": SELF}
        first = {"jsonrpc": "2.0", "id": next(self._ids), "method": "initialize", "params": params}
        reply = await self._send(first)
        session = reply.headers.get("mcp-session-id")
        self.told = result_of(await response_to(first["id"], reply))
        self.version = str(self.told.get("protocolVersion", self.version))
        if session is not None:
            self._session = self.backend.seal.open(session)
            await closed(await self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    async def _send(self, message: Json) -> Reply:
        call = McpCall("send", to_json(message), message)
        resolve(call, self.backend.names)
        return await self.backend.send(self._exchange(call))

    def _exchange(self, call: McpCall) -> Exchange:
        call.version, call.session = self.version, self._session
        headers = Headers.of({"host": "localhost", "content-type": "application/json"})
        if call.method == "tools/call":
            own = {**call.document, "params": {**call.params, "name": call.name}}
            headers.update(self.backend.bridges[self.name].params.of(own))
        exchange = Exchange(Request("POST", "/mcp", headers, Body(call.raw), authority="localhost"), HERE)
        exchange.call, exchange.target = call, self._target
        return exchange


async def response_to(wanted: Any, reply: Reply) -> Json:
    """The response to a request, whole or from a stream. Raises `UpstreamError`."""
    if isinstance(reply.body, bytes):
        if reply.status >= 400 and not reply.body.lstrip().startswith(b"{"):
            raise UpstreamError(f"the server answered {reply.status}")
        return read_message(reply.body)
    messages = Events(reply.body, 64 * 1024 * 1024)
    try:
        async for said in messages:
            message = read_message(said.data) if said.data else {}
            if "method" not in message and message.get("id") == wanted:
                return message
    finally:
        await messages.aclose()
    raise UpstreamError("the server ended without an answer")


def result_of(message: Json) -> Json:
    """Raises `Refused`."""
    result = message.get("result")
    if not isinstance(result, dict):
        raise Refused(message.get("error"))
    return result


async def closed(reply: Reply) -> None:
    close = getattr(reply.body, "aclose", None)
    if close is not None:
        await close()
