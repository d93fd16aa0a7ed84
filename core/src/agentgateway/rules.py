"""Rules in CEL that allow, deny and require: what every policy that decides by such a list has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self, TypeAlias

from pydantic import ConfigDict, model_validator

from agentgateway.errors import ConfigError, ConfigErrors
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.interfaces import Host
from agentgateway.settings import CelText, PluginConfig, problem

Effect: TypeAlias = Literal["allow", "deny", "require"]
Compiled: TypeAlias = tuple[tuple[int, Expression], ...]
"""Rules of one effect, with their places in the list."""


class Rule(PluginConfig):
    """One rule: an expression, and what it means when it is true."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    allow: CelText | None = None
    """True lets it pass, unless another rule refuses it."""
    deny: CelText | None = None
    """True refuses it, and so does an error."""
    require: CelText | None = None
    """Anything but true refuses it."""

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        if sum(text is not None for text in (self.allow, self.deny, self.require)) != 1:
            raise problem("expected exactly one of allow, deny, require")
        return self


class Rules:
    """A list of rules, compiled; a bare expression is an `allow`. Raises `ConfigError` with the place of each that is
    wrong, `ConfigErrors` for several."""

    def __init__(self, rules: Sequence[str | Rule], host: Host) -> None:
        self.given = [rule if isinstance(rule, Rule) else Rule(allow=rule) for rule in rules]
        self._host = host
        wrong: list[ConfigError] = []
        self.denies = self._compiled("deny", wrong)
        self.requires = self._compiled("require", wrong)
        self.allows = self._compiled("allow", wrong)
        if wrong:
            raise wrong[0] if len(wrong) == 1 else ConfigErrors(wrong)

    def _compiled(self, effect: Effect, wrong: list[ConfigError]) -> Compiled:
        """The rules of one effect; what is wrong with the others is added to `wrong`."""
        rules = []
        for index, rule in enumerate(self.given):
            if (text := getattr(rule, effect)) is not None:
                try:
                    rules.append((index, self._condition(text)))
                except ConfigError as error:
                    path = f"{self._host.at}.rules[{index}]"
                    told = ConfigError(error.message, path=path, file=error.file, line=error.line, hint=error.hint)
                    wrong.append(told)
        return tuple(rules)

    def _condition(self, text: str) -> Expression:
        rule = self._host.expression(text)
        if not rule.reads and is_no_condition(rule):
            raise ConfigError("this is neither true nor false, whatever the request", hint="compare it with something")
        return rule


def is_no_condition(constant: Expression) -> bool:
    """Whether the value of an expression that reads nothing of a request is neither true nor false, or none at all."""
    try:
        return not isinstance(constant.value(None), bool)
    except ExpressionError:
        return True
