"""What browsers get at the pages of a login: the question, the way to the authorization server, and the way back."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from agentgateway.errors import GatewayError
from agentgateway.exchange import Reply, Request
from agentgateway_mcp_oauth import pages
from agentgateway_mcp_oauth.addresses import origin
from agentgateway_mcp_oauth.authorization import Begun, answered, begun
from agentgateway_mcp_oauth.documents import document as public
from agentgateway_mcp_oauth.finding import Finding
from agentgateway_mcp_oauth.outbound import ProviderFailed
from agentgateway_mcp_oauth.places import DOCUMENT, Places
from agentgateway_mcp_oauth.registration import Clients
from agentgateway_mcp_oauth.user_tokens import Held, UserTokens, asked, received
from agentgateway_mcp_oauth.vault import Vault

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("agentgateway.mcp.oauth")

LINK = 600.0
"""Seconds that a link serves, and that a login may take once begun."""
FAILED = "That did not work"
METHODS = {"start": ("GET", "HEAD", "POST"), "callback": ("GET", "HEAD"), DOCUMENT: ("GET", "HEAD")}


class Reception:
    """The pages of one target."""

    def __init__(
        self,
        places: Places,
        vault: Vault,
        finding: Finding,
        clients: Clients,
        tokens: UserTokens,
        http: Callable[[], httpx.AsyncClient],
    ) -> None:
        self._places = places
        self._target = places.target
        self._vault = vault
        self._finding = finding
        self._clients = clients
        self._tokens = tokens
        self._http = http

    async def answer(self, request: Request, page: str) -> Reply:
        if page not in METHODS:
            return absent()
        if request.method not in METHODS[page]:
            return Reply.text(405, "method not allowed", (("allow", ", ".join(METHODS[page])),))
        if page == DOCUMENT:
            return self._document()
        try:
            return await (self._start(request) if page == "start" else self._callback(request))
        except GatewayError as error:
            logger.warning("%s: a login failed: %s", self._target, error.detail or error.message)
            return pages.page(error.status, FAILED, "The login could not be completed. Try it again later.")

    def _document(self) -> Reply:
        """The gateway's client ID metadata document."""
        where, base = self._places.own_document, self._places.config.public_url
        if where is None or base is None or where != self._places.document:
            return absent()
        return public({"client_id": where, **self._clients.about(self._places.callback(base))})

    async def _start(self, request: Request) -> Reply:
        given = (answered(request.query) or {}).get("ticket", "")
        ticket = self._vault.read_ticket(given, self._target)
        if ticket is None or ticket["until"] < time.time():
            return stale()
        if request.method != "POST":
            return pages.question(self._target, ticket["name"])
        if request.headers.all("origin") != [origin(ticket["base"])]:
            return pages.page(403, FAILED, "Another page has sent you here.")
        protected = await self._finding.known()
        if protected is None or protected.issuer != ticket["issuer"]:
            return stale()
        if not await self._vault.store.swap(self._vault.name("used", ticket["once"]), None, b"1", ttl=LINK):
            return stale()
        callback = self._places.callback(ticket["base"])
        client = await self._clients.at(protected, callback)
        flow, cookie = begun(ticket["who"], protected, client, callback, tuple(ticket["scopes"]), ticket["steps"])
        state = secrets.token_urlsafe(32)
        await self._vault.put(self._vault.name("login", self._target, state), flow.told(), ttl=LINK)
        return pages.onward(flow.location(state), self._cookie(state, cookie, callback))

    async def _callback(self, request: Request) -> Reply:
        given = answered(request.query) or {}
        state = given.get("state", "")
        name = self._vault.name("login", self._target, state)
        found = await self._vault.get(name)
        if found is None:
            return stale()
        flow = Begun.read(found[0])
        if not flow.began_in(cookie_in(request, self._cookie_name(state))):
            return pages.page(403, FAILED, "This login was begun in another browser.")
        if not await self._vault.take(name, found[1]):
            return stale()
        if (wrong := flow.misled(given.get("iss"))) is not None:
            raise ProviderFailed(status=400, detail=f"the answer to the authorization request: {wrong}")
        if not given.get("code"):
            return pages.page(400, "Not logged in", "The authorization server did not let you in.")
        await self._exchange(flow, given["code"])
        logger.info("%s: a user has logged in at %s", self._target, flow.protected.issuer)
        return pages.page(200, "Logged in", "You can close this page, and go on in your client.")

    async def _exchange(self, flow: Begun, code: str) -> None:
        """Tokens for a code. Raises `ProviderFailed`."""
        protected = flow.protected
        nothing = Held("", None, 0.0, flow.scopes, flow.steps, flow.client, flow.callback)
        client = await self._clients.same(protected, flow.client, flow.callback)
        if client is None:
            raise ProviderFailed(detail="the client that began the login is not known any more")
        answer = await asked(self._http(), protected, client, flow.exchange(code))
        if answer.status != 200:
            if answer.document.get("error") == "invalid_client":
                await self._clients.forget(protected.issuer, flow.callback)
            raise ProviderFailed(detail=f"status {answer.status} from the token endpoint")
        await self._tokens.keep(flow.who, protected, received(answer, nothing))

    def _cookie(self, state: str, value: str, callback: str) -> str:
        parts = urlsplit(callback)
        rules = f"Path={quote(parts.path, safe='/%')}; Max-Age={LINK:.0f}; HttpOnly; SameSite=Lax"
        return f"{self._cookie_name(state)}={value}; {rules}{'; Secure' if parts.scheme == 'https' else ''}"

    def _cookie_name(self, state: str) -> str:
        return "agw-login-" + self._vault.name("cookie", state).rpartition("/")[2][:16]


def absent() -> Reply:
    return pages.page(404, "Not found", "There is no such page.")


def stale() -> Reply:
    return pages.page(400, FAILED, "This link does not hold any more. Your client can get a new one.")


def cookie_in(request: Request, name: str) -> str | None:
    """A cookie, whatever others there are."""
    for part in ";".join(request.headers.all("cookie")).split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None
