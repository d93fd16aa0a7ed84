"""Who has the tool or prompt that a message names, where names do not tell: `prefixMode: never`, several targets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agentgateway.exchange import Exchange
from agentgateway_mcp.asking import Servers
from agentgateway_mcp.callers import Caller, repeated
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.owners import Name
from agentgateway_mcp.replies import LISTS

if TYPE_CHECKING:
    from agentgateway_mcp.plugin import McpBackend

PAGES = 64
"""Pages of a list that are looked through for a name."""
NAMED = {"tool": "tools/list", "prompt": "prompts/list"}


def whose(servers: Servers, exchange: Exchange) -> bytes:
    """Equal for callers whom servers show the same lists."""
    return Caller(servers, exchange, "").key({}, wide=True)


class Finding:
    """One search."""

    def __init__(self, backend: McpBackend, exchange: Exchange, call: McpCall, servers: Servers) -> None:
        self._backend = backend
        self._exchange = exchange
        self._call = call
        self._servers = servers

    async def owner(self) -> str | None:
        """The first server, in the order of the file, that has it. One that is known is not asked again, but for a look
        behind the message when that was long ago. Raises `GatewayError`."""
        call = self._call
        if call.kind not in NAMED or not call.name:
            return None
        name = (whose(self._servers, self._exchange), call.kind, call.name)
        known = self._backend.owners.get(name)
        if known is None or known.target not in self._servers.members:
            return await self._found(name)
        if not known.fresh:
            self._backend.owners.put(name, known.target)
            self._backend.run(self._again(name))
        return known.target

    async def _again(self, name: Name) -> None:
        servers = self._servers.again(repeated(self._exchange))
        await Finding(self._backend, self._exchange, self._call, servers)._found(name)

    async def _found(self, name: Name) -> str | None:
        owners, fail_open = self._backend.owners, self._backend.config.failure_mode == "failOpen"
        asked = {target: partial(self._has, target) for target in self._servers.members}
        target = await self._servers.first(asked, fail_open=fail_open)
        if target is not None:
            owners.put(name, target)
        else:
            owners.forget(name)
        return target

    async def _has(self, target: str) -> bool:
        kind, wanted = self._call.kind or "", self._call.name or ""
        if not self._backend.names.is_as_named(target, wanted, kind):
            return False
        return await self._lists(target, NAMED[kind], wanted) or (
            kind == "tool" and await self._backend.pinning.holds(target, wanted)
        )

    async def _lists(self, target: str, method: str, wanted: str) -> bool:
        cursor: str | None = None
        for page in range(PAGES):
            params = self._meta() | ({"cursor": cursor} if cursor else {})
            document = {"jsonrpc": "2.0", "id": f"agw-resolve-{page}", "method": method, "params": params}
            result = await self._servers.result(target, document)
            things = result.get(LISTS[method][0])
            if any(isinstance(one, dict) and one.get("name") == wanted for one in things or ()):
                return True
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                break
        return False

    def _meta(self) -> dict[str, Any]:
        """What a request of the gateway's own must say in the version without sessions."""
        meta = self._call.params.get("_meta")
        if not self._call.modern or not isinstance(meta, dict):
            return {}
        return {"_meta": {key: value for key, value in meta.items() if key.startswith("io.modelcontextprotocol/")}}
