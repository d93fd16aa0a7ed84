"""The configuration of `azure`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from agentgateway.settings import PluginConfig, problem

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


class AzureConfig(PluginConfig):
    """An Azure resource that has models."""

    model: str | None = Field(None, min_length=1)
    """The model to ask for, whatever the client named: for dated versions the name of a deployment."""
    resource_name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")
    """The resource's name, which is the first part of its host."""
    resource_type: Literal["openAI", "foundry", "aiServices"] = "openAI"
    """Azure OpenAI, or Azure AI Foundry (`aiServices` is its other name)."""
    api_version: str = Field("v1", pattern=r"^(v1|preview|\d{4}-\d{2}-\d{2}(-preview)?)$")
    """`v1`, `preview`, or a dated version such as `2024-10-21`."""
    project_name: str | None = Field(None, pattern=NAME)
    """The Foundry project; the resource's name when absent."""

    @property
    def foundry(self) -> bool:
        return self.resource_type != "openAI"

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if self.project_name is not None and not self.foundry:
            raise problem("`projectName` belongs to `resourceType: foundry`")
        if self.foundry and self.api_version not in ("v1", "preview"):
            raise problem("a Foundry project has no dated versions")
        return self
