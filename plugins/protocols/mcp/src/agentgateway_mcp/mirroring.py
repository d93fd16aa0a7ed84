"""Headers that repeat arguments of a call (`Mcp-Param-…`), for clients and servers of 2026-07-28. A client's are held
against what it sent, as its tool's schema says; a server gets those of the arguments that it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from agentgateway.exchange import Headers
from agentgateway.tasks import in_a_task
from agentgateway_mcp.envelope import Json, bare, member
from agentgateway_mcp.errors import HEADER_MISMATCH, McpError
from agentgateway_mcp.fan import gather
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.param_headers import ParamHeaders
from agentgateway_mcp.streamable import COPIES

if TYPE_CHECKING:
    from agentgateway_mcp.asking import Servers
    from agentgateway_mcp.plugin import McpBackend

Fields = tuple[tuple[str, str], ...]
PAGES = 64
"""Pages of a list that are read for the headers of its tools."""


class Mirroring:
    """One call of a tool, at one server."""

    def __init__(self, backend: McpBackend, servers: Servers, call: McpCall, headers: Headers, target: str) -> None:
        self._backend = backend
        self._servers = servers
        self._call = call
        self._headers = headers
        self._target = target
        self._known: ParamHeaders = backend.bridges[target].params

    async def fields(self, document: Json) -> Fields:
        """The headers of a call as the server gets it. Where what is known does not fit, the server is asked for its
        tools: they may be others by now. Raises `McpError` for a client's header that does not say what its argument
        says."""
        call, known = self._call, self._known
        given = {name for name, _ in self._headers.raw if name.startswith(COPIES)}
        final = member(document, "params")
        edited = call.changed or final.get("arguments") is not call.params.get("arguments")
        if not (given or edited or known.marked):
            return ()
        said = member(from_json(call.raw) if call.changed else call.document, "params")
        _, own = self._backend.names.inward(str(said.get("name")))
        wanted = str(final.get("name")) if edited else None
        if self._is_unsure(own, said, given, wanted):
            await in_a_task()
            await known.renew(self._ask)
        if (wrong := self._wrong(own, said)) is not None:
            raise McpError(HEADER_MISMATCH, f"{wrong} header does not match the argument")
        return known.of(document)

    def _is_unsure(self, own: str, said: Json, given: set[bytes], wanted: str | None) -> bool:
        """Whether what a client sent does not fit what is known, or the headers of a tool are `wanted` that is not."""
        return (
            not given <= self._known.fields(own)
            or self._wrong(own, said) is not None
            or (wanted is not None and self._may_want(wanted))
        )

    def _wrong(self, own: str, said: Json) -> str | None:
        unseen = self._backend.names.seen[self._target].unseen(own)
        return self._known.disagree(own, said.get("arguments"), self._headers, unseen)

    def _may_want(self, tool: str) -> bool:
        """Whether the server may want headers of a tool that nobody knows of."""
        speaks = self._backend.bridges[self._target].known.stateless is not False
        by_http = self._servers.members[self._target].facts.url is not None
        return speaks and by_http and not self._known.knows(tool)

    async def _ask(self) -> None:
        await gather({self._target: self._learn}, self._backend.config.timeout, fail_open=False)

    async def _learn(self) -> None:
        """Read the server's list of tools."""
        meta = member(self._call.params, "_meta")
        own = {key: value for key, value in meta.items() if key not in bare(meta)}
        cursor: Any = None
        for _ in range(PAGES):
            params = {"_meta": own, **({"cursor": cursor} if cursor is not None else {})}
            document = {"jsonrpc": "2.0", "id": "agw-headers", "method": "tools/list", "params": params}
            result = await self._servers.result(self._target, document)
            self._known.learn(result)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                return
