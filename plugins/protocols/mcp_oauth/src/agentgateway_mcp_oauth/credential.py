"""The credential `mcpOAuth` of `backendAuth`."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange, Outgoing
from agentgateway.interfaces import Credential, Host
from agentgateway.locations import BEARER
from agentgateway.settings import Secret
from agentgateway.tokens import Fresh, Token
from agentgateway_mcp_oauth.adapters import documents_of
from agentgateway_mcp_oauth.discovery import Discovery, Pace
from agentgateway_mcp_oauth.grants import Grants, McpOAuthConfig

if TYPE_CHECKING:
    import httpx

MOST = 4096
"""Tokens that are kept: one for each resource, and with `tokenExchange` for each caller's token."""
SOON = 60.0

Key = tuple[str | None, bytes]
"""The resource, and a digest of all of the caller's token."""


class McpOAuth(Credential):
    """Shows the upstream a token that the gateway gets for it, in its own name or in the caller's."""

    Config = McpOAuthConfig

    def __init__(self, config: McpOAuthConfig, host: Host) -> None:
        super().__init__(config, host)
        self._http: httpx.AsyncClient | None = None
        self._discovery = Discovery(documents_of(config.issuer), config.issuer, self._client, Pace())
        self._grants = Grants(config, self._discovery, self._client)
        self._fresh: OrderedDict[Key, Fresh[Token]] = OrderedDict()

    async def apply(self, exchange: Exchange) -> None:
        """Raises `InternalError` when the caller has shown no token that could be exchanged, `ProviderFailed` when
        there is none to be had."""
        outgoing = exchange.outgoing
        if outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        subject = _callers(exchange) if self.config.grant == "tokenExchange" else None
        token = await self._for(self._resource(outgoing), subject).token()
        BEARER.attach(outgoing, Secret(token.value), pinned=True)

    def _resource(self, outgoing: Outgoing) -> str | None:
        """Never with the path of a request: clients may choose that, and would choose what tokens are asked for."""
        configured: str | None = self.config.resource
        return outgoing.url if configured is None and self.config.audience is None else configured

    def _for(self, resource: str | None, subject: Secret | None) -> Fresh[Token]:
        key = (resource, b"" if subject is None else blake2b(subject.reveal().encode(), digest_size=32).digest())
        found = self._fresh.get(key)
        if found is None:

            async def obtain() -> Token:
                return await self._grants.token(resource, subject)

            found = self._fresh[key] = Fresh(obtain, soon=SOON)
            if len(self._fresh) > MOST:
                self._fresh.popitem(last=False)  # what it has under way still serves those who wait
        self._fresh.move_to_end(key)
        return found

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = self.host.client()
        return self._http

    async def start(self) -> None:
        self._client()

    async def stop(self) -> None:
        for fresh in self._fresh.values():
            await fresh.stop()
        await self._discovery.stop()


def _callers(exchange: Exchange) -> Secret:
    """The token that an authenticator took from the caller."""
    principal = exchange.identities.get("jwt")
    if principal is None or principal.credential is None:
        raise InternalError(detail="the caller has shown no token that could be exchanged")
    return principal.credential
