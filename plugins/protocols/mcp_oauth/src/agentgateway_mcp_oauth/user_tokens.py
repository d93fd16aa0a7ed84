"""Tokens of users, in the store: kept, shown, refreshed by one worker for all, and dropped when they are refused."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from agentgateway_mcp_oauth.demand import scopes_in
from agentgateway_mcp_oauth.forwarding import FORM
from agentgateway_mcp_oauth.grants import lifetime
from agentgateway_mcp_oauth.outbound import Answer, ProviderFailed, ask
from agentgateway_mcp_oauth.protected import Protected
from agentgateway_mcp_oauth.registration import Client, Clients
from agentgateway_mcp_oauth.vault import Vault

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("agentgateway.mcp.oauth")

SOON = 30.0
"""Seconds before its end at which a token that can be refreshed is."""
LATE = 5.0
"""Seconds before its end at which a token is not shown any more."""
KEPT = 90 * 86_400.0
"""Seconds that a login with a refresh token is kept that nobody uses."""
CLAIM = 30.0
"""Seconds that others leave a token to the worker that refreshes it."""
PAUSE = 0.1
MOST = 4096
"""Tokens that a worker remembers."""


@dataclass(frozen=True, slots=True)
class Held:
    """A user's login at one server. `asked` are the scopes it was for, `steps` how often more were asked for, `client`
    whom the tokens were given to, `callback` where that one's users come back to. `claim` says who refreshes it, and
    until when that is believed."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    ends: float
    asked: tuple[str, ...]
    steps: int
    client: str
    callback: str
    claim: tuple[str, float] | None = None

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        kept: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in document.items()}
        return cls(**kept)

    @property
    def ttl(self) -> float:
        return KEPT if self.refresh is not None else max(self.ends - time.time(), 1.0)


class UserTokens:
    """The tokens of all users of one target."""

    def __init__(self, target: str, vault: Vault, clients: Clients, http: Callable[[], httpx.AsyncClient]) -> None:
        self._target = target
        self._vault = vault
        self._clients = clients
        self._http = http
        self._known: OrderedDict[str, Held] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[Held | None]] = {}

    def _name(self, who: str, protected: Protected) -> str:
        return self._vault.name("token", self._target, who, protected.issuer, protected.resource)

    async def current(self, who: str, protected: Protected) -> str | None:
        """A token that may be shown; None when the user has to log in. Raises `ProviderFailed`."""
        name = self._name(who, protected)
        held = self._known.get(name)
        if held is None or held.ends - time.time() <= SOON:
            held = await self._read(name)
        if held is None:
            return None
        left = held.ends - time.time()
        if left <= SOON and held.refresh is not None:
            try:
                fresh = await self._refreshed(name, held, protected)
            except ProviderFailed:
                if left <= LATE:
                    raise
            else:
                return fresh.access if fresh is not None else None
        return held.access if left > LATE else None

    async def held(self, who: str, protected: Protected) -> Held | None:
        """As it is in the store now."""
        return await self._read(self._name(who, protected))

    async def keep(self, who: str, protected: Protected, held: Held) -> None:
        name = self._name(who, protected)
        await self._vault.put(name, asdict(held), ttl=held.ttl)
        self._remember(name, held)

    async def drop(self, who: str, protected: Protected, shown: str) -> None:
        """A login is of no use any more."""
        await self._forget(self._name(who, protected), shown)

    async def refused(self, who: str, protected: Protected, shown: str, *, again: bool) -> bool:
        """The server does not take a token. Whether there is another one now; else the login is gone."""
        name = self._name(who, protected)
        held = await self._read(name)
        if held is not None and held.access != shown:
            return not again
        if held is not None and held.refresh is not None and not again:
            return await self._refreshed(name, held, protected, rejected=True) is not None
        if held is not None:
            await self._forget(name, shown)
        return False

    async def stop(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- refreshing --------------------------------------------------------------------------------------------------

    async def _refreshed(self, name: str, held: Held, protected: Protected, *, rejected: bool = False) -> Held | None:
        """Once for all who wait."""
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.create_task(self._refresh(name, held, protected, rejected), name="refresh of a token")
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
            task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _refresh(self, name: str, stale: Held, protected: Protected, rejected: bool) -> Held | None:
        """One worker claims the login, and asks; the others wait for what comes of it."""
        until = time.time() + CLAIM
        while True:
            found = await self._vault.get(name)
            if found is None:
                return None
            held, raw = Held.read(found[0]), found[1]
            if held.access != stale.access or held.refresh is None:
                return self._remember(name, held)
            if held.claim is None or held.claim[1] <= time.time():
                claimed = replace(held, claim=(secrets.token_hex(8), time.time() + CLAIM))
                mine = await self._vault.swap(name, raw, asdict(claimed), ttl=held.ttl)
                if mine is not None:
                    return await self._ask(name, held, mine, protected)
            elif not rejected and held.ends - time.time() > LATE:
                return held
            elif time.time() > until:
                raise ProviderFailed(detail="another worker has been refreshing the token for too long")
            await asyncio.sleep(PAUSE)

    async def _ask(self, name: str, held: Held, raw: bytes, protected: Protected) -> Held | None:
        client = await self._clients.same(protected, held.client, held.callback)
        if client is None or held.refresh is None:
            await self._drop(name, raw)
            return None
        form = {"grant_type": "refresh_token", "refresh_token": held.refresh, "resource": protected.resource}
        try:
            answer = await asked(self._http(), protected, client, form)
            if answer.status == 200:
                fresh = received(answer, held)
        except ProviderFailed:
            await self._vault.swap(name, raw, asdict(held), ttl=held.ttl)
            raise
        if answer.status != 200:
            logger.warning("%s did not refresh a token: status %d", protected.issuer, answer.status)
            if answer.status >= 500 or answer.status == 429:
                await self._vault.swap(name, raw, asdict(held), ttl=held.ttl)
                raise ProviderFailed(detail=f"status {answer.status} from the token endpoint")
            await self._drop(name, raw)
            return None
        if await self._vault.swap(name, raw, asdict(fresh), ttl=fresh.ttl) is None:
            return await self._read(name)  # the user has logged in anew meanwhile
        return self._remember(name, fresh)

    # --- what is kept ------------------------------------------------------------------------------------------------

    async def _read(self, name: str) -> Held | None:
        found = await self._vault.get(name)
        if found is None:
            self._known.pop(name, None)
            return None
        return self._remember(name, Held.read(found[0]))

    async def _forget(self, name: str, shown: str) -> None:
        self._known.pop(name, None)
        found = await self._vault.get(name)
        if found is not None and found[0]["access"] == shown:
            await self._drop(name, found[1])

    async def _drop(self, name: str, raw: bytes) -> None:
        self._known.pop(name, None)
        await self._vault.take(name, raw)

    def _remember(self, name: str, held: Held) -> Held:
        self._known[name] = held
        self._known.move_to_end(name)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return held


async def asked(http: httpx.AsyncClient, protected: Protected, client: Client, form: dict[str, str]) -> Answer:
    """A request to the token endpoint. Raises `ProviderFailed`."""
    headers = {"content-type": FORM}
    client.identify(form, headers)
    return await ask(http, "POST", protected.token, body=urlencode(form).encode(), headers=headers)


def received(answer: Answer, before: Held) -> Held:
    """The tokens of an answer; what it does not say is as before (RFC 6749 sections 5.1 and 6). Raises
    `ProviderFailed`."""
    document = answer.document
    access, refresh = document.get("access_token"), document.get("refresh_token")
    if not isinstance(access, str) or not access.isascii() or not access.isprintable() or not access:
        raise ProviderFailed(detail="the token endpoint gave no token")
    if str(document.get("token_type", "")).lower() != "bearer":
        raise ProviderFailed(detail="the token endpoint gave no bearer token")
    given = scopes_in(document.get("scope"))
    return replace(
        before,
        access=access,
        refresh=refresh if isinstance(refresh, str) and refresh else before.refresh,
        ends=time.time() + lifetime(document.get("expires_in")),
        asked=tuple(dict.fromkeys((*before.asked, *given))),
        claim=None,
    )


def _heard(task: asyncio.Task[Held | None]) -> None:
    """A failure is that of whoever waits; if nobody does, it is nobody's."""
    if not task.cancelled():
        task.exception()
