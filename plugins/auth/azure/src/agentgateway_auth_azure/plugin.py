"""The credential `azure`."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange, Outgoing
from agentgateway.interfaces import Credential, Host
from agentgateway.tokens import Fresh, Token
from agentgateway_auth_azure.config import AzureConfig
from agentgateway_auth_azure.source import Source

SCOPE = "https://cognitiveservices.azure.com/.default"
OTHERS = ("x-api-key", "x-goog-api-key", "api-key")
"""Where clients of model APIs have credentials: a call with a token goes without the client's own."""
LOGIN = "oauth2"
"""What `Outgoing.scope` begins with where a provider names the scope of tokens."""


class AzureCredential(Credential):
    """Shows a token of Microsoft Entra ID: a service principal's, a machine's, a workload's or a developer's."""

    Config = AzureConfig
    signs: ClassVar[bool] = True

    def __init__(self, config: AzureConfig, host: Host) -> None:
        super().__init__(config, host)
        self._source = Source(config)
        self._fresh: dict[tuple[str, ...], Fresh[Token]] = {}

    async def apply(self, exchange: Exchange) -> None:
        """Raises `InternalError` when there is no token."""
        outgoing = exchange.outgoing
        if outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        token = await self._for(scopes(self.config, outgoing)).token()
        for name in OTHERS:
            if name not in outgoing.pinned:
                outgoing.headers.remove(name)
        outgoing.headers.set("authorization", f"Bearer {token.value}")

    def _for(self, wanted: tuple[str, ...]) -> Fresh[Token]:
        found = self._fresh.get(wanted)
        if found is None:

            async def obtain() -> Token:
                return await asyncio.to_thread(self._source.token, wanted)

            found = self._fresh[wanted] = Fresh(obtain)
        return found

    async def stop(self) -> None:
        for fresh in self._fresh.values():
            await fresh.stop()
        await asyncio.to_thread(self._source.close)


def scopes(config: AzureConfig, outgoing: Outgoing) -> tuple[str, ...]:
    """As configured, else as the provider says."""
    if config.scopes:
        return tuple(config.scopes)
    kind, scope = outgoing.scope or (None, "")
    return (scope,) if kind == LOGIN else (SCOPE,)
