"""The configuration of the guard `azureContentSafety`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from agentgateway.settings import PluginConfig, Scope, Secret, problem

HINT = "write <resource>.cognitiveservices.azure.com"
Version = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$")]


def _url(text: str) -> str:
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem("not an endpoint", HINT) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isascii() or not url.isprintable():
        raise problem("not an endpoint", HINT)
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment or " " in url:
        raise problem("an endpoint is a host alone", HINT)
    return url.rstrip("/")


class AnalyzeText(PluginConfig):
    """Harm in four categories (hate, self-harm, sexual content, violence), and your own blocklists."""

    severity_threshold: int = Field(2, ge=1, le=6)
    """The least severity that is refused; Azure says 0, 2, 4 or 6."""
    api_version: Version = "2024-09-01"
    """The version of the API."""
    blocklist_names: list[Annotated[str, Field(min_length=1, max_length=64)]] = []
    """Blocklists of the resource; a text with an entry of one of them is refused."""
    halt_on_blocklist_hit: bool = False
    """Whether a hit spares the resource the analysis."""


class DetectJailbreak(PluginConfig):
    """Attempts of users to talk a model out of its rules."""

    api_version: Version = "2024-02-15-preview"
    """The version of the API."""


class BackendAuth(PluginConfig):
    """The credential."""

    key: Secret
    """A key of the resource: text, or `{file: …}`."""


class Policies(PluginConfig):
    """Of the calls to Azure."""

    backend_auth: BackendAuth
    """The credential."""


class AzureContentSafetyConfig(PluginConfig):
    """`azureContentSafety` in an entry of `promptGuard.request` or `promptGuard.response`."""

    endpoint: Annotated[str, AfterValidator(_url)]
    """The resource's endpoint: a host name, or a URL without a path."""
    analyze_text: AnalyzeText | None = None
    """Look for harm; `{}` with the defaults."""
    detect_jailbreak: DetectJailbreak | None = None
    """Look for jailbreaks, in requests only; `{}` with the defaults."""
    scope: list[Scope] = Field(["systemPrompt", "messages"], min_length=1)
    """Which texts are looked at: also `toolInput`, the arguments of tool calls, and `toolOutput`, their results."""
    policies: Policies | None = None
    """`backendAuth: {key: …}`; else the key is `AZURE_CONTENT_SAFETY_KEY` or `CONTENT_SAFETY_KEY` of the
    environment."""

    @model_validator(mode="after")
    def _looks_for_something(self) -> AzureContentSafetyConfig:
        if self.analyze_text is None and self.detect_jailbreak is None:
            raise problem("expected analyzeText, detectJailbreak or both", "write `analyzeText: {}`")
        return self
