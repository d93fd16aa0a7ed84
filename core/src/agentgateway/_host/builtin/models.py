"""The backend `models`: lists what an `llm` section offers, and says so when a model is not among it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from agentgateway.errors import GatewayError, InvalidRequest, NotFound
from agentgateway.exchange import Exchange, Principal, Reply, Target
from agentgateway.interfaces import Backend, Host
from agentgateway.llm.calls import LlmCall, ModelEntry
from agentgateway.llm.dialects import dialect
from agentgateway.llm.protocol import spoken
from agentgateway.llm.resources import ResourceCall
from agentgateway.settings import PluginConfig

ALLOWED = (("allow", "GET, HEAD, POST"),)
GOOGLES = "/v1beta"
"""The version in a path that is Google's alone, whatever headers a client sends."""


class ModelsConfig(PluginConfig):
    names: list[str] = []
    """Names of public models; patterns are left out of listings."""


class ModelsBackend(Backend):
    """Answers `GET /v1/models` in the caller's dialect, filtered by what the caller may use; 404 for any call."""

    Config = ModelsConfig
    protocol: ClassVar[str] = "llm"
    inline = True

    def __init__(self, config: ModelsConfig, host: Host) -> None:
        super().__init__(config, host)
        self._since = int(time.time())

    def targets(self) -> Sequence[Target]:
        return (Target(self, "models"),)

    async def prepare(self, exchange: Exchange) -> None:
        exchange.outgoing = None

    async def send(self, exchange: Exchange) -> Reply:
        if isinstance(exchange.call, ResourceCall):
            message = f"no model here takes `{exchange.call.dialect.name}`"
            raise NotFound(message, code="unsupported_operation")
        if isinstance(exchange.call, LlmCall):
            raise NotFound(f"model `{_shown(exchange.call.model)}` not found", code="model_not_found", param="model")
        version, slash, wanted = exchange.request.path.partition("/models")
        if not slash or exchange.request.method not in ("GET", "HEAD"):
            raise _nothing_here(exchange)
        wanted = wanted.strip("/")
        speaks = dialect("gemini") if version.endswith(GOOGLES) else spoken(exchange)
        entries = [
            ModelEntry(name, self._since)
            for name in self.config.names
            if "*" not in name and allowed(exchange.principal, name)
        ]
        if not wanted:
            return Reply.json(200, speaks.models(entries))
        for entry in entries:
            if entry.id == wanted:
                return Reply.json(200, speaks.model(entry))
        raise NotFound(f"model `{_shown(wanted)}` not found", code="model_not_found", param="model")


def allowed(principal: Principal | None, model: str) -> bool:
    """Whether the caller's own list of models has it."""
    if principal is None or principal.models is None:
        return True
    return any(fits(pattern, model) for pattern in principal.models)


def fits(pattern: str, model: str) -> bool:
    """Whether a name fits a pattern with at most one `*`, at its start or end."""
    if pattern.endswith("*"):
        return model.startswith(pattern[:-1])
    return model.endswith(pattern[1:]) if pattern.startswith("*") else pattern == model


def _shown(model: str) -> str:
    """A client's text, fit for a message: bounded, printable."""
    return "".join(char for char in model[:80] if char.isprintable())


def _nothing_here(exchange: Exchange) -> GatewayError:
    if exchange.request.method not in ("GET", "HEAD", "POST"):
        return InvalidRequest("method not allowed", status=405, code="method_not_allowed", headers=ALLOWED)
    return NotFound("nothing answers at this path")
