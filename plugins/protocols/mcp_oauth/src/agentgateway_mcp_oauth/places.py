"""Where the pages of one target's login are."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from agentgateway_mcp.logins import BELOW

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange
from agentgateway_mcp_oauth.addresses import origin, own_origin, own_path
from agentgateway_mcp_oauth.reach import is_here
from agentgateway_mcp_oauth.user_config import AuthorizationCodeConfig

DOCUMENT = "client.json"


@dataclass(frozen=True, slots=True)
class Places:
    """Each target has its own, so that an answer cannot be passed off as that of another authorization server."""

    target: str
    config: AuthorizationCodeConfig

    def base(self, exchange: Exchange) -> str:
        """The endpoint that the pages are below. Raises `InternalError`."""
        return self.config.public_url or own_address(exchange)

    def start(self, base: str, ticket: str) -> str:
        return f"{base}{BELOW}{self.target}/start?ticket={ticket}"

    def callback(self, base: str) -> str:
        return f"{base}{BELOW}{self.target}/callback"

    @property
    def document(self) -> str | None:
        """The client ID metadata document; None where there is none."""
        own = self.own_document
        return self.config.client_metadata_url or (own if own is not None and own.startswith("https://") else None)

    @property
    def own_document(self) -> str | None:
        """The same where the gateway itself has it."""
        if self.config.public_url is None or self.config.client_metadata_url is not None:
            return None
        return f"{self.config.public_url}{BELOW}{self.target}/{DOCUMENT}"


def own_address(exchange: Exchange) -> str:
    """The endpoint as its client sees it, where both are on one machine: what a request says of any other address, an
    attacker may have written, and codes would go there. Raises `InternalError`."""
    address = own_origin(exchange.request)
    try:
        here = is_here(exchange.source.address) and is_here(urlsplit(origin(address)).hostname or "")
    except ValueError:
        here = False
    if not here:
        raise InternalError(detail="users cannot come back: set `publicUrl` of the target's login")
    return address + own_path(exchange.request).rstrip("/")
