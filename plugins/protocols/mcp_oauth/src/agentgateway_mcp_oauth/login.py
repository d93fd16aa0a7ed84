"""The login `authorizationCode` of MCP targets: each user's own token, by authorization code.

Who completes a login is who began it: the link is sealed, and names the principal that asked for it; it serves once,
and for ten minutes. Who follows it gets a cookie, and only the browser that has it may bring the answer of the
authorization server back. Tokens, clients and logins under way are in the gateway's store, sealed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from agentgateway_mcp.logins import Login, LoginRequired
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.servers import Answer, Ask

from agentgateway.errors import Forbidden, InternalError
from agentgateway.exchange import Exchange, Reply, Request
from agentgateway.interfaces import Host
from agentgateway.locations import BEARER
from agentgateway.settings import Secret
from agentgateway_mcp_oauth import scopes
from agentgateway_mcp_oauth.callers import EVERYBODY, Caller, caller
from agentgateway_mcp_oauth.demand import Demand, demand
from agentgateway_mcp_oauth.finding import Finding
from agentgateway_mcp_oauth.places import Places
from agentgateway_mcp_oauth.protected import Protected
from agentgateway_mcp_oauth.reception import LINK, Reception
from agentgateway_mcp_oauth.registration import Clients
from agentgateway_mcp_oauth.user_config import AuthorizationCodeConfig
from agentgateway_mcp_oauth.user_tokens import UserTokens
from agentgateway_mcp_oauth.vault import Vault

if TYPE_CHECKING:
    import httpx

PATIENCE = 20.0
"""Seconds that a client's next message waits for a login that its user said to be about to complete."""
PAUSE = 0.25


class AuthorizationCode(Login):
    """Logs users in to one server."""

    Config = AuthorizationCodeConfig

    def __init__(self, config: AuthorizationCodeConfig, host: Host) -> None:
        super().__init__(config, host)
        self._http: httpx.AsyncClient | None = None
        self._vault = Vault(host)
        self._begun = False

    async def start(self) -> None:
        self._places = places = Places(self.target, self.config)
        self._finding = Finding(self.url, self.config.issuer, self._vault, self._client)
        clients = Clients(places, self._vault, self._client)
        self._tokens = UserTokens(self.target, self._vault, clients, self._client)
        self._reception = Reception(places, self._vault, self._finding, clients, self._tokens, self._client)
        self._begun = True

    async def stop(self) -> None:
        if self._begun:
            await self._tokens.stop()

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = self.host.client()
        return self._http

    # --- on the way of messages --------------------------------------------------------------------------------------

    async def attach(self, exchange: Exchange) -> None:
        """The caller's token, if there is one: without, the server says what it wants."""
        who, outgoing = self._who(exchange), exchange.outgoing
        if outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        outgoing.headers.remove("authorization")
        if who is None:
            return
        protected = await self._finding.known()
        token = await self._tokens.current(who.key, protected) if protected is not None else None
        said = _said(exchange)
        if token is None and said is not None and said != "accept":
            raise Forbidden(f"the login to `{self.target}` was declined")
        if token is None and said is not None:
            token = await self._awaited(who.key)
        if token is not None:
            BEARER.attach(outgoing, Secret(token), pinned=True)

    async def refused(self, exchange: Exchange, answer: Answer, *, again: bool) -> bool:
        wanted = demand(answer.status, answer.headers)
        if not (wanted.login or wanted.more) or (isinstance(exchange.call, Ask) and exchange.call.purpose == "end"):
            return False
        who, shown = self._who(exchange), _shown(exchange)
        if who is None:
            raise Forbidden(
                f"`{self.target}` has users, and this gateway does not know who you are",
                detail="there is no authentication on the route, or none at all on the command line;"
                " `anonymous: share` would make everybody one user",
            )
        before = await self._finding.known()
        protected = await self._finding.found(wanted, after=exchange.started if shown is not None else None)
        if wanted.more:
            return await self._more(exchange, who, protected, wanted, again)
        if shown is None and not again and await self._tokens.current(who.key, protected) is not None:
            return True
        if shown is not None and before is not None and before != protected:
            await self._tokens.drop(who.key, before, shown)
        if shown is not None and await self._tokens.refused(who.key, protected, shown, again=again):
            return True
        raise self._required(exchange, who, protected, scopes.first(wanted, protected, self.config.scopes), 0)

    async def _more(self, exchange: Exchange, who: Caller, protected: Protected, wanted: Demand, again: bool) -> bool:
        """A login for more, unless this one has had its chance: the server's refusal passes then."""
        held, said, shown = await self._tokens.held(who.key, protected), _said(exchange), _shown(exchange)
        if said is not None and not again:
            return said == "accept" and await self._awaited(who.key, shown) is not None
        if held is not None and held.access != shown:
            return not again
        before, steps = (held.asked, held.steps) if held is not None else ((), 0)
        together = scopes.more(wanted, before, steps)
        if together is None:
            return False
        raise self._required(exchange, who, protected, together, steps + 1)

    async def _awaited(self, who: str, shown: str | None = None) -> str | None:
        """A token other than the one that was shown, once the user has it."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            protected = await self._finding.known()
            token = await self._tokens.current(who, protected) if protected is not None else None
            if token is not None and token != shown:
                return token
            await asyncio.sleep(PAUSE)
        return None

    def _who(self, exchange: Exchange) -> Caller | None:
        """Whose token is shown; None for nobody's."""
        known = caller(exchange.principal, lambda credential: self._vault.name("caller", credential))
        return known or (EVERYBODY if self.config.anonymous == "share" else None)

    def _required(
        self, exchange: Exchange, who: Caller, protected: Protected, wanted: tuple[str, ...], steps: int
    ) -> LoginRequired:
        """The error that carries the link."""
        base = self._places.base(exchange.parent or exchange)
        content = {
            "who": who.key,
            "name": who.name,
            "base": base,
            "issuer": protected.issuer,
            "scopes": wanted,
            "steps": steps,
            "until": time.time() + LINK,
            "once": secrets.token_urlsafe(12),
        }
        return LoginRequired(self.target, self._places.start(base, self._vault.ticket(content, self.target)))

    async def visit(self, request: Request, page: str) -> Reply:
        return await self._reception.answer(request, page)


def _said(exchange: Exchange) -> str | None:
    """What the user answered to the question whether to log in."""
    call = exchange.parent.call if exchange.parent is not None else None
    return call.login if isinstance(call, McpCall) else None


def _shown(exchange: Exchange) -> str | None:
    """The token that a request was sent with."""
    value = exchange.outgoing.headers.get("authorization") if exchange.outgoing is not None else None
    return value.removeprefix("Bearer ") if value is not None else None
