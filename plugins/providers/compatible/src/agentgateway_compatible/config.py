"""The configuration of every preset."""

from pydantic import Field

from agentgateway.settings import PluginConfig


class CompatibleConfig(PluginConfig):
    model: str | None = Field(default=None, min_length=1)
    """The model to ask for, whatever the client named."""
