"""The configuration of `openAI` and `custom`."""

from typing import Literal

from pydantic import Field

from agentgateway.settings import PluginConfig

FormatType = Literal[
    "completions",
    "messages",
    "responses",
    "embeddings",
    "anthropicTokenCount",
    "generateContent",
    "geminiCountTokens",
    "realtime",
    "rerank",
]


class ModerationStep(PluginConfig):
    mode: Literal["score", "block"]
    """`score` has OpenAI say what it finds, `block` also stop it."""


class ModerationPolicy(PluginConfig):
    input: ModerationStep | None = None
    """What becomes of the prompt."""
    output: ModerationStep | None = None
    """What becomes of the answer."""


class ModerationConfig(PluginConfig):
    model: str = Field(default="omni-moderation-latest", min_length=1, max_length=256)
    """The moderation model."""
    policy: ModerationPolicy | None = None
    """What OpenAI does with what it finds; its own default when absent."""


class OpenAIConfig(PluginConfig):
    model: str | None = Field(default=None, min_length=1)
    """The model to ask for, whatever the client named."""
    moderation: ModerationConfig | None = None
    """OpenAI's own moderation of chat calls, as a field of each, whatever the client wrote there."""


class FormatConfig(PluginConfig):
    type: FormatType
    """A wire format that the server understands."""
    path: str | None = Field(default=None, pattern="^/")
    """Where it takes that format, letter for letter; the format's usual path when absent."""


class CustomConfig(PluginConfig):
    model: str | None = Field(default=None, min_length=1)
    """The model to ask for, whatever the client named."""
    provider_override: str | None = Field(default=None, min_length=1)
    """The vendor's name in telemetry and in the cost catalog; `custom` when absent."""
    formats: list[FormatConfig] = Field(min_length=1)
    """What the server understands; the first format that fits a call's operation is the one translated to."""
