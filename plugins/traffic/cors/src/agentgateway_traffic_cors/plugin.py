"""The policy: preflights are answered before anybody asks who is calling, other replies get their headers.

Those headers go to `exchange.reply_headers`, so that a page can read a refusal as well.
"""

import re

from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway_traffic_cors.config import CorsConfig
from agentgateway_traffic_cors.origins import compiled

ALLOW = "access-control-allow-"
ASKED_METHOD = "access-control-request-method"
ASKED_HEADERS = "access-control-request-headers"
GATEWAYS_OWN = frozenset(
    (b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers")
)
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")


class Cors(Policy):
    """Lets web pages of other origins use this place."""

    Config = CorsConfig

    def __init__(self, config: CorsConfig, host: Host) -> None:
        super().__init__(config, host)
        self._origins = compiled(config.allow_origins, config.allow_credentials)
        self._methods = ", ".join(config.allow_methods)
        self._headers = ", ".join(config.allow_headers)
        self._exposed = ", ".join(config.expose_headers)
        self._max_age = "" if config.max_age is None else str(int(config.max_age))

    @hookimpl
    def accept(self, exchange: Exchange) -> Reply | None:
        request = exchange.request
        origin = request.headers.get("origin")
        if origin is None:
            return None
        options = request.method == "OPTIONS"
        if self._origins.fullmatch(origin) is None:
            return Reply(200) if options and ASKED_METHOD in request.headers else None
        exchange.reply_headers.append((ALLOW + "origin", origin))
        if self.config.allow_credentials:
            exchange.reply_headers.append((ALLOW + "credentials", "true"))
        if options:
            return self._preflight(request.headers)
        if self._exposed:
            exchange.reply_headers.append(("access-control-expose-headers", self._exposed))
        return None

    def _preflight(self, asked: Headers) -> Reply:
        """The answer to "may I?" (WHATWG Fetch, section 3.2.2)."""
        fields = {
            ALLOW + "methods": _granted(self._methods, asked.get(ASKED_METHOD)),
            ALLOW + "headers": _granted(self._headers, asked.get(ASKED_HEADERS)),
            "access-control-max-age": self._max_age,
            "vary": f"{ASKED_METHOD}, {ASKED_HEADERS}",
        }
        return Reply(200, Headers.of({name: value for name, value in fields.items() if value}))

    @hookimpl
    def post_response(self, exchange: Exchange) -> None:
        reply = exchange.reply
        if reply is None:
            return
        headers = reply.headers
        if reply.upstream:
            headers.raw = [field for field in headers.raw if field[0] not in GATEWAYS_OWN]
        vary = ", ".join(headers.all("vary"))
        if not vary:
            headers.set("vary", "origin")
        elif not {name.strip().lower() for name in vary.split(",")} & {"*", "origin"}:
            headers.set("vary", f"{vary}, origin")


def _granted(allowed: str, asked: str | None) -> str:
    """What is allowed; with a `*` in it, what is asked for, if that is a list of names."""
    if "*" not in allowed.split(", "):
        return allowed
    return asked if asked and _TOKENS.fullmatch(asked) else ""
