"""The gateway between clients and a provider in authorization requests, so that what comes back names the gateway.

A provider that puts its name into its answers (RFC 9207) would name another than the one that clients have asked. So
the answers come to the gateway first, which looks at the name and puts in its own. Clients register through the
gateway, which tells the provider an address of its own for each: an answer meant for one client cannot be had by
another, and no client's users are sent anywhere but to where that client has said when it registered.
"""

from __future__ import annotations

import secrets
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

from pydantic_core import from_json, to_json

from agentgateway.errors import NotFound
from agentgateway.exchange import Reply, Request
from agentgateway_mcp_oauth.adapters import Adapter
from agentgateway_mcp_oauth.authorization import answered
from agentgateway_mcp_oauth.discovery import Discovery
from agentgateway_mcp_oauth.documents import answer
from agentgateway_mcp_oauth.forwarding import FORM, LENT_TO, LONGEST, form_in, object_in, wrong
from agentgateway_mcp_oauth.outbound import ProviderFailed
from agentgateway_mcp_oauth.reach import is_here

if TYPE_CHECKING:
    from agentgateway_mcp_oauth.vault import Document, Vault

KEPT = 90 * 86_400.0
"""Seconds that a client is known for which gets no tokens."""
UNDER_WAY = 600.0
MOST = 16
"""Redirect URIs of a client."""
NOBODYS = frozenset(("javascript", "data", "vbscript", "file", "blob", "about", "view-source"))
OF_THE_PROVIDER = ("registration_client_uri", "registration_access_token")
"""What would let a client change at the provider what the gateway knows of it."""
UNWANTED = frozenset(("request", "request_uri", "response_mode"))
"""Parameters that would have the provider answer elsewhere, or otherwise."""
PASSED_BACK = ("code", "error", "error_description", "error_uri")

PassOn = Callable[[str, bytes, dict[str, str]], Awaitable[Reply]]


class Brokering:
    """What one policy brokers."""

    def __init__(self, issuer: str, adapter: Adapter, discovery: Discovery, vault: Vault, pass_on: PassOn) -> None:
        self._issuer = issuer
        self._place = f"broker {issuer}"
        self._adapter = adapter
        self._discovery = discovery
        self._vault = vault
        self._pass_on = pass_on

    async def register(self, request: Request, here: str, issuer: str) -> Reply:
        """Register a client at the provider, with an address of the gateway's. `here` is the address of the metadata
        document, `issuer` the gateway's name in it."""
        document = object_in(await request.body.read(LONGEST))
        if document is None:
            return wrong("invalid_client_metadata", "expected a JSON object")
        uris = document.get("redirect_uris")
        if not isinstance(uris, list) or not 0 < len(uris) <= MOST or not all(map(acceptable, uris)):
            return wrong("invalid_redirect_uri", "expected https, http on this machine, or an app's own scheme")
        url = self._adapter.registration(await self._discovery.metadata())
        if url is None:
            raise NotFound("no client can be registered here")
        callback = f"{here}/callback-{secrets.token_urlsafe(12)}"
        told = to_json({**document, "redirect_uris": [callback]})
        reply = await self._pass_on(url, told, {"content-type": "application/json"})
        if reply.status not in (200, 201) or not isinstance(reply.body, bytes):
            return reply
        given = from_json(reply.body)
        if not isinstance(given.get("client_id"), str):
            raise ProviderFailed(detail="the registration gave no client")
        about = {"redirect_uris": uris, "callback": callback, "issuer": issuer}
        await self._vault.put(self._name(given["client_id"]), about, ttl=KEPT)
        kept = {name: value for name, value in given.items() if name not in OF_THE_PROVIDER}
        return answer(reply.status, {**kept, "redirect_uris": uris})

    async def authorize(self, request: Request) -> Reply:
        """Send the user's browser on to the provider. Whatever is wrong is said here: an address that is not the
        client's gets nothing, not even an error."""
        given = answered(request.query)
        if given is None:
            return wrong("invalid_request", "a parameter is there twice, or there are too many")
        known, asked = await self._known(given.get("client_id")), given.get("redirect_uri")
        if known is None or asked is None or not any(same_address(asked, one) for one in known["redirect_uris"]):
            return wrong("invalid_request", "no such client, or an address that is not its own")
        pkce = given.get("code_challenge") and given.get("code_challenge_method") == "S256"
        if not pkce or given.get("response_type") != "code" or not UNWANTED.isdisjoint(given):
            return wrong("invalid_request", "expected a code as the answer in a query, and PKCE with S256")
        url = self._adapter.authorization(await self._discovery.metadata())
        if url is None:
            raise NotFound("there is no authorization endpoint here")
        content = {
            "client": given["client_id"],
            "back": asked,
            "state": given.get("state"),
            "until": time.time() + UNDER_WAY,
        }
        sent = {**given, "redirect_uri": known["callback"], "state": self._vault.ticket(content, self._place)}
        if self._adapter.audience is not None:
            sent["audience"] = self._adapter.audience
        return onward(url, sent)

    async def callback(self, request: Request) -> Reply:
        """Send the user's browser back to the client, with the provider's answer under the gateway's name."""
        given = answered(request.query) or {}
        request.target, request.query = request.path, ""  # the code is in no log
        begun = self._vault.read_ticket(given.get("state", ""), self._place)
        if begun is None or begun["until"] < time.time():
            return wrong("invalid_request", "nobody has begun this, or too long ago")
        known = await self._known(begun["client"])
        if known is None or urlsplit(known["callback"]).path != request.path:
            return wrong("invalid_request", "this is the answer to another client")
        metadata = await self._discovery.metadata()
        iss, promised = given.get("iss"), metadata.get("authorization_response_iss_parameter_supported") is True
        if iss != metadata.get("issuer") and (iss is not None or promised):
            return wrong("invalid_request", "this is the answer of another authorization server")
        back = {name: given[name] for name in PASSED_BACK if name in given}
        if begun["state"] is not None:
            back["state"] = begun["state"]
        return onward(begun["back"], {**back, "iss": known["issuer"]})

    async def token(self, request: Request) -> Reply:
        """A token request, with the address that the provider knows."""
        if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != FORM:
            return wrong("invalid_request", f"expected {FORM}")
        form = form_in(await request.body.read(LONGEST))
        if form is None or form.get("grant_type") not in LENT_TO:
            return wrong("invalid_request", "expected a code or a refresh token, and each parameter once")
        own = request.headers.get("authorization")
        named = {name for name in (form.get("client_id"), basic_name(own)) if name}
        client = named.pop() if len(named) == 1 else ""
        known = await self._known(client)
        if known is None:
            return answer(401, {"error": "invalid_client"})
        if "redirect_uri" in form:
            if not any(same_address(form["redirect_uri"], one) for one in known["redirect_uris"]):
                return wrong("invalid_grant", "an address that is not the client's own")
            form["redirect_uri"] = known["callback"]
        url = self._adapter.token(await self._discovery.metadata())
        if url is None:
            raise NotFound("there is no token endpoint here")
        headers = {"content-type": FORM, **({"authorization": own} if own is not None else {})}
        reply = await self._pass_on(url, urlencode(form).encode(), headers)
        if reply.status == 200:
            await self._vault.put(self._name(client), known, ttl=KEPT)
        return reply

    async def _known(self, client: str | None) -> Document | None:
        found = await self._vault.get(self._name(client)) if client else None
        return found[0] if found is not None else None

    def _name(self, client: str) -> str:
        return self._vault.name("brokered", self._issuer, client)


def acceptable(uri: Any) -> bool:
    """Whether users may be sent there: https, http on their own machine, or an app (RFC 8252 section 7)."""
    if not isinstance(uri, str) or not (uri.isascii() and uri.isprintable()) or {" ", "#", "\\"} & set(uri):
        return False
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return bool(host) and parts.username is None and (parts.scheme == "https" or is_here(host or ""))
    return bool(parts.scheme) and parts.scheme not in NOBODYS


def same_address(asked: str, registered: str) -> bool:
    """Letter for letter; on the user's own machine whatever the port (RFC 8252 section 7.3)."""
    if asked == registered:
        return True
    if not acceptable(asked):
        return False
    one, other = urlsplit(asked), urlsplit(registered)
    local = one.scheme == other.scheme == "http" and one.hostname == other.hostname and is_here(one.hostname or "")
    return local and (one.path, one.query) == (other.path, other.query)


def basic_name(authorization: str | None) -> str | None:
    """The client's name in a header (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return unquote(b64decode(encoded, validate=True).decode().partition(":")[0])
    except ValueError:
        return None


def onward(url: str, query: Mapping[str, str]) -> Reply:
    reply = Reply(302)
    location = f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
    always = (("location", location), ("cache-control", "no-store"), ("referrer-policy", "no-referrer"))
    reply.headers.update(always)
    return reply
