"""The beginning and the end of a session with one or several servers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Exchange, Reply
from agentgateway_mcp import merging
from agentgateway_mcp.asking import Servers
from agentgateway_mcp.door import gone
from agentgateway_mcp.fan import gather
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.passing import note, whole
from agentgateway_mcp.servers import Answer
from agentgateway_mcp.sessions import ASKED, opened

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend


class Opening:
    """`initialize`, and DELETE."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall, servers: Servers) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._servers = servers
        self._members = servers.members

    async def initialize(self) -> Reply:
        call, fail_open = self._call, self._backend.config.failure_mode == "failOpen"
        asked = {target: partial(self._introduced, target) for target in self._members}
        answers = await self._servers.together(asked, fail_open=fail_open)
        if len(self._members) == 1:
            ((target, (answer, message)),) = answers.items()
            note(call, message)
            if "result" not in message:
                return whole(message, answer.status)
            return self._welcome(message, {target: answer})
        results: dict[str, dict[str, Any]] = {}
        for target, (_, message) in answers.items():
            if isinstance(message.get("result"), dict):
                results[target] = message["result"]
            elif not fail_open:
                note(call, message)
                return whole(message)
        if not results:
            raise UpstreamError("no server could be initialized")
        message = {"jsonrpc": "2.0", "id": call.id, "result": merging.initialized(results)}
        return self._welcome(message, {target: answers[target][0] for target in results}, results)

    async def _introduced(self, target: str) -> tuple[Answer, dict[str, Any]]:
        """One server's answer to `initialize`, and the response in it."""
        answer = await self._servers.ask(target, self._call.body())
        return answer, await self._servers.response_of(answer, self._call.id)

    def _welcome(
        self,
        message: dict[str, Any],
        answers: Mapping[str, Answer],
        results: Mapping[str, dict[str, Any]] | None = None,
    ) -> Reply:
        """The answer to `initialize`, with the id of the session."""
        version = str(message["result"].get("protocolVersion", "")) if isinstance(message["result"], dict) else ""
        servers = {
            target: (
                answer.session,
                answer.version or str((results or {}).get(target, {}).get("protocolVersion", version)),
            )
            for target, answer in answers.items()
        }
        reply = whole(message)
        if self._backend.stateful:
            params = {key: value for key, value in self._call.params.items() if key != "_meta"}
            kept = params if len(to_json(params)) <= ASKED else {}
            session = opened(version, servers, kept, self._exchange)
            if self._call.ticket is None:  # else it lasts as long as its stream
                self._backend.leases.begin(session)
            reply.headers.set("mcp-session-id", self._backend.seal.close(session))
        return reply

    async def end(self) -> Reply:
        session = self._call.session
        if session is None:
            raise gone()
        await self._backend.leases.end(session)

        async def ended(target: str) -> None:
            await (await self._servers.ask(target, b"")).close()

        asked = {target: partial(ended, target) for target, (own, _) in session.servers.items() if own is not None}
        if asked:
            await gather(asked, self._backend.config.timeout, fail_open=True)
        return Reply(200, upstream=True)
