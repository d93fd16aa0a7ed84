"""The policy."""

from __future__ import annotations

from typing import ClassVar

from agentgateway_mcp.messages import McpCall

from agentgateway.errors import GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway_guardrail_ext_mcp.config import McpGuardrailsConfig
from agentgateway_guardrail_ext_mcp.headers import apply
from agentgateway_guardrail_ext_mcp.remote import RemoteProcessor


class McpGuardrails(Policy):
    """Shows MCP messages to processors. Those of each level are asked, the outermost first."""

    Config = McpGuardrailsConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes = True
    reads_calls = True

    def __init__(self, config: McpGuardrailsConfig, host: Host) -> None:
        super().__init__(config, host)
        counter = host.counter("guardrail_checks", "Texts that guards looked at.", ("phase", "action"))
        self._processors = [
            RemoteProcessor(one, host, f"mcpGuardrails.processors[{index}]", lambda *labels: counter.add(labels))
            for index, one in enumerate(config.processors)
        ]

    @hookimpl
    def authz(self, exchange: Exchange) -> None:
        if isinstance(exchange.call, McpCall):
            exchange.call.processors.extend(self._processors)
        elif exchange.unread is None and self.host.level != "gateway":
            raise GuardFailed(detail="mcpGuardrails stands on a route whose protocol is not MCP")

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        """Before a request to a server is sent, with what processors did to its headers."""
        call = exchange.parent.call if exchange.parent is not None else None
        if isinstance(call, McpCall) and call.edits and exchange.outgoing is not None:
            apply(call.edits, exchange.outgoing.headers)

    async def start(self) -> None:
        for one in self._processors:
            await one.start()

    async def stop(self) -> None:
        for one in self._processors:
            await one.stop()
