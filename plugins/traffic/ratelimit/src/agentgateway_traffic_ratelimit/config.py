"""The configuration of `localRateLimit`: a list of limits, all of which hold."""

from typing import Literal

from pydantic import ConfigDict, Field, RootModel, model_validator

from agentgateway.settings import CelText, Duration, PluginConfig, problem


class LimitConfig(PluginConfig):
    """A bucket that holds at most `maxTokens` and gets `tokensPerFill` more every `fillInterval`."""

    max_tokens: int = Field(ge=1, le=1_000_000_000_000)
    """What the bucket holds when it is full: the largest burst."""
    tokens_per_fill: int = Field(ge=1, le=1_000_000_000_000)
    """What it gets at once; at most `maxTokens`."""
    fill_interval: Duration = Field(gt=0)
    """How often it gets that."""
    type: Literal["requests", "tokens"] = "requests"
    """What is counted: requests, or the input and output tokens of model calls."""
    key: CelText | None = None
    """A bucket for each value of this expression; one for all when absent."""

    @model_validator(mode="after")
    def _fills_fit(self) -> "LimitConfig":
        if self.tokens_per_fill > self.max_tokens:
            raise problem("tokensPerFill must not be more than maxTokens", "what does not fit would be lost")
        return self


class LocalRateLimitConfig(RootModel[list[LimitConfig]]):
    """Limits, all of which hold."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)
