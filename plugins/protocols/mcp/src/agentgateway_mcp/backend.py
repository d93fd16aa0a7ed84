"""The backend `mcp`: one endpoint in front of servers. A message goes to the server it is about, or to all of them and
comes back as one answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from pydantic_core import to_json

from agentgateway.errors import GatewayError, NotFound, UpstreamError
from agentgateway.exchange import Exchange, Headers, Reply, Target
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Backend, Bucket, Host, Layer, Participant
from agentgateway.streams import OwnedStream
from agentgateway_mcp import merging
from agentgateway_mcp.config import McpConfig
from agentgateway_mcp.door import Door, gone, unknown
from agentgateway_mcp.errors import INVALID_PARAMS, METHOD_NOT_FOUND, McpError
from agentgateway_mcp.fan import Merged, cursor_of, cursors_in, gather
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.passing import EVENTS, event, failure, judged, note, passed, whole
from agentgateway_mcp.replies import LISTS, Outward, read_message
from agentgateway_mcp.rules import may_call
from agentgateway_mcp.servers import Answer, Ask, Said, Server
from agentgateway_mcp.sessions import ASKED, Opened, Seal, opened

SENT_TO_ALL = frozenset(("ping", "logging/setLevel"))
PAGES = 64
"""Pages of a list that are looked through for the owner of a name."""
RENEWED = 10_000
"""Sessions of servers that expired under a client's, and were opened anew."""


class McpBackend(Backend):
    """Relays MCP messages."""

    Config = McpConfig
    protocol: ClassVar[str] = "mcp"
    gathers: ClassVar[bool] = True

    def __init__(self, config: McpConfig, host: Host) -> None:
        super().__init__(config, host)
        self._servers: dict[str, Server] = {}
        for index, target in enumerate(config.targets):
            kind, settings = target.kind
            at = f"targets[{index}].{kind}"
            self._servers[target.name] = host.build("agentgateway.mcp_targets", kind, settings, at)
        several = len(self._servers) > 1
        prefixed = config.prefix_mode == "always" or (config.prefix_mode == "conditional" and several)
        self.names = Names(list(self._servers), prefixed=prefixed)
        self.stateful = config.stateful_mode == "stateful"
        self.seal = Seal(host.key(f"mcp session {host.at}"), host.at)
        self._ended = host.buckets("mcp sessions")
        self._once = Bucket(1, 1, config.session_lifetime)
        self._renewed: OrderedDict[tuple[str, str], str] = OrderedDict()
        labels = ("method", "resource_type", "server", "resource")
        self._count = host.counter("mcp_requests", "Messages of MCP clients.", labels)

    # --- what the pipeline sees ---------------------------------------------------------------------------------------

    def targets(self) -> Sequence[Target]:
        return [Target(self, name, server.endpoint, facts=server) for name, server in self._servers.items()]

    def layers(self, target: Target) -> Sequence[Layer]:
        index = self.names.targets.index(target.name)
        policies = self.config.targets[index].policies
        return [Layer((*self.host.path, "targets", index, "policies"), policies, "backend")]

    def attends(self) -> Iterable[Participant]:
        return (Participant(Door(self), "mcp"), Participant(Counted(self._count), "mcp"))

    async def start(self) -> None:
        for server in self._servers.values():
            await server.start()

    async def stop(self) -> None:
        failures = []
        for server in self._servers.values():
            try:
                await server.stop()
            except Exception as error:
                failures.append(error)
        if failures:
            raise ExceptionGroup("MCP targets failed to stop", failures)

    async def prepare(self, exchange: Exchange) -> Reply | None:
        if isinstance(exchange.call, Ask) and exchange.target is not None:
            await exchange.target.facts.prepare(exchange)
        return None

    async def send(self, exchange: Exchange) -> Reply:
        call = exchange.call
        if not isinstance(call, McpCall) or exchange.target is None:
            raise NotFound("nothing answers at this path")
        return await Relay(self, exchange, call).answer()

    # --- sessions -----------------------------------------------------------------------------------------------------

    def has_ended(self, session: Opened) -> bool:
        return not self._ended.take(session.nonce, self._once, 0).allowed

    def end(self, session: Opened) -> None:
        self._ended.take(session.nonce, self._once, force=True)

    def renewed(self, session: Opened, target: str) -> str | None:
        """The session of a server that was opened in place of the one in the client's id."""
        return self._renewed.get((session.nonce, target))

    def renew(self, session: Opened, target: str, own: str) -> None:
        self._renewed[(session.nonce, target)] = own
        if len(self._renewed) > RENEWED:
            self._renewed.popitem(last=False)


class Counted:
    """Log participant: the metric of messages."""

    def __init__(self, counter: Any) -> None:
        self._counter = counter

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        call = exchange.call
        if isinstance(call, McpCall) and call.method:
            name = call.name if call.kind not in (None, "task", "resource") else None
            known = call.error_code is None
            labels = (call.method if known else "", call.kind or "", call.target or "", (name or "") if known else "")
            self._counter.add(tuple(label[:128] for label in labels))


class Relay:
    """One message of a client, and the servers that it concerns."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._names = backend.names
        assert exchange.target is not None
        self._members = {member.name: member for member in exchange.target.members}

    async def answer(self) -> Reply:
        call = self._call
        if call.purpose == "end":
            return await self._end()
        if call.purpose == "listen":
            return await self._listen()
        if not call.method:
            return await self._client_answers()
        if not call.is_request:
            return await self._notify()
        if call.method == "initialize":
            return await self._initialize()
        if call.kind is not None or call.method == "completion/complete":
            return await self._one()
        if len(self._members) == 1:
            return await self._through(next(iter(self._members)))
        if call.method in LISTS:
            return await self._list()
        if call.method == "server/discover":
            return whole(self._response(merging.discovered(await self._results(dict.fromkeys(self._members)))))
        if call.method == "subscriptions/listen":
            return await self._subscribe()
        if call.method in SENT_TO_ALL:
            await self._results(dict.fromkeys(self._members))
            return whole(self._response({}))
        raise McpError(METHOD_NOT_FOUND, f"Method not found: {call.method[:64]}", status=404 if call.modern else 200)

    # --- one server ---------------------------------------------------------------------------------------------------

    async def _one(self) -> Reply:
        """What is about one thing goes to the server that has it."""
        call = self._call
        if call.target is None:
            await self._find_owner()
        if call.target is None or call.target not in self._members:
            raise unknown(call)
        if not may_call(self._exchange, call):
            raise unknown(call)
        return await self._through(call.target)

    async def _through(self, target: str) -> Reply:
        call = self._call
        answer = await self._ask(target, self._renamed())
        try:
            return passed(self._exchange, call, answer, Outward(self._exchange, call, self._names, target))
        except BaseException:
            await answer.close()
            raise

    def _renamed(self) -> bytes | dict[str, Any]:
        """The message in the words of the server it goes to."""
        call = self._call
        if not self._names.marks_uris:
            return call.body()
        document, params = call.document, call.params
        key = {"tool": "name", "prompt": "name", "resource": "uri", "task": "taskId"}.get(call.kind or "")
        if key is not None and params.get(key) != call.name:
            return {**document, "params": {**params, key: call.name}}
        if call.method == "completion/complete" and isinstance(params.get("ref"), dict):
            reference = params["ref"]
            named = "name" if "name" in reference else "uri"
            return {**document, "params": {**params, "ref": {**reference, named: call.name}}}
        return call.body()

    async def _find_owner(self) -> None:
        """The first server, in the order of the file, that has a tool or prompt of that name."""
        call = self._call
        method, wanted = ("prompts/list", call.name) if call.kind == "prompt" else ("tools/list", call.name)
        if call.kind not in ("tool", "prompt"):
            return

        async def has(target: str) -> bool:
            cursor: str | None = None
            for page in range(PAGES):
                params = self._meta() | ({"cursor": cursor} if cursor else {})
                document = {"jsonrpc": "2.0", "id": f"agw-resolve-{page}", "method": method, "params": params}
                result = await self._result(target, document)
                things = result.get(LISTS[method][0])
                if any(isinstance(one, dict) and one.get("name") == wanted for one in things or ()):
                    return True
                cursor = result.get("nextCursor")
                if not isinstance(cursor, str):
                    return False
            return False

        config = self._backend.config
        asked = {target: partial(has, target) for target in self._members}
        owners = await gather(asked, config.timeout, fail_open=config.failure_mode == "failOpen")
        call.target = next((target for target, owns in owners.items() if owns), None)

    def _meta(self) -> dict[str, Any]:
        """What a request of the gateway's own must say in the version without sessions."""
        meta = self._call.params.get("_meta")
        if not self._call.modern or not isinstance(meta, dict):
            return {}
        return {"_meta": {key: value for key, value in meta.items() if key.startswith("io.modelcontextprotocol/")}}

    # --- several servers ----------------------------------------------------------------------------------------------

    async def _list(self) -> Reply:
        call = self._call
        key, _, named = LISTS[call.method]
        cursors = cursors_in(call.params.get("cursor"), self._names.targets)
        pages: Mapping[str, str | None] = dict.fromkeys(self._members) if cursors is None else cursors
        results = await self._results(pages)
        more = {target: result["nextCursor"] for target, result in results.items() if result.get("nextCursor")}
        for target, result in results.items():
            Outward(self._exchange, call, self._names, target).result(result)
        merged: dict[str, Any] = {key: merging.listed(key, named, results)}
        if (cursor := cursor_of(more)) is not None:
            merged["nextCursor"] = cursor
        if call.modern:
            merged |= {"resultType": "complete", **merging.hints(results.values())}
        return whole(self._response(merged))

    async def _results(self, pages: Mapping[str, str | None]) -> dict[str, dict[str, Any]]:
        """The results of several servers for the client's request, each with a cursor of its own."""
        config, document = self._backend.config, self._call.document

        def asking(target: str, cursor: str | None) -> Any:
            params = {key: value for key, value in self._call.params.items() if key != "cursor"}
            page = {"cursor": cursor} if cursor is not None else {}
            return partial(self._result, target, {**document, "params": {**params, **page}})

        asked = {target: asking(target, cursor) for target, cursor in pages.items()}
        found = await gather(asked, config.timeout, fail_open=config.failure_mode == "failOpen")
        return {target: found[target] for target in self._names.targets if target in found}

    async def _result(self, target: str, document: dict[str, Any]) -> dict[str, Any]:
        """One server's result. What it cannot do it has none of. Raises `GatewayError`."""
        message = await self._response_of(await self._ask(target, document), document.get("id"))
        if isinstance(message.get("result"), dict):
            return dict(message["result"])
        error = message.get("error")
        if isinstance(error, dict) and error.get("code") == METHOD_NOT_FOUND and self._call.method in LISTS:
            return {}
        if isinstance(error, dict) and isinstance(error.get("code"), int):
            raise McpError(error["code"], str(error.get("message", ""))[:512], status=200, data=error.get("data"))
        raise UpstreamError("the server's answer is no response", detail=f"target {target}")

    async def _response_of(self, answer: Answer, wanted: Any) -> dict[str, Any]:
        try:
            if answer.whole is not None:
                if answer.status >= 400 and not answer.whole.lstrip().startswith(b"{"):
                    raise UpstreamError(detail=f"the server answered {answer.status}")
                return read_message(answer.whole)
            if answer.messages is not None:
                async for said in answer.messages:
                    message = read_message(said.data) if said.data else {}
                    if "method" not in message and message.get("id") == wanted:
                        return message
        finally:
            await answer.close()
        raise UpstreamError("the server ended without an answer", detail=f"status {answer.status}")

    async def _subscribe(self) -> Reply:
        """`subscriptions/listen`: one stream of everything that the servers tell; one word that it has begun."""
        config, call = self._backend.config, self._call
        asked = {target: partial(self._ask, target, call.body()) for target in self._members}
        answers = await gather(asked, config.timeout, fail_open=True)
        streams = {target: one for target, one in answers.items() if one.messages is not None}
        if not streams:
            raise McpError(METHOD_NOT_FOUND, "Method not found: subscriptions/listen", status=404)
        return self._stream(Merged(streams), acknowledged=True)

    def _stream(self, merged: Merged, *, acknowledged: bool = False) -> Reply:
        body = OwnedStream(self._told(merged, acknowledged), Closing(merged))
        return Reply(200, Headers(list(EVENTS)), body, upstream=True)

    async def _told(self, merged: Merged, once: bool) -> AsyncGenerator[bytes, None]:
        """The messages of several streams. Of the words that they have begun, the first is passed on."""
        begun = False
        async for target, said in merged:
            if not said.data:
                continue
            document = read_message(said.data)
            if once and document.get("method") == "notifications/subscriptions/acknowledged":
                if begun:
                    continue
                begun = True
            try:
                Outward(self._exchange, self._call, self._names, target).message(document)
                note(self._call, document)
                await judged(self._call, document)
            except GatewayError as error:
                self._exchange.error = error
                yield failure(self._call, error)
                return
            yield event(Said(to_json(document)))

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def _initialize(self) -> Reply:
        call, config = self._call, self._backend.config
        asked = {target: partial(self._ask, target, call.body()) for target in self._members}
        answers = await gather(asked, config.timeout, fail_open=config.failure_mode == "failOpen")
        if len(self._members) == 1:
            ((target, answer),) = answers.items()
            message = await self._response_of(answer, call.id)
            note(call, message)
            if "result" not in message:
                return whole(message, answer.status)
            return self._welcome(message, {target: answer})
        results: dict[str, dict[str, Any]] = {}
        for target, answer in answers.items():
            message = await self._response_of(answer, call.id)
            if isinstance(message.get("result"), dict):
                results[target] = message["result"]
            elif config.failure_mode == "failClosed":
                note(call, message)
                return whole(message)
        if not results:
            raise UpstreamError("no server could be initialized")
        return self._welcome(
            self._response(merging.initialized(results)), {target: answers[target] for target in results}, results
        )

    def _welcome(
        self,
        message: dict[str, Any],
        answers: Mapping[str, Answer],
        results: Mapping[str, dict[str, Any]] | None = None,
    ) -> Reply:
        """The answer to `initialize`, with the id of the session."""
        version = str(message["result"].get("protocolVersion", "")) if isinstance(message["result"], dict) else ""
        servers = {
            target: (answer.session, str((results or {}).get(target, {}).get("protocolVersion", version)))
            for target, answer in answers.items()
        }
        reply = whole(message)
        if self._backend.stateful:
            params = {key: value for key, value in self._call.params.items() if key != "_meta"}
            kept = params if len(to_json(params)) <= ASKED else {}
            reply.headers.set(
                "mcp-session-id", self._backend.seal.close(opened(version, servers, kept, self._exchange))
            )
        return reply

    async def _end(self) -> Reply:
        session = self._call.session
        if session is None:
            raise gone()
        self._backend.end(session)

        async def ended(target: str) -> None:
            await (await self._ask(target, b"")).close()

        asked = {target: partial(ended, target) for target, (own, _) in session.servers.items() if own is not None}
        if asked:
            await gather(asked, self._backend.config.timeout, fail_open=True)
        return Reply(200, upstream=True)

    async def _listen(self) -> Reply:
        """What servers say unasked. Those that say nothing so are left out."""
        place = self._exchange.request.headers.get("last-event-id")
        if len(self._members) == 1:
            target = next(iter(self._members))
            answer = await self._ask(target, b"", resume_from=place)
            return passed(self._exchange, self._call, answer, Outward(self._exchange, self._call, self._names, target))
        asked = {target: partial(self._ask, target, b"") for target in self._members}
        answers = await gather(asked, self._backend.config.timeout, fail_open=True)
        streams = {target: one for target, one in answers.items() if one.messages is not None}
        if not streams:
            raise McpError(METHOD_NOT_FOUND, "Method not allowed", status=405, headers=(("allow", "POST, DELETE"),))
        return self._stream(Merged(streams))

    async def _client_answers(self) -> Reply:
        """A client's response to a server's request."""
        call = self._call
        target, wanted = self._names.inward_id(call.id)
        if target is None or target not in self._members:
            raise McpError(INVALID_PARAMS, "no server has asked for that")
        message: bytes | dict[str, Any] = call.body() if wanted == call.id else {**call.document, "id": wanted}
        answer = await self._ask(target, message)
        return passed(self._exchange, call, answer, Outward(self._exchange, call, self._names, target))

    async def _notify(self) -> Reply:
        call = self._call
        if len(self._members) == 1:
            return await self._through(next(iter(self._members)))

        async def told(target: str) -> None:
            await (await self._ask(target, call.body())).close()

        await gather({target: partial(told, target) for target in self._members}, 30.0, fail_open=True)
        return Reply(202, upstream=True)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, target: str, message: bytes | dict[str, Any], *, resume_from: str | None = None) -> Answer:
        """Ask one server. A session of its that has expired is opened anew, once."""
        call, session = self._call, self._call.session
        document = message if isinstance(message, dict) else call.document
        raw = to_json(message) if isinstance(message, dict) else message
        own, version = session.servers.get(target, (None, "")) if session is not None else (None, call.version)
        if session is not None and own is not None:
            own = self._backend.renewed(session, target) or own
        ask = Ask(call.purpose, raw, document if call.purpose == "send" else {}, version, own, resume_from)
        answer = await self._sent(target, ask)
        if answer.status != 404 or session is None or own is None or call.purpose == "end" or not session.asked:
            return answer
        await answer.close()
        renewed = await self._reopen(target, session)
        return await self._sent(target, replace(ask, session=renewed))

    async def _reopen(self, target: str, session: Opened) -> str:
        """Open a server's session as the client once did. Raises 404 where that fails: the client must do it."""
        first = {"jsonrpc": "2.0", "id": "agw-initialize", "method": "initialize", "params": session.asked}
        answer = await self._sent(target, Ask("send", to_json(first), first))
        own = answer.session
        if "result" not in await self._response_of(answer, first["id"]) or own is None:
            raise gone()
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        version = session.servers[target][1]
        await (await self._sent(target, Ask("send", to_json(done), done, version, own))).close()
        self._backend.renew(session, target, own)
        return own

    async def _sent(self, target: str, ask: Ask) -> Answer:
        """One exchange of the gateway's own with a server, through that target's policies."""
        exchange, member = self._exchange, self._members[target]
        child = Exchange(exchange.request, exchange.source, parent=exchange)
        child.place, child.protocol, child.deadline = exchange.place, exchange.protocol, exchange.deadline
        child.principal, child.identities = exchange.principal, exchange.identities
        child.target, child.call = member, ask
        reply = await self._backend.host.ready(child)
        if reply is not None:
            return Answer(
                reply.status, whole=reply.body if isinstance(reply.body, bytes) else b"", headers=reply.headers
            )
        server: Server = member.facts
        answer = await server.send(child)
        exchange.sent_at, exchange.answered_at = child.sent_at, child.answered_at
        return answer

    def _response(self, result: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self._call.id, "result": result}


class Closing:
    """Closes what a stream is made from."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def __aiter__(self) -> Closing:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._merged.aclose()
