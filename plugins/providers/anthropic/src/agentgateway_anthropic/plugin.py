"""The provider `anthropic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.finishing import leave_extensions, place_key
from agentgateway_anthropic.config import AnthropicConfig

VERSION = "2023-06-01"
OAUTH = "sk-ant-oat"
SPOKEN: Mapping[str, Sequence[str]] = {
    "chat": ("messages",),
    "count_tokens": ("anthropicTokenCount",),
    "batches": ("message_batches",),
    "files": ("message_files",),
}
"""Dialects by operation."""


class Anthropic(Provider):
    """Anthropic's API (https://docs.anthropic.com/en/api/overview): messages, with a key in `x-api-key`."""

    Config = AnthropicConfig
    system = "anthropic"
    url = "https://api.anthropic.com"
    unwanted = frozenset({b"openai-organization", b"openai-project", b"openai-beta"})
    key_variable: ClassVar[str | None] = "ANTHROPIC_API_KEY"

    def dialects(self, operation: str) -> Sequence[str]:
        return SPOKEN.get(operation, ())

    def path(self, call: LlmCall) -> str:
        return call.dialect.path(call.model, stream=call.stream)

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """Whatever version the client named, ours is sent: it is the one whose documents the gateway reads. A call that
        was translated loses what is not of the vendor's own format."""
        leave_extensions(call)
        place_key(outgoing, "x-api-key", lambda token: not token.startswith(OAUTH))
        outgoing.headers.set("anthropic-version", VERSION)
