"""The configuration of `copilot`, the provider and the credential."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from agentgateway.settings import PluginConfig


class CopilotConfig(PluginConfig):
    """GitHub Copilot's models."""

    model: str | None = Field(None, min_length=1)
    """The model to ask for, whatever the client named."""


class CopilotAuthConfig(PluginConfig):
    """The token of whoever is logged in to Copilot or to GitHub's command line here: there is nothing to say."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_say(cls, given: Any) -> Any:
        return {} if given is None else given
