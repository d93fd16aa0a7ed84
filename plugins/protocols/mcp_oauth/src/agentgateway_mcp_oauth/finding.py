"""What was found out about a server, kept in memory and in the store: by one request for all who wait, and anew when
the server has refused what was believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentgateway_mcp_oauth.demand import Demand
from agentgateway_mcp_oauth.outbound import ProviderFailed
from agentgateway_mcp_oauth.protected import Protected, Seeker
from agentgateway_mcp_oauth.vault import Vault

if TYPE_CHECKING:
    import httpx

FRESH = 300.0
"""Seconds that what was found serves for new logins."""
KEPT = 30 * 86_400.0
RETRY = 5.0
"""Seconds after which what could not be found is looked for again."""


class Finding:
    """One server."""

    def __init__(self, server: str, issuer: str | None, vault: Vault, client: Callable[[], httpx.AsyncClient]) -> None:
        self._seeker = Seeker(server, issuer, client)
        self._vault = vault
        self._name = vault.name("server", server, issuer or "")
        self._lock = asyncio.Lock()
        self._protected: Protected | None = None
        self._at = float("-inf")
        self._failure: str | None = None

    async def known(self) -> Protected | None:
        """What was found last, by any worker, if anything was."""
        if self._protected is None:
            found = await self._vault.get(self._name)
            self._protected = Protected.read(found[0]) if found is not None else None
        return self._protected

    async def found(self, demand: Demand, *, after: float | None) -> Protected:
        """What is so now. `after` is a moment (monotonic) before which it may have been otherwise. Raises
        `ProviderFailed`."""
        async with self._lock:
            now = time.monotonic()
            if self._failure is not None and now - self._at < RETRY:
                raise impossible(self._failure)
            old = now - FRESH if after is None else after
            if self._failure is None and self._protected is not None and self._at > old:
                return self._protected
            self._at = now
            try:
                self._protected = await self._seeker.find(demand)
                self._failure = None
            except ProviderFailed as error:
                self._failure = error.detail
                raise impossible(error.detail) from None
            await self._vault.put(self._name, self._protected.told(), ttl=KEPT)
            return self._protected


def impossible(detail: str) -> ProviderFailed:
    return ProviderFailed("nobody can log in to this server now", detail=detail)
