"""The provider `openAI`, and `custom` for any server that speaks a known format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Host, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.llm.finishing import leave_extensions, modernise_limit
from agentgateway_openai.config import CustomConfig, OpenAIConfig

ANTHROPIC_VERSION = "2023-06-01"
SPOKEN = {
    "chat": ("completions", "responses"),
    "embeddings": ("embeddings",),
    "rerank": ("rerank",),
    "text_completions": ("text_completions",),
    "images": ("images",),
    "image_edits": ("image_edits",),
    "image_variations": ("image_variations",),
    "speech": ("speech",),
    "transcriptions": ("transcriptions",),
    "translations": ("translations",),
    "moderations": ("moderations",),
    "compact": ("compact",),
    "files": ("files",),
    "batches": ("batches",),
    "stored_responses": ("stored_responses",),
    "realtime": ("realtime",),
}
"""Dialects by operation. OpenAI itself ranks nothing; servers of its kind do."""
DIALECTS = {"generateContent": "gemini"}
"""Formats of `custom` that are not called as their dialect is."""


class OpenAI(Provider):
    """OpenAI's API (https://platform.openai.com/docs/api-reference), with a Bearer key."""

    Config = OpenAIConfig
    system = "openai"
    url = "https://api.openai.com/v1"
    key_variable: ClassVar[str | None] = "OPENAI_API_KEY"
    unwanted = frozenset({b"anthropic-version", b"anthropic-beta", b"anthropic-dangerous-direct-browser-access"})

    def __init__(self, config: OpenAIConfig, host: Host) -> None:
        super().__init__(config, host)
        moderation = config.moderation
        self._moderation = None if moderation is None else moderation.model_dump(by_alias=True, exclude_none=True)

    def dialects(self, operation: str) -> Sequence[str]:
        return SPOKEN.get(operation, ())

    def path(self, call: LlmCall) -> str:
        return call.dialect.path(call.model, stream=call.stream)

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """The key stays a Bearer token. A call that was translated loses the fields that only compatible vendors
        know, and the limit on tokens gets its modern name. The operator's moderation takes the place of the client's
        (https://platform.openai.com/docs/api-reference/chat/create#chat_create-moderation)."""
        leave_extensions(call)
        modernise_limit(call)
        if self._moderation is not None and call.operation == "chat":
            call.edit()["moderation"] = self._moderation


ANTHROPIC = ("messages", "anthropicTokenCount")


class Custom(Provider):
    """Any server that speaks formats we know. Its address is the backend's `hostOverride`: there is no default."""

    Config = CustomConfig

    def __init__(self, config: CustomConfig, host: Host) -> None:
        super().__init__(config, host)
        self.system = config.provider_override or "custom"
        self._paths: dict[str, str | None] = {spoken(entry.type): entry.path for entry in config.formats}

    def dialects(self, operation: str) -> Sequence[str]:
        return tuple(name for name in self._paths if dialect(name).operation == operation)

    def path(self, call: LlmCall) -> str:
        return self._paths[call.dialect.name] or call.dialect.path(call.model, stream=call.stream)

    def verbatim(self, call: LlmCall) -> bool:
        return self._paths[call.dialect.name] is not None

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """The key stays a Bearer token; a call that was translated loses the fields that only some servers know; those
        of Anthropic's format are told a version when the client told none; those of Google's have streams only as
        server-sent events when asked so."""
        leave_extensions(call)
        if call.dialect.name == "gemini" and call.stream:
            outgoing.target += f"{'&' if '?' in outgoing.target else '?'}alt=sse"
        if call.dialect.name in ANTHROPIC and "anthropic-version" not in outgoing.headers:
            outgoing.headers.add("anthropic-version", ANTHROPIC_VERSION)


def spoken(format_type: str) -> str:
    """The dialect of a format, which is its name but for Google's."""
    return DIALECTS.get(format_type, format_type)
