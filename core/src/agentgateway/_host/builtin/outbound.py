"""What the policy `ai` does to a call in its provider's own words: `promptCaching` and `finalTransformations`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from agentgateway.exchange import Exchange
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.hookspecs import hookimpl
from agentgateway.llm.caching import LEAST, CacheRule
from agentgateway.llm.calls import LlmCall
from agentgateway.settings import PluginConfig


class PromptCaching(PluginConfig):
    """What of a prompt the vendor is asked to keep for the next call."""

    cache_system: bool = True
    """The instructions."""
    cache_messages: bool = True
    """The messages but the last; nothing where there is only one."""
    cache_tools: bool = False
    """The definitions of tools."""
    min_tokens: int = Field(LEAST, ge=0)
    """How long the instructions must be, by an estimate."""
    cache_message_offset: int = Field(0, ge=0)
    """How many messages more than the last are left out."""

    def rule(self) -> CacheRule:
        whole = (self.cache_system, self.cache_messages, self.cache_tools)
        return CacheRule(*whole, self.min_tokens, self.cache_message_offset)


def compute(expressions: Mapping[str, Expression], exchange: Exchange) -> tuple[dict[str, Any], list[str]]:
    """Values by key, and the keys whose value cannot be computed."""
    values: dict[str, Any] = {}
    failed = []
    for key, expression in expressions.items():
        try:
            values[key] = expression.value(exchange)
        except ExpressionError:
            failed.append(key)
    return values, failed


class Caching:
    """`promptCaching`: of several levels the innermost comes last, and decides."""

    def __init__(self, rule: CacheRule) -> None:
        self._rule = rule

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        call = exchange.outgoing.call if exchange.outgoing is not None else None
        if isinstance(call, LlmCall):
            call.caching = self._rule


class FinalTransformations:
    """`finalTransformations`: the provider's document, when the provider has done with it."""

    def __init__(self, expressions: Mapping[str, Expression]) -> None:
        self._expressions = expressions

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        outgoing, asked = exchange.outgoing, exchange.call
        if outgoing is None or not isinstance(outgoing.call, LlmCall):
            return
        call = exchange.call = outgoing.call  # what `llmRequest` is, meanwhile
        try:
            values, failed = compute(self._expressions, exchange)
        finally:
            exchange.call = asked
        if not values and call.document.keys().isdisjoint(failed):
            return
        document = call.edit()
        for key in failed:
            document.pop(key, None)
        document.update(values)
        outgoing.body = call.body()
