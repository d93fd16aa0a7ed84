"""The configuration of the guard `openAIModeration`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from agentgateway.settings import PluginConfig, Scope, Secret, problem

HINT = "write https://host[:port][/path], without `/moderations`"


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem("not an address", HINT) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not text.isascii() or not text.isprintable():
        raise problem("not an address", HINT)
    if parts.username is not None or parts.query or parts.fragment or " " in text:
        raise problem("an address without credentials, query and fragment", HINT)
    return text.rstrip("/")


class BackendAuth(PluginConfig):
    """The credential."""

    key: Secret
    """An API key: text, or `{file: …}`."""


class Policies(PluginConfig):
    """Of the calls to OpenAI."""

    backend_auth: BackendAuth
    """The credential."""


class OpenAIModerationConfig(PluginConfig):
    """`openAIModeration` in an entry of `promptGuard.request` or `promptGuard.response`."""

    model: str = Field("omni-moderation-latest", min_length=1, max_length=256)
    """The moderation model."""
    base_url: Annotated[str, AfterValidator(_url)] = "https://api.openai.com/v1"
    """Where the API is: `/moderations` is appended."""
    scope: list[Scope] = Field(["systemPrompt", "messages"], min_length=1)
    """Which texts are looked at: also `toolInput`, the arguments of tool calls, and `toolOutput`, their results."""
    policies: Policies | None = None
    """`backendAuth: {key: …}`; else the key is `OPENAI_API_KEY` of the environment."""
