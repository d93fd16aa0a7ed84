"""The provider `vertex`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from agentgateway.exchange import Outgoing
from agentgateway.interfaces import Host, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.finishing import leave_extensions, place_key
from agentgateway_vertex.config import GLOBAL, VertexConfig
from agentgateway_vertex.models import model

ANTHROPIC_VERSION = "vertex-2023-10-16"
BETA = "anthropic-beta"
DOMAIN = "aiplatform.googleapis.com"
WHOLE = "generateContentRequest"
"""What the Gemini API takes in a question for a count, and this one has at the top."""
MULTI_REGIONS = ("us", "eu")
KEY = "x-goog-api-key"
KEYS = ("AIza", "AQ.")
"""How Google's API keys begin: the usual ones, and those that are bound to a service account."""
SPOKEN: Mapping[str, Sequence[str]] = {
    "chat": ("gemini", "messages", "completions"),
    "count_tokens": ("geminiCountTokens", "anthropicTokenCount"),
    "embeddings": ("vertex_predict",),
}
COUNTS: Mapping[str, Sequence[str]] = {"gemini": ("geminiCountTokens",), "messages": ("anthropicTokenCount",)}
"""Which format counts the tokens of another one's calls."""
METHODS = {"gemini": ("generateContent", "streamGenerateContent"), "messages": ("rawPredict", "streamRawPredict")}
"""How a call is named, and one whose reply is streamed."""
PUBLISHERS = {"gemini": "google", "messages": "anthropic"}


class Vertex(Provider):
    """Vertex AI (https://cloud.google.com/vertex-ai/generative-ai/docs): Gemini, Claude in Anthropic's format, and
    other publishers' models in OpenAI's; with a token of Google Cloud or an API key."""

    Config = VertexConfig
    system = "gcp.vertex_ai"
    credential = ("gcp", {})
    params: ClassVar[Mapping[str, str]] = {"vertexProject": "projectId", "vertexRegion": "region"}
    unwanted = frozenset(
        (
            *(b"anthropic-version", b"anthropic-dangerous-direct-browser-access"),
            *(b"openai-organization", b"openai-project", b"openai-beta", b"x-goog-user-project"),
        )
    )

    def __init__(self, config: VertexConfig, host: Host) -> None:
        super().__init__(config, host)
        self._base = f"/v1/projects/{config.project_id}/locations/{config.region}"
        self.url = f"https://{domain(config.region)}{self._base}"

    def dialects(self, operation: str) -> Sequence[str]:
        return SPOKEN.get(operation, ())

    def speaks(self, operation: str, name: str) -> Sequence[str]:
        """Each family of models has one format."""
        if operation == "count_tokens":
            return COUNTS.get(model(name).dialect, ())
        return (model(name).dialect,) if operation == "chat" else SPOKEN.get(operation, ())

    def path(self, call: LlmCall) -> str:
        asked, spoken = model(call.model), call.dialect.name
        if spoken == "vertex_predict":
            return f"{self._base}{asked.in_path(asked.publisher or 'google')}:predict"
        if spoken == "anthropicTokenCount":
            return f"{self._base}/publishers/anthropic/models/count-tokens:rawPredict"
        if spoken == "geminiCountTokens":
            return f"{self._base}{asked.in_path('google')}:countTokens"
        if spoken not in METHODS:
            return f"{self._base}/endpoints/openapi/chat/completions"
        return f"{self._base}{asked.in_path(PUBLISHERS[spoken])}:{METHODS[spoken][call.stream]}"

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """The model's name stands in the path, or in the body as this vendor calls it; Anthropic's version stands in
        the body. A call that was translated loses what is not of the vendor's own format."""
        leave_extensions(call)
        place_key(outgoing, KEY, lambda token: token.startswith(KEYS))
        spoken = call.dialect.name
        if spoken == "messages":
            document = call.edit()
            document.pop("model", None)
            document["anthropic_version"] = ANTHROPIC_VERSION
            return
        if spoken == "anthropicTokenCount":
            call.ask(model(call.model).versioned)
            call.edit()["anthropic_version"] = ANTHROPIC_VERSION
            return
        outgoing.headers.remove(BETA)
        if spoken == "geminiCountTokens" and isinstance(whole := call.document.get(WHOLE), dict):
            document = call.edit()
            document.clear()
            document.update((key, value) for key, value in whole.items() if key != "model")
        elif spoken == "completions":
            call.ask(model(call.model).in_body)
        elif spoken == "gemini" and call.stream:
            outgoing.target += f"{'&' if '?' in outgoing.target else '?'}alt=sse"


def domain(region: str) -> str:
    """Where a region is: https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations"""
    if region == GLOBAL:
        return DOMAIN
    if region in MULTI_REGIONS:
        return f"aiplatform.{region}.rep.googleapis.com"
    return f"{region}-{DOMAIN}"
