"""The policy `authorization`: rules in CEL that say who may pass. What cannot be evaluated lets nobody pass."""

from __future__ import annotations

from typing import Self, TypeAlias

from pydantic import ConfigDict, model_validator

from agentgateway.errors import ConfigError, ConfigErrors, Forbidden
from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway.settings import CelText, PluginConfig, problem

Rules: TypeAlias = tuple[tuple[int, Expression], ...]
"""Rules of one effect, with their places in the list."""


class AuthorizationRule(PluginConfig):
    """One rule: an expression, and what it means when it is true."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    allow: CelText | None = None
    """True lets the request pass, unless another rule refuses it."""
    deny: CelText | None = None
    """True refuses the request, and so does an error."""
    require: CelText | None = None
    """Anything but true refuses the request."""

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        if sum(text is not None for text in (self.allow, self.deny, self.require)) != 1:
            raise problem("expected exactly one of allow, deny, require")
        return self


class AuthorizationConfig(PluginConfig):
    """Who may pass."""

    rules: tuple[CelText | AuthorizationRule, ...]
    """Expressions, each an `allow` unless it says otherwise. Any `deny` that is true refuses; then any `require` that
    is not true; then one `allow` must be true, where there are any."""


class Authorization(Policy):
    """Refuses what its rules do not let pass. The rules of each level are asked, and each level must let it pass."""

    Config = AuthorizationConfig
    levels = frozenset({"gateway", "route", "backend"})
    composes = True

    def __init__(self, config: AuthorizationConfig, host: Host) -> None:
        super().__init__(config, host)
        rules = [
            rule if isinstance(rule, AuthorizationRule) else AuthorizationRule(allow=rule) for rule in config.rules
        ]
        wrong: list[ConfigError] = []
        self._denies = self._compiled([rule.deny for rule in rules], wrong)
        self._requires = self._compiled([rule.require for rule in rules], wrong)
        self._allows = self._compiled([rule.allow for rule in rules], wrong)
        if wrong:
            raise wrong[0] if len(wrong) == 1 else ConfigErrors(wrong)

    def _compiled(self, sources: list[str | None], wrong: list[ConfigError]) -> Rules:
        """The rules of one effect; what is wrong with the others is added to `wrong`."""
        rules = []
        for index, text in enumerate(sources):
            if text is not None:
                try:
                    rules.append((index, self._expression(text)))
                except ConfigError as error:
                    path = f"{self.host.at}.rules[{index}]"
                    told = ConfigError(error.message, path=path, file=error.file, line=error.line, hint=error.hint)
                    wrong.append(told)
        return tuple(rules)

    def _expression(self, text: str) -> Expression:
        rule = self.host.expression(text)
        if not rule.reads and _is_no_condition(rule):
            raise ConfigError("this is neither true nor false, whatever the request", hint="compare it with something")
        return rule

    @hookimpl
    def authz(self, exchange: Exchange) -> None:
        for index, rule in self._denies:
            if rule.holds_or(exchange, True):
                raise self._refusal(f"rules[{index}] denies")
        for index, rule in self._requires:
            if not rule.holds_or(exchange, False):
                raise self._refusal(f"rules[{index}] requires more")
        for _, rule in self._allows:
            if rule.holds_or(exchange, False):
                return
        if self._allows:
            raise self._refusal("no rule allows it")

    def _refusal(self, why: str) -> Forbidden:
        return Forbidden("authorization failed", detail=f"{self.host.at}: {why}")


def _is_no_condition(constant: Expression) -> bool:
    """Whether the value of an expression that reads nothing of a request is neither true nor false."""
    try:
        return not isinstance(constant.value(None), bool)
    except ExpressionError:
        return False
