"""The policy `authorization`: rules in CEL that say who may pass. What cannot be evaluated lets nobody pass."""

from __future__ import annotations

from typing import Self, TypeAlias

from pydantic import ConfigDict, model_validator

from agentgateway.errors import ConfigError, Forbidden
from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression
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
        self._denies = self._compiled([rule.deny for rule in rules])
        self._requires = self._compiled([rule.require for rule in rules])
        self._allows = self._compiled([rule.allow for rule in rules])

    def _compiled(self, sources: list[str | None]) -> Rules:
        return tuple((index, self._expression(text, index)) for index, text in enumerate(sources) if text is not None)

    def _expression(self, text: str, index: int) -> Expression:
        try:
            return self.host.expression(text)
        except ConfigError as error:
            path = f"{self.host.at}.rules[{index}]"
            raise ConfigError(error.message, path=path, file=error.file, line=error.line, hint=error.hint) from error

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
