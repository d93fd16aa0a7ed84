"""The policy `mcpAuthorization`: rules in CEL on tools, prompts, resources and tasks. What they do not let pass is in
no list, and when it is asked for, it does not exist."""

from __future__ import annotations

import re
from typing import ClassVar, Self

from pydantic import ConfigDict, model_validator

from agentgateway.errors import ConfigError, ConfigErrors
from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.settings import CelText, PluginConfig, problem
from agentgateway_mcp.messages import McpCall

ARGUMENTS = re.compile(r"\barguments\b")
"""What a rule names that reads a call's arguments."""


class McpRule(PluginConfig):
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


class McpAuthorizationConfig(PluginConfig):
    """Which tools, prompts, resources and tasks there are for whom."""

    rules: tuple[CelText | McpRule, ...]
    """Expressions over `mcp.tool`, `mcp.prompt`, `mcp.resource`, `mcp.task` (`target`, `name`, a call's `arguments`)
    and everything else, each an `allow` unless it says otherwise. Any `deny` that is true refuses; then any `require`
    that is not true; then one `allow` must be true, where there are any."""


class Rules:
    """What one place of the file says."""

    def __init__(self, rules: list[McpRule], host: Host) -> None:
        wrong: list[ConfigError] = []

        def compiled(effect: str) -> tuple[tuple[Expression, bool], ...]:
            found = []
            for index, rule in enumerate(rules):
                if (text := getattr(rule, effect)) is not None:
                    try:
                        found.append((host.expression(text), ARGUMENTS.search(text) is not None))
                    except ConfigError as error:
                        path = f"{host.at}.rules[{index}]"
                        told = ConfigError(error.message, path=path, file=error.file, line=error.line, hint=error.hint)
                        wrong.append(told)
            return tuple(found)

        self._denies, self._requires, self._allows = compiled("deny"), compiled("require"), compiled("allow")
        if wrong:
            raise wrong[0] if len(wrong) == 1 else ConfigErrors(wrong)

    def allow(self, exchange: Exchange, *, listed: bool = False) -> bool:
        """Whether what `mcp` is in expressions may pass. In a list there are no arguments: rules that read them wait
        for the call."""
        if any(rule.holds_or(exchange, True) for rule, waits in self._denies if not (listed and waits)):
            return False
        if not all(rule.holds_or(exchange, False) for rule, waits in self._requires if not (listed and waits)):
            return False
        return not self._allows or any(
            (listed and waits) or rule.holds_or(exchange, False) for rule, waits in self._allows
        )


class McpAuthorization(Policy):
    """Hides what its rules do not let pass. The rules of each level are asked, and each level must let it pass."""

    Config = McpAuthorizationConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes = True

    def __init__(self, config: McpAuthorizationConfig, host: Host) -> None:
        super().__init__(config, host)
        read = [rule if isinstance(rule, McpRule) else McpRule(allow=rule) for rule in config.rules]
        self._rules = Rules(read, host)

    @hookimpl
    def authz(self, exchange: Exchange) -> None:
        if isinstance(exchange.call, McpCall):
            exchange.call.rules.append(self._rules)


def allowed(exchange: Exchange, kind: str, target: str | None, name: str) -> bool:
    """Whether every rule of the route lets that thing pass."""
    call = exchange.call
    if not isinstance(call, McpCall) or not call.rules:
        return True
    before, call.looked_at = call.looked_at, (kind, target, name)
    try:
        return all(rules.allow(exchange, listed=True) for rules in call.rules)
    finally:
        call.looked_at = before


def may_call(exchange: Exchange, call: McpCall) -> bool:
    """Whether the thing that a call is about exists for the caller, with its arguments."""
    return all(rules.allow(exchange) for rules in call.rules)
