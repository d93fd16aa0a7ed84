"""The policy `mcpAuthorization`: rules in CEL on tools, prompts, resources and tasks. What they do not let pass is in
no list, and when it is asked for, it does not exist."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.rules import Compiled, Rule, Rules
from agentgateway.settings import CelText, PluginConfig
from agentgateway_mcp.messages import McpCall

ARGUMENTS = re.compile(r"\barguments\b")
"""What a rule names that reads a call's arguments."""


class McpAuthorizationConfig(PluginConfig):
    """Which tools, prompts, resources and tasks there are for whom."""

    rules: tuple[CelText | Rule, ...]
    """Expressions over `mcp.tool`, `mcp.prompt`, `mcp.resource`, `mcp.task` (`target`, `name`, a call's `arguments`)
    and everything else, each an `allow` unless it says otherwise. Any `deny` that is true refuses; then any `require`
    that is not true; then one `allow` must be true, where there are any."""


class McpRules:
    """What one place of the file says. Each rule with whether it reads a call's arguments."""

    def __init__(self, rules: Sequence[str | Rule], host: Host) -> None:
        compiled = Rules(rules, host)
        waits = [
            any(ARGUMENTS.search(text) for text in rule.model_dump(exclude_none=True).values())
            for rule in compiled.given
        ]

        def marked(rules: Compiled) -> tuple[tuple[Expression, bool], ...]:
            return tuple((rule, waits[index]) for index, rule in rules)

        self._denies, self._requires, self._allows = map(marked, (compiled.denies, compiled.requires, compiled.allows))

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
        self._rules = McpRules(config.rules, host)

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
