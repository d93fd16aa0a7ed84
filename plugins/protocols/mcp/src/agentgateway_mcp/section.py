"""The section `mcp`: servers in a few lines, lowered to one gateway and one route."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from agentgateway.interfaces import BackendDraft, Layer, Lowered, RouteDraft, Section
from agentgateway.settings import problem
from agentgateway_mcp.config import McpConfig

DEFAULT_PORT = 3000
PATHS = ("/mcp", "/sse", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server")
"""Where messages come in, and where clients learn how to log in (RFC 9728, RFC 8414)."""
OWN = frozenset(("gateways", "port", "policies"))


class McpSectionConfig(McpConfig):
    """Servers behind one endpoint, and where it is served: `/mcp`, and `/sse` for the transport of 2024-11-05."""

    gateways: str | list[str] | None = None
    """The gateways it is served on; one of its own when absent."""
    port: int | None = Field(None, ge=0, le=65535)
    """The port of its own gateway, 3000 when absent."""
    policies: dict[str, Any] = {}
    """Policies of all its messages."""

    @field_validator("port")
    @classmethod
    def _of_its_own_gateway(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("gateways") is not None:
            raise problem("`port` is of a gateway of its own, and `gateways` names others", "leave one of the two out")
        return port


class McpSection(Section):
    """Lowers `mcp` to a route that matches its paths."""

    Config = McpSectionConfig

    def lower(self, config: McpSectionConfig, gateways: frozenset[str]) -> Lowered:
        lowered = Lowered()
        attached = _gateways(config, gateways, lowered)
        raw = config.model_dump(mode="json", by_alias=True, exclude_unset=True)  # durations as they are written
        backend = BackendDraft(("mcp",), "mcp", {key: value for key, value in raw.items() if key not in OWN})
        layers = [Layer(("mcp", "policies"), config.policies)]
        matches = [{"path": {"pathPrefix": path}} for path in PATHS]
        lowered.routes.append(RouteDraft(("mcp",), "mcp", attached, (), matches, layers, [backend]))
        return lowered


def _gateways(config: McpSectionConfig, gateways: frozenset[str], lowered: Lowered) -> list[str]:
    """The gateways to attach to; one of its own is added when the file names none."""
    if config.gateways is not None:
        return [config.gateways] if isinstance(config.gateways, str) else config.gateways
    if config.port is None and "default" in gateways:
        return ["default"]
    lowered.gateways["mcp"] = {"port": DEFAULT_PORT if config.port is None else config.port}
    return ["mcp"]
