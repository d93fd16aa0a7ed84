"""The provider `anthropic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
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
        if call.raw is None:
            call.dialect.plain(call.document)
        place_credential(outgoing)
        outgoing.headers.set("anthropic-version", VERSION)


def place_credential(outgoing: Outgoing) -> None:
    """Leave one credential: the one the configuration pinned to a header, else an OAuth token as Bearer, else the
    Bearer token as `x-api-key`, else what the client put there itself."""
    headers, pinned = outgoing.headers, outgoing.pinned
    token = bearer(headers.get("authorization"))
    if "x-api-key" in pinned:
        if "authorization" not in pinned:
            headers.remove("authorization")
    elif "authorization" in pinned or (token is not None and token.startswith(OAUTH)):
        headers.remove("x-api-key")
    elif token is not None:
        headers.remove("authorization")
        headers.set("x-api-key", token)


def bearer(authorization: str | None) -> str | None:
    """The token of a Bearer credential (RFC 6750 section 2.1; the scheme's case does not matter)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
