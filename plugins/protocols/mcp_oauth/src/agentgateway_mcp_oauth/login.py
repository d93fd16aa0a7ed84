"""The login `authorizationCode` of MCP targets: each user's own token, by authorization code.

Who completes a login is who began it: the link is sealed, and names the principal that asked for it; it serves once,
and for ten minutes. Who follows it gets a cookie, and only the browser that has it may bring the answer of the
authorization server back. Tokens, clients and logins under way are in the gateway's store, sealed.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from agentgateway_mcp.logins import BELOW, Login, LoginRequired
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.servers import Answer, Ask

from agentgateway.errors import Forbidden, GatewayError, InternalError
from agentgateway.exchange import Exchange, Reply, Request
from agentgateway.interfaces import Host
from agentgateway.locations import BEARER
from agentgateway.settings import Secret
from agentgateway_mcp_oauth import pages, scopes
from agentgateway_mcp_oauth.addresses import origin, own_origin, own_path
from agentgateway_mcp_oauth.authorization import Begun, answered, begun
from agentgateway_mcp_oauth.callers import EVERYBODY, Caller, caller
from agentgateway_mcp_oauth.demand import Demand, demand
from agentgateway_mcp_oauth.documents import document as public
from agentgateway_mcp_oauth.finding import Finding
from agentgateway_mcp_oauth.outbound import ProviderFailed
from agentgateway_mcp_oauth.protected import Protected
from agentgateway_mcp_oauth.reach import is_here
from agentgateway_mcp_oauth.registration import Client, Clients
from agentgateway_mcp_oauth.user_config import AuthorizationCodeConfig
from agentgateway_mcp_oauth.user_tokens import Held, UserTokens, asked, received
from agentgateway_mcp_oauth.vault import Vault

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("agentgateway.mcp.oauth")

LINK = 600.0
"""Seconds that a link serves, and that a login may take once begun."""
PATIENCE = 20.0
"""Seconds that a client's next message waits for a login that its user said to be about to complete."""
PAUSE = 0.25
DOCUMENT = "client.json"
FAILED = "That did not work"


class AuthorizationCode(Login):
    """Logs users in to one server."""

    Config = AuthorizationCodeConfig

    def __init__(self, config: AuthorizationCodeConfig, host: Host) -> None:
        super().__init__(config, host)
        self._http: httpx.AsyncClient | None = None
        self._vault = Vault(host)
        self._clients = Clients(config, self._vault, self._client)
        self._tokens = UserTokens(self._vault, self._client, self._client_of)

    async def start(self) -> None:
        self._finding = Finding(self.url, self.config.issuer, self._vault, self._client)

    async def stop(self) -> None:
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
                detail="the route has no authentication; `anonymous: share` would make everybody one user",
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
        asking = exchange.parent or exchange
        base = self.config.public_url or own_address(asking)
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
        ticket = self._vault.ticket(content, self.target)
        return LoginRequired(self.target, f"{base}{BELOW}{self.target}/start?ticket={ticket}")

    # --- what browsers get -------------------------------------------------------------------------------------------

    async def visit(self, request: Request, page: str) -> Reply:
        allowed = ("GET", "HEAD", "POST") if page == "start" else ("GET", "HEAD")
        if page not in ("start", "callback", DOCUMENT):
            return pages.page(404, "Not found", "There is no such page.")
        if request.method not in allowed:
            return Reply.text(405, "method not allowed", (("allow", ", ".join(allowed)),))
        if page == DOCUMENT:
            return self._document()
        try:
            return await (self._start(request) if page == "start" else self._callback(request))
        except GatewayError as error:
            logger.warning("%s: a login failed: %s", self.target, error.detail or error.message)
            return pages.page(error.status, FAILED, "The login could not be completed. Try it again later.")

    def _document(self) -> Reply:
        """The gateway's client ID metadata document."""
        where = self._document_url()
        if where is None or self.config.client_metadata_url is not None or self.config.public_url is None:
            return pages.page(404, "Not found", "There is no such page.")
        return public({"client_id": where, **self._clients.about(self._callback_url(self.config.public_url))})

    def _document_url(self) -> str | None:
        public_url = self.config.public_url
        own = f"{public_url}{BELOW}{self.target}/{DOCUMENT}" if public_url is not None else None
        given: str | None = self.config.client_metadata_url
        return given or (own if own is not None and own.startswith("https://") else None)

    def _callback_url(self, base: str) -> str:
        return f"{base}{BELOW}{self.target}/callback"

    async def _start(self, request: Request) -> Reply:
        given = (answered(request.query) or {}).get("ticket", "")
        ticket = self._vault.read_ticket(given, self.target)
        if ticket is None or ticket["until"] < time.time():
            return stale()
        if request.method != "POST":
            return pages.question(self.target, ticket["name"])
        if request.headers.all("origin") != [origin(ticket["base"])]:
            return pages.page(403, FAILED, "Another page has sent you here.")
        protected = await self._finding.known()
        if protected is None or protected.issuer != ticket["issuer"]:
            return stale()
        if not await self._vault.store.swap(self._vault.name("used", ticket["once"]), None, b"1", ttl=LINK):
            return stale()
        callback = self._callback_url(ticket["base"])
        client = await self._clients.at(protected, callback, self._document_url())
        flow, cookie = begun(ticket["who"], protected, client, callback, tuple(ticket["scopes"]), ticket["steps"])
        state = secrets.token_urlsafe(32)
        await self._vault.put(self._vault.name("login", self.target, state), flow.told(), ttl=LINK)
        return pages.onward(flow.location(state), self._cookie(state, cookie, callback))

    def _cookie(self, state: str, value: str, callback: str) -> str:
        parts = urlsplit(callback)
        rules = f"Path={quote(parts.path, safe='/%')}; Max-Age={LINK:.0f}; HttpOnly; SameSite=Lax"
        return f"{self._cookie_name(state)}={value}; {rules}{'; Secure' if parts.scheme == 'https' else ''}"

    def _cookie_name(self, state: str) -> str:
        return "agw-login-" + self._vault.name("cookie", state).rpartition("/")[2][:16]

    async def _callback(self, request: Request) -> Reply:
        given = answered(request.query) or {}
        state = given.get("state", "")
        name = self._vault.name("login", self.target, state)
        found = await self._vault.get(name)
        if found is None:
            return stale()
        flow = Begun.read(found[0])
        if not flow.began_in(_cookie_in(request, self._cookie_name(state))):
            return pages.page(403, FAILED, "This login was begun in another browser.")
        if not await self._vault.take(name, found[1]):
            return stale()
        if (wrong := flow.misled(given.get("iss"))) is not None:
            raise ProviderFailed(status=400, detail=f"the answer to the authorization request: {wrong}")
        if not given.get("code"):
            return pages.page(400, "Not logged in", "The authorization server did not let you in.")
        await self._exchange(flow, given["code"])
        logger.info("%s: a user has logged in at %s", self.target, flow.protected.issuer)
        return pages.page(200, "Logged in", "You can close this page, and go on in your client.")

    async def _exchange(self, flow: Begun, code: str) -> None:
        """Tokens for a code. Raises `ProviderFailed`."""
        protected = flow.protected
        nothing = Held("", None, 0.0, flow.scopes, flow.steps, flow.client, flow.callback)
        client = await self._client_of(protected, nothing)
        if client is None:
            raise ProviderFailed(detail="the client that began the login is not known any more")
        answer = await asked(self._client(), protected, client, flow.exchange(code))
        if answer.status != 200:
            if answer.document.get("error") == "invalid_client":
                await self._clients.forget(protected.issuer, flow.callback)
            raise ProviderFailed(detail=f"status {answer.status} from the token endpoint")
        await self._tokens.keep(flow.who, protected, received(answer, nothing))

    async def _client_of(self, protected: Protected, held: Held) -> Client | None:
        """The client that tokens were given to, and no other."""
        document = self._document_url()
        client: Client | None
        if self.config.client_id is not None or held.client == document:
            client = await self._clients.at(protected, held.callback, document)
        else:
            client = await self._clients.known(protected.issuer, held.callback)
        return client if client is not None and client.id == held.client else None


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


def stale() -> Reply:
    return pages.page(400, FAILED, "This link does not hold any more. Your client can get a new one.")


def _said(exchange: Exchange) -> str | None:
    """What the user answered to the question whether to log in."""
    call = exchange.parent.call if exchange.parent is not None else None
    return call.login if isinstance(call, McpCall) else None


def _shown(exchange: Exchange) -> str | None:
    """The token that a request was sent with."""
    value = exchange.outgoing.headers.get("authorization") if exchange.outgoing is not None else None
    return value.removeprefix("Bearer ") if value is not None else None


def _cookie_in(request: Request, name: str) -> str | None:
    """A cookie, whatever others there are."""
    for part in ";".join(request.headers.all("cookie")).split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None
