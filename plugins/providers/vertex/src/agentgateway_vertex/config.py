"""The configuration of `vertex`."""

from __future__ import annotations

from pydantic import Field

from agentgateway.settings import PluginConfig

GLOBAL = "global"


class VertexConfig(PluginConfig):
    """A project of Google Cloud that has models."""

    model: str | None = Field(None, min_length=1)
    """The model to ask for, whatever the client named."""
    project_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]{0,127}$")
    """The project's id or number."""
    region: str = Field(GLOBAL, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """A region (`europe-west4`), a multi-region (`us`, `eu`), or `global`."""
