"""The configuration of the guard `webhook`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from agentgateway.settings import CelText, HeaderName, PluginConfig, Scope, StringMatch, problem

PSEUDO = (":path", ":method", ":authority")
FRAMING = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "accept", "accept-encoding"),
    )
)
"""Headers that describe the guard's own request, and no other."""
HINT = "write host:port, or http(s)://host[:port][/path]"
NAMES: TypeAdapter[str] = TypeAdapter(HeaderName)


def _written_as_a_backend(given: Any) -> Any:
    """The reference writes `{host: …}`."""
    if isinstance(given, Mapping) and list(given) == ["host"]:
        return given["host"]
    return given


def _url(text: str) -> str:
    """The URL that `/request` and `/response` are appended to."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem("not an address", HINT) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not url.isascii() or not url.isprintable():
        raise problem("not an address", HINT)
    if parts.username is not None or parts.query or parts.fragment or " " in url:
        raise problem("an address without credentials, query and fragment", "send credentials by `headers`")
    return url.rstrip("/")


def _sendable(name: str) -> str:
    if name in PSEUDO:
        return name
    lower = NAMES.validate_python(name)
    if lower in FRAMING:
        raise problem(f"`{lower}` is the guard's own to say", "`:authority` sets the host")
    return lower


class HeaderMatch(PluginConfig):
    """A header of the client's request."""

    name: HeaderName
    """The header's name."""
    value: StringMatch
    """`exact` or `regex`: how its value must look."""


class WebhookConfig(PluginConfig):
    """`webhook` in an entry of `promptGuard.request` or `promptGuard.response`."""

    target: Annotated[str, BeforeValidator(_written_as_a_backend), AfterValidator(_url)]
    """The service: `host:port`, or a URL, whose path comes before `/request` and `/response`."""
    headers: dict[Annotated[str, AfterValidator(_sendable)], CelText] = Field({}, repr=False)
    """Headers sent to it, each computed by an expression. `:path`, `:method` and `:authority` replace those of the
    request."""
    forward_header_matches: list[HeaderMatch] = []
    """Headers of the client's request that are passed on to it: those that any of these matches."""
    scope: list[Scope] = Field(["systemPrompt", "messages"], min_length=1)
    """Which texts are looked at: also `toolInput`, the arguments of tool calls, and `toolOutput`, their results."""
    failure_mode: Literal["failClosed", "failOpen"] = "failClosed"
    """What happens to a message when the service gives no verdict; `failureMode` beside `webhook` wins."""
