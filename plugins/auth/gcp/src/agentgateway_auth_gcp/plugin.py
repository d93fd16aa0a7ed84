"""The credential `gcp`."""

from __future__ import annotations

import asyncio
from typing import ClassVar
from urllib.parse import urlsplit

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange, Outgoing
from agentgateway.interfaces import Credential, Host
from agentgateway.tokens import Fresh
from agentgateway_auth_gcp.config import GcpConfig
from agentgateway_auth_gcp.source import Source
from agentgateway_auth_gcp.tokens import SOON, GoogleToken

OTHERS = ("x-api-key", "x-goog-api-key", "api-key", "x-goog-user-project")
"""Where clients of model APIs have credentials, and whom they let pay: a call with a token goes without the client's
own."""
MOST = 256
"""Audiences that are remembered."""


class GcpCredential(Credential):
    """Shows a token of Google Cloud: a service account's, a machine's, a workload's or a user's."""

    Config = GcpConfig
    signs: ClassVar[bool] = True

    def __init__(self, config: GcpConfig, host: Host) -> None:
        super().__init__(config, host)
        self._source = Source(config.credential)
        self._fresh: dict[str | None, Fresh[GoogleToken]] = {}

    async def apply(self, exchange: Exchange) -> None:
        """Raises `InternalError` when there is no token."""
        outgoing = exchange.outgoing
        if outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        token = await self._for(audience(self.config, outgoing)).token()
        for name in OTHERS:
            if name not in outgoing.pinned:
                outgoing.headers.remove(name)
        outgoing.headers.set("authorization", f"Bearer {token.value}")
        if token.payer is not None and "x-goog-user-project" not in outgoing.pinned:
            outgoing.headers.set("x-goog-user-project", token.payer)

    def _for(self, wanted: str | None) -> Fresh[GoogleToken]:
        found = self._fresh.get(wanted)
        if found is None:
            if len(self._fresh) >= MOST:
                self._drop_one()

            async def obtain() -> GoogleToken:
                return await asyncio.to_thread(self._source.token, wanted)

            found = self._fresh[wanted] = Fresh(obtain, soon=SOON)
        return found

    def _drop_one(self) -> None:
        """The one that was first asked for. What it has under way still serves those who wait."""
        oldest = next(iter(self._fresh))
        del self._fresh[oldest]
        if oldest is not None:
            self._source.forget(oldest)

    async def stop(self) -> None:
        for fresh in self._fresh.values():
            await fresh.stop()
        await asyncio.to_thread(self._source.close)


def audience(config: GcpConfig, outgoing: Outgoing) -> str | None:
    """Whom an ID token is for; None for an access token."""
    if config.type != "idToken":
        return None
    return config.audience or f"https://{urlsplit(outgoing.url).hostname}"
