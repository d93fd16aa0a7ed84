"""The configuration of `anthropic`."""

from agentgateway.settings import PluginConfig
from pydantic import Field


class AnthropicConfig(PluginConfig):
    model: str | None = Field(default=None, min_length=1)
    """The model to ask for, whatever the client named."""
