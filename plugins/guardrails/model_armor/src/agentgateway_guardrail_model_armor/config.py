"""The configuration of the guard `googleModelArmor`."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from agentgateway.settings import PluginConfig, Scope, problem

HINT = "write https://host[:port]"


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem("not an endpoint", HINT) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not text.isascii() or not text.isprintable():
        raise problem("not an endpoint", HINT)
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment or " " in text:
        raise problem("an endpoint is a host alone", HINT)
    return text.rstrip("/")


class ModelArmorConfig(PluginConfig):
    """`googleModelArmor` in an entry of `promptGuard.request` or `promptGuard.response`."""

    template_id: str = Field(pattern="^[A-Za-z0-9_-]{1,63}$")
    """The template, which says what is looked for."""
    project_id: str = Field(pattern="^[a-z0-9][a-z0-9:.-]{0,99}$")
    """The project that it belongs to: its id or its number."""
    location: str = Field("us-central1", pattern="^[a-z0-9-]{1,40}$")
    """Where the template is."""
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    """Another endpoint than the location's own; over `http://` no credentials are sent."""

    scope: list[Scope] = Field(["systemPrompt", "messages"], min_length=1)
    """Which texts are looked at: also `toolInput`, the arguments of tool calls, and `toolOutput`, their results."""

    @property
    def template(self) -> str:
        return f"projects/{self.project_id}/locations/{self.location}/templates/{self.template_id}"
