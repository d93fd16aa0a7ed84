"""One message of a client, and the servers that it concerns: the one it is about, or all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from agentgateway.errors import GatewayError
from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.tasks import in_a_task
from agentgateway_mcp import merging
from agentgateway_mcp.asking import Servers
from agentgateway_mcp.callers import repeated
from agentgateway_mcp.door import unknown
from agentgateway_mcp.errors import INVALID_PARAMS, METHOD_NOT_FOUND, McpError
from agentgateway_mcp.fan import cursor_of, cursors_in
from agentgateway_mcp.finding import Finding, whose
from agentgateway_mcp.listening import Listening
from agentgateway_mcp.listings import distinct, response
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.mirroring import Fields, Mirroring
from agentgateway_mcp.opening import Opening
from agentgateway_mcp.passing import passed, whole
from agentgateway_mcp.processors import ask_before_one, past_processors
from agentgateway_mcp.replies import LISTS, Outward
from agentgateway_mcp.rules import may_call
from agentgateway_mcp.subscribing import asked_of

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend

KINDS_OF = {"tools": "tool", "prompts": "prompt"}
SENT_TO_ALL = frozenset(("ping", "logging/setLevel"))
CROWD = 256
"""Things that a backend does at the same time with nobody waiting; then clients do wait."""
IN_ORDER = 0.5
"""Seconds that `notifications/initialized` is waited for, since servers may want it before anything else."""
OF_NOTHING = SENT_TO_ALL | LISTS.keys() | {"server/discover", "subscriptions/listen"}
"""Methods that are about no one thing. What servers make of any other one nobody knows: rules decide about it."""


class Relay:
    """One message of a client, and the servers that it concerns."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._names = backend.names
        self._servers = Servers(backend, exchange, call)
        self._members = self._servers.members

    @property
    def _known(self) -> tuple[McpBackend, Exchange, McpCall, Servers]:
        return self._backend, self._exchange, self._call, self._servers

    async def answer(self) -> Reply:
        if not self._call.processors:
            return await self._answer()
        await in_a_task()
        return await past_processors(
            self._exchange, self._call, self._names, self._backend.host.body_limit, self._answer
        )

    async def _answer(self) -> Reply:
        call = self._call
        if call.purpose == "end":
            return await Opening(*self._known).end()
        if call.purpose == "listen":
            return await Listening(*self._known).listen()
        if not call.method:
            return await self._client_answers()
        if not call.is_request:
            return await self._notify()
        if call.method == "initialize":
            return await Opening(*self._known).initialize()
        if call.kind is not None or call.method == "completion/complete":
            return await self._one()
        if call.method not in OF_NOTHING and not may_call(self._exchange, call):
            raise self._no_method()
        if len(self._members) == 1:
            return await self._through(next(iter(self._members)))
        if call.method in LISTS:
            return await self._list()
        if call.method == "server/discover":
            return await self._discover()
        if call.method == "subscriptions/listen":
            return await Listening(*self._known).subscribe()
        if call.method in SENT_TO_ALL:
            await self._servers.results(dict.fromkeys(self._members))
            return whole(self._response({}))
        raise self._no_method()

    def _no_method(self) -> McpError:
        method, modern = self._call.method, self._call.modern
        return McpError(METHOD_NOT_FOUND, f"Method not found: {method[:64]}", status=404 if modern else 200)

    # --- one server ---------------------------------------------------------------------------------------------------

    async def _one(self) -> Reply:
        """What is about one thing goes to the server that has it."""
        call = self._call
        if call.target is None:
            call.target = await Finding(*self._known).owner()
        if call.target is None or call.target not in self._members:
            raise unknown(call)
        if call.processors:
            await ask_before_one(self._exchange, call, self._names)
        if not may_call(self._exchange, call) or (call.kind == "tool" and await self._backend.pinning.refuses(call)):
            raise unknown(call)
        return await self._through(call.target)

    async def _through(self, target: str) -> Reply:
        call, message = self._call, self._renamed(target)
        fields: Fields = ()
        if call.method == "tools/call" and call.modern:
            mirroring = Mirroring(self._backend, self._servers, call, self._exchange.request.headers, target)
            fields = await mirroring.fields(message if isinstance(message, dict) else call.document)
        answer = await self._servers.ask(target, message, fields=fields)
        try:
            return passed(self._exchange, call, answer, Outward(self._exchange, call, self._names, target))
        except BaseException:
            await answer.close()
            raise

    def _renamed(self, target: str) -> bytes | dict[str, Any]:
        """The message in the words of the server it goes to."""
        call = self._call
        if call.method == "subscriptions/listen":
            return asked_of(self._exchange, self._names, target, call)
        if not self._names.marks_uris and not self._names.changes:
            return call.body()
        document, params = call.document, call.params
        key = {"tool": "name", "prompt": "name", "resource": "uri", "task": "taskId"}.get(call.kind or "")
        if call.kind == "tool" and call.target is not None and call.name is not None:
            given = params.get("arguments")
            arguments = self._names.seen[call.target].arguments(call.name, given)
            if arguments is not given:
                return {**document, "params": {**params, "name": call.name, "arguments": arguments}}
        if key is not None and params.get(key) != call.name:
            return {**document, "params": {**params, key: call.name}}
        if call.method == "completion/complete" and isinstance(params.get("ref"), dict):
            reference = params["ref"]
            named = "name" if "name" in reference else "uri"
            return {**document, "params": {**params, "ref": {**reference, named: call.name}}}
        return call.body()

    # --- several servers ----------------------------------------------------------------------------------------------

    async def _list(self) -> Reply:
        call = self._call
        key, _, named = LISTS[call.method]
        cursors = cursors_in(call.params.get("cursor"), tuple(self._members))
        pages: Mapping[str, str | None] = dict.fromkeys(self._members) if cursors is None else cursors
        if self._names.prefixed and not call.rules:
            parts = await self._servers.parts(pages)
            if distinct(parts.values()):
                more = self._besides({target: part.rest for target, part in parts.items()})
                body = response(call.id, key, parts.values(), more)
                return Reply(200, Headers([(b"content-type", b"application/json")]), body, upstream=True)
            results = {target: part.result(key) for target, part in parts.items()}
        else:
            results = await self._servers.results(pages)
            for target, result in results.items():
                Outward(self._exchange, call, self._names, target).result(result)
        if key == "tools" and not self._names.prefixed:
            self._backend.pinning.shadow(results)
        if not self._names.prefixed and cursors is None and not call.rules:
            self._learn(key, results)
        return whole(self._response({key: merging.listed(key, named, results), **self._besides(results)}))

    def _learn(self, key: str, results: Mapping[str, dict[str, Any]]) -> None:
        """Who has what, where these are whole lists of all servers."""
        whole_lists = len(results) == len(self._members) and not any(one.get("nextCursor") for one in results.values())
        if key in KINDS_OF and whole_lists:
            lists = {target: result.get(key) or () for target, result in results.items()}
            self._backend.owners.learn(whose(self._servers, self._exchange), KINDS_OF[key], lists)

    def _besides(self, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """What a merged list says besides its entries."""
        more = {target: result["nextCursor"] for target, result in results.items() if result.get("nextCursor")}
        cursor = cursor_of(more)
        found = {"nextCursor": cursor} if cursor is not None else {}
        return found | ({"resultType": "complete", **merging.hints(results.values())} if self._call.modern else {})

    async def _discover(self) -> Reply:
        """What all servers speak. One that cannot be asked sends the client to `initialize`, where the file says what
        becomes of such a server."""
        try:
            results = await self._servers.results(dict.fromkeys(self._members), all_of_them=True)
        except GatewayError as error:
            raise McpError(
                METHOD_NOT_FOUND, "Method not found: server/discover", status=404, detail=error.message
            ) from error
        return whole(self._response(merging.discovered(results)))

    # --- what asks for nothing ----------------------------------------------------------------------------------------

    async def _client_answers(self) -> Reply:
        """A client's response to a server's request."""
        call = self._call
        target, wanted = self._names.inward_id(call.id)
        if target is None or target not in self._members:
            raise McpError(INVALID_PARAMS, "no server has asked for that")
        message: bytes | dict[str, Any] = call.body() if wanted == call.id else {**call.document, "id": wanted}
        answer = await self._servers.ask(target, message)
        return passed(self._exchange, call, answer, Outward(self._exchange, call, self._names, target))

    async def _notify(self) -> Reply:
        call = self._call
        if len(self._members) == 1:
            return await self._through(next(iter(self._members)))

        await in_a_task()
        crowded = self._backend.at_work >= CROWD
        telling = self._backend.run(self._told_all())
        if crowded or call.method == "notifications/initialized":
            await asyncio.wait((telling,), timeout=None if crowded else IN_ORDER)
        return Reply(202, upstream=True)

    async def _told_all(self) -> None:
        """Tell every server, whether it listens or not: nobody waits for this."""
        servers = self._servers.again(repeated(self._exchange))

        async def told(target: str) -> None:
            await (await servers.ask(target, self._call.body())).close()

        await servers.together({target: partial(told, target) for target in self._members}, fail_open=True)

    def _response(self, result: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self._call.id, "result": result}
