"""The configuration of `cors`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from agentgateway.settings import Duration, HeaderName, PluginConfig, problem
from agentgateway_traffic_cors.origins import readable

Method = Annotated[str, Field(pattern=r"^(\*|[!#$%&'+.^_`|~0-9A-Za-z-]+)$", examples=["PUT", "*"])]


def _origin(pattern: str) -> str:
    if not readable(pattern):
        raise problem("not an origin", "write https://app.example.com, https://*.example.com, http://localhost:* or *")
    return pattern.lower()


OriginPattern = Annotated[str, AfterValidator(_origin)]


class CorsConfig(PluginConfig):
    """Which web pages may use this place from a browser (WHATWG Fetch, section 3.2)."""

    allow_origins: list[OriginPattern] = []
    """Origins: `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, or `*` for any."""
    allow_methods: list[Method] = []
    """Methods besides GET, HEAD and POST; `*` allows the one that is asked for."""
    allow_headers: list[HeaderName] = []
    """Request headers a page may set; `*` allows those that are asked for."""
    expose_headers: list[HeaderName] = []
    """Reply headers a page may read."""
    allow_credentials: bool = False
    """Whether a page may send cookies and other credentials."""
    max_age: Duration | None = None
    """How long a browser may remember the answer to a preflight."""
