"""The metadata of an authorization server (RFC 8414, OpenID Connect Discovery): fetched when it is first asked for,
once for all who wait, and kept."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgateway_mcp_oauth.outbound import Answer, ProviderFailed, ask

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("agentgateway.mcp.oauth")

ENDPOINTS = ("authorization_endpoint", "token_endpoint")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to fetch, in seconds."""

    fresh: float = 900.0
    """After a success. Older metadata still serves while it is fetched anew, however long that fails."""
    retry: float = 5.0
    """After a failure: who asks sooner gets the same answer."""


class Discovery:
    """One authorization server's metadata. `documents` are tried in order; `issuer`, if given, is what it must say."""

    def __init__(
        self,
        documents: tuple[str, ...],
        issuer: str | None,
        client: Callable[[], httpx.AsyncClient],
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._issuer = issuer
        self._client = client
        self._pace = pace
        self._clock = clock
        self._known: dict[str, Any] | None = None
        self._failure = ""
        self._again = float("-inf")
        self._under_way: asyncio.Task[None] | None = None

    async def metadata(self) -> dict[str, Any]:
        """The metadata, which the caller leaves as it is. Raises `ProviderFailed` while there never was any."""
        if self._clock() >= self._again and self._under_way is None:
            self._under_way = asyncio.create_task(self._refresh(), name="authorization server metadata")
        if self._known is None and self._under_way is not None:
            await asyncio.wait((self._under_way,))  # whoever leaves, leaves it to the others
        if self._known is None:
            raise ProviderFailed(detail=self._failure)
        return self._known

    async def stop(self) -> None:
        task, self._under_way = self._under_way, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _refresh(self) -> None:
        try:
            self._known = await self._fetch()
            self._again = self._clock() + self._pace.fresh
        except ProviderFailed as error:
            self._failure = f"metadata: {error.detail}"
            self._again = self._clock() + self._pace.retry
            logger.warning("cannot fetch the metadata at %s: %s", self._documents[0], error.detail)
        finally:
            self._under_way = None

    async def _fetch(self) -> dict[str, Any]:
        """The first document that is there."""
        problem = ProviderFailed()
        for url in self._documents:
            try:
                return self._checked(await ask(self._client(), "GET", url))
            except ProviderFailed as error:
                problem = error
        raise problem

    def _checked(self, answer: Answer) -> dict[str, Any]:
        if answer.status != 200:
            raise ProviderFailed(detail=f"status {answer.status}")
        said = answer.document.get("issuer")
        if self._issuer is not None and (not isinstance(said, str) or said.rstrip("/") != self._issuer.rstrip("/")):
            raise ProviderFailed(detail="it names another issuer")  # RFC 8414 section 3.3
        if not all(isinstance(answer.document.get(name), str) for name in ENDPOINTS):
            raise ProviderFailed(detail="it names no authorization or no token endpoint")
        return answer.document
