"""The configuration of the guard `regex`."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from agentgateway.settings import PluginConfig, Scope, problem
from agentgateway_guardrail_regex.patterns import BuiltinName, expression
from agentgateway_guardrail_regex.secrets import SecretName


class RuleConfig(PluginConfig):
    """What to look for: either `builtin` or `pattern`."""

    builtin: BuiltinName | SecretName | Literal["secrets"] | None = None
    """A kind of personal data or of secrets the guard knows, or all kinds of `secrets`; masked as `<SSN>`, `<API_KEY>`,
    and so on."""
    pattern: str | None = Field(None, min_length=1)
    """An RE2 expression (https://github.com/google/re2/wiki/Syntax); what it matches is masked as `<masked>`."""
    name: str = ""
    """What the log calls the rule; the builtin's name or `rules[<index>]` otherwise."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            _ = expression(pattern or "")
        except ValueError as error:
            raise problem(f"not an RE2 expression: {error}", kind="regex") from None
        return pattern

    @model_validator(mode="after")
    def _one_of_two(self) -> "RuleConfig":
        if (self.builtin is None) == (self.pattern is None):
            raise problem("expected exactly one of builtin, pattern")
        return self


class RegexConfig(PluginConfig):
    """`regex` in an entry of `promptGuard.request` or `promptGuard.response`."""

    action: Literal["mask", "reject"] = "mask"
    """What happens to a text in which a rule finds something."""
    rules: list[RuleConfig] = Field(min_length=1)
    """Applied in order, each to what the ones before it have left."""
    scope: list[Scope] = Field(["systemPrompt", "messages"], min_length=1)
    """Which texts are looked at."""
    window: int = Field(256, ge=1, le=65536)
    """Characters of a stream held back: the longest text that your own patterns are sure to catch in one."""
