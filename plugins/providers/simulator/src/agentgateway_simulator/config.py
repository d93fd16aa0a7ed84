"""The configuration of `simulator`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentgateway.settings import Duration, PluginConfig

Status = Annotated[int, Field(ge=400, le=599)]


class FailConfig(PluginConfig):
    error: Status | None = None
    """Answer with this status, in the vendor's format."""
    disconnect_after: int | None = Field(default=None, ge=0)
    """Break the connection after so many chunks of a stream, or in the middle of a whole reply."""
    every: int = Field(default=1, ge=1)
    """Only each so-manieth call fails: 1 is every call, 3 the third, the sixth, …"""

    @model_validator(mode="after")
    def _some_failure(self) -> Self:
        if (self.error is None) == (self.disconnect_after is None):
            raise ValueError("exactly one of `error` and `disconnectAfter`")
        return self


class SimulatorConfig(PluginConfig):
    model: str | None = Field(default=None, min_length=1)
    """The model to ask for, whatever the client named."""
    dialects: list[Literal["completions", "messages"]] = Field(default=["completions"], min_length=1)
    """The wire formats it speaks, the preferred one first. A call in another one is translated on its way."""
    reply: str = "You said: {text}"
    """What it answers; `{text}` stands for the last user message, `{model}` for the model."""
    tokens: int | None = Field(default=None, ge=1)
    """Answer with so many words of filler text, in place of `reply`."""
    pace: Duration = 0.0
    """The time between two chunks of a stream."""
    latency: Duration = 0.0
    """The time before the first byte."""
    tool_calls: Literal["auto", "never"] = "auto"
    """`auto` calls the tools that the last user message names, or that the request insists on."""
    fail: FailConfig | None = None
    """Calls that fail, whatever they ask."""
    directives: bool = True
    """Whether `[[simulate …]]` in the last user message, or `simulate:…` in the model's name, is obeyed."""
