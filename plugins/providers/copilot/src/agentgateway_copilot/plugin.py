"""The provider `copilot`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.finishing import leave_extensions, modernise_limit
from agentgateway_copilot.config import CopilotConfig

ANTHROPIC_VERSION = "2023-06-01"
BETA = "anthropic-beta"
REFUSED_BETAS = frozenset({"advisor-tool-2026-03-01"})
VISION = "copilot-vision-request"
PICTURES = frozenset({"image", "image_url", "input_image"})
PATHS: Mapping[str, str] = {
    "completions": "/chat/completions",
    "responses": "/responses",
    "messages": "/v1/messages",
    "embeddings": "/embeddings",
}
CHAT = ("completions", "responses", "messages")
SPOKEN: Mapping[str, Sequence[str]] = {
    "claude-": ("messages", "completions"),
    "grok-": ("responses",),
    "mai-": ("responses",),
    "gpt-3": ("completions",),
    "gpt-4": ("completions",),
    "gpt-5-mini": ("completions", "responses"),
    "gpt-5.4": ("completions", "responses"),
    "gpt-": ("responses",),
}
"""What models take, by how their names begin; the longest beginning counts. Two are whole names: `gpt-5.4-codex` is
another model. Those that are not here take chat completions."""
WHOLE = frozenset({"gpt-5-mini", "gpt-5.4"})


class Copilot(Provider):
    """GitHub Copilot (https://docs.github.com/copilot): each of its models takes one or two formats, and the token of a
    GitHub account."""

    Config = CopilotConfig
    system = "copilot"
    url = "https://api.githubcopilot.com"
    key_variable: ClassVar[str | None] = "GH_COPILOT_TOKEN"
    credential = ("copilot", {})
    unwanted = frozenset({b"openai-organization", b"openai-project"})

    def dialects(self, operation: str) -> Sequence[str]:
        return CHAT if operation == "chat" else ("embeddings",) if operation == "embeddings" else ()

    def speaks(self, operation: str, model: str) -> Sequence[str]:
        return formats(model.lower()) if operation == "chat" else self.dialects(operation)

    def path(self, call: LlmCall) -> str:
        return PATHS[call.dialect.name]

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """A call that was translated loses the fields that only compatible vendors know, the limit on tokens gets its
        modern name, and a call with pictures says so in a header, without which they are refused."""
        leave_extensions(call)
        if call.dialect.name == "messages":
            as_messages(outgoing, call)
        else:
            for name in ("anthropic-version", BETA, "anthropic-dangerous-direct-browser-access"):
                outgoing.headers.remove(name)
        if call.dialect.name == "completions":
            modernise_limit(call)
        if has_pictures(call.document):
            outgoing.headers.set(VISION, "true")


def formats(model: str) -> Sequence[str]:
    if model in WHOLE:
        return SPOKEN[model]
    fitting = [start for start in SPOKEN if model.startswith(start) and start not in WHOLE]
    return SPOKEN[max(fitting, key=len)] if fitting else ("completions",)


def as_messages(outgoing: Outgoing, call: LlmCall) -> None:
    """Leave out what this vendor refuses of Anthropic's format."""
    outgoing.headers.set("anthropic-version", ANTHROPIC_VERSION)
    given = ",".join(outgoing.headers.all(BETA))
    outgoing.headers.remove(BETA)
    betas = [beta for each in given.split(",") if (beta := each.strip()) and beta not in REFUSED_BETAS]
    if betas:
        outgoing.headers.set(BETA, ",".join(betas))
    if "context_management" in call.document:
        call.edit().pop("context_management")


def has_pictures(document: Mapping[str, Any]) -> bool:
    """Whether somebody shows a picture, in any of the formats."""
    turns = document.get("messages") or document.get("input")
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content") if isinstance(turn, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("type") in PICTURES:
                return True
    return False
