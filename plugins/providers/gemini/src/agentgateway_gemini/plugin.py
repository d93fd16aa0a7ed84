"""The provider `gemini`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.finishing import place_key
from agentgateway_gemini.config import GeminiConfig

KEY = "x-goog-api-key"
WHOLE = "generateContentRequest"
KEYS = ("AIza", "AQ.")
"""How Google's API keys begin: the usual ones, and those that are bound to a service account."""
SPOKEN: Mapping[str, Sequence[str]] = {
    "chat": ("gemini",),
    "embeddings": ("embeddings", "geminiEmbedding", "geminiEmbeddings"),
    "count_tokens": ("geminiCountTokens",),
}
"""Dialects by operation."""


class Gemini(Provider):
    """The Gemini API (https://ai.google.dev/api): generateContent and embeddings, with an API key in `x-goog-api-key`
    or an OAuth token."""

    Config = GeminiConfig
    system = "gcp.gemini"
    url = "https://generativelanguage.googleapis.com/v1beta"
    key_variable: ClassVar[str | None] = "GEMINI_API_KEY"
    unwanted = frozenset(
        (
            *(b"anthropic-version", b"anthropic-beta", b"anthropic-dangerous-direct-browser-access"),
            *(b"openai-organization", b"openai-project", b"openai-beta"),
        )
    )

    def dialects(self, operation: str) -> Sequence[str]:
        return SPOKEN.get(operation, ())

    def path(self, call: LlmCall) -> str:
        """Embeddings are asked for in OpenAI's format (https://ai.google.dev/gemini-api/docs/openai), unless the client
        speaks Google's."""
        if call.dialect.name == "embeddings":
            return "/v1beta/openai/embeddings"
        return call.dialect.path(call.model, stream=call.stream)

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """Streams come as server-sent events only when asked so. A call in a question names its model once more, and so
        does each of several to embed."""
        name_again(call, f"models/{call.model.removeprefix('models/')}")
        if call.stream and call.dialect.name == "gemini":
            outgoing.target += f"{'&' if '?' in outgoing.target else '?'}alt=sse"
        place_key(outgoing, KEY, lambda token: token.startswith(KEYS))


def name_again(call: LlmCall, model: str) -> None:
    """Put the model's name where the document repeats that of the path."""
    whole, several = call.document.get(WHOLE), call.document.get("requests")
    if call.dialect.name == "geminiCountTokens" and isinstance(whole, dict):
        call.edit()[WHOLE] = whole | {"model": model}
    elif call.dialect.name == "geminiEmbeddings" and any(one.get("model") != model for one in several or ()):
        call.edit()["requests"] = [one | {"model": model} for one in several or ()]
    elif call.dialect.name == "geminiEmbedding" and call.document.get("model", model) != model:
        call.edit()["model"] = model
