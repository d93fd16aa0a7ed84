"""The policy `authorization`: rules in CEL that say who may pass. What cannot be evaluated lets nobody pass."""

from __future__ import annotations

from agentgateway.errors import Forbidden
from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway.rules import Rule, Rules
from agentgateway.settings import CelText, PluginConfig


class AuthorizationConfig(PluginConfig):
    """Who may pass."""

    rules: tuple[CelText | Rule, ...]
    """Expressions, each an `allow` unless it says otherwise. Any `deny` that is true refuses; then any `require` that
    is not true; then one `allow` must be true, where there are any."""


class Authorization(Policy):
    """Refuses what its rules do not let pass. The rules of each level are asked, and each level must let it pass."""

    Config = AuthorizationConfig
    levels = frozenset({"gateway", "route", "backend"})
    composes = True

    def __init__(self, config: AuthorizationConfig, host: Host) -> None:
        super().__init__(config, host)
        rules = Rules(config.rules, host)
        self._denies, self._requires, self._allows = rules.denies, rules.requires, rules.allows

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
