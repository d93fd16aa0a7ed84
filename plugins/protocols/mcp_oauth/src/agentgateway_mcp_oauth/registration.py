"""The gateway as a client of authorization servers: known to one by its configuration, by a document that it serves, or
by registering itself (RFC 7591). What one server gave is never shown to another."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic_core import to_json

from agentgateway.settings import Secret
from agentgateway_mcp_oauth.outbound import ProviderFailed, ask
from agentgateway_mcp_oauth.places import Places
from agentgateway_mcp_oauth.protected import Protected
from agentgateway_mcp_oauth.reach import is_here
from agentgateway_mcp_oauth.vault import Document, Vault

if TYPE_CHECKING:
    import httpx

Method = Literal["basic", "post", "none"]
SPELLED: dict[str, Method] = {"client_secret_basic": "basic", "client_secret_post": "post", "none": "none"}
WIRE: dict[Method, str] = {method: name for name, method in SPELLED.items()}
KEPT = 365 * 86_400.0
MARGIN = 60.0
"""Seconds before its end at which a client's secret is not used any more."""


@dataclass(frozen=True, slots=True)
class Client:
    """What the gateway is called at one authorization server, and how it shows that it is that."""

    id: str
    secret: Secret | None = field(default=None, repr=False)
    method: Method = "none"

    def identify(self, form: dict[str, str], headers: dict[str, str]) -> None:
        """Add it to a request to the token endpoint (RFC 6749 section 2.3.1)."""
        if self.secret is not None and self.method == "basic":
            pair = f"{quote(self.id, safe='')}:{quote(self.secret.reveal(), safe='')}"
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
            return
        form["client_id"] = self.id
        if self.secret is not None and self.method == "post":
            form["client_secret"] = self.secret.reveal()


class Clients:
    """The clients that the gateway is."""

    def __init__(self, places: Places, vault: Vault, http: Callable[[], httpx.AsyncClient]) -> None:
        self._config = places.config
        self._document = places.document
        self._vault = vault
        self._http = http

    async def at(self, protected: Protected, callback: str) -> Client:
        """The client at a server's authorization server, whose users come back to `callback`. Raises
        `ProviderFailed`."""
        config = self._config
        if config.client_id is not None:
            method = config.client_auth or _preferred(protected.methods, ("basic", "post"))
            return Client(config.client_id, config.client_secret, method if config.client_secret else "none")
        if protected.takes_documents and self._document is not None:
            return Client(self._document)
        known = await self.known(protected.issuer, callback)
        return known or await self._register(protected, callback)

    async def same(self, protected: Protected, name: str, callback: str) -> Client | None:
        """The client of that name, to which something was given, and no other."""
        client: Client | None
        if self._config.client_id is not None or name == self._document:
            client = await self.at(protected, callback)
        else:
            client = await self.known(protected.issuer, callback)
        return client if client is not None and client.id == name else None

    async def known(self, issuer: str, callback: str) -> Client | None:
        """One that has registered itself there before."""
        name = self._vault.name("client", issuer, callback)
        found = await self._vault.get(name)
        client = _client(found[0]) if found is not None else None
        if found is not None and client is None:
            await self._vault.take(name, found[1])
        return client

    async def forget(self, issuer: str, callback: str) -> None:
        """What its authorization server does not know any more."""
        await self._vault.store.delete(self._vault.name("client", issuer, callback))

    async def _register(self, protected: Protected, callback: str) -> Client:
        if protected.registration is None:
            raise ProviderFailed(detail="the authorization server registers nobody: set `issuer` and `clientId`")
        method = _preferred(protected.methods, ("basic", "post", "none"))
        about = self.about(callback, method)
        if protected.scopes:
            about["scope"] = " ".join(protected.scopes)
        headers = {"content-type": "application/json"}
        answer = await ask(self._http(), "POST", protected.registration, body=to_json(about), headers=headers)
        if answer.status not in (200, 201):
            raise ProviderFailed(detail=f"status {answer.status} from the registration endpoint")
        kept = _kept(answer.document, method)
        name = self._vault.name("client", protected.issuer, callback)
        ttl = min(kept["ends"] - time.time(), KEPT) if kept["ends"] else KEPT
        if ttl > 0 and await self._vault.swap(name, None, kept, ttl=ttl) is None:
            found = await self._vault.get(name)  # another worker was quicker: one client is enough
            kept = found[0] if found is not None else kept
        client = _client(kept)
        if client is None:
            raise ProviderFailed(detail="the client's secret has ended already")
        return client

    def about(self, callback: str, method: Method = "none") -> dict[str, Any]:
        """What authorization servers are told of the gateway (RFC 7591 section 2)."""
        native = is_here(urlsplit(callback).hostname or "")
        return {
            "client_name": self._config.client_name,
            "redirect_uris": [callback],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": WIRE[method],
            "application_type": "native" if native else "web",
        }


def _preferred(methods: tuple[str, ...], order: tuple[Method, ...]) -> Method:
    """The first that both sides know; where nothing is said, a header (RFC 8414 section 2)."""
    known = [SPELLED[one] for one in methods if one in SPELLED]
    if not methods:
        return order[0]
    for method in order:
        if method in known:
            return method
    if "none" not in order:
        return order[0]
    raise ProviderFailed(detail="the authorization server wants clients to identify themselves in an unknown way")


def _kept(document: Document, asked_for: Method) -> Document:
    """The client that a registration gave. Raises `ProviderFailed` for one that is of no use."""
    name, secret = document.get("client_id"), document.get("client_secret")
    said = document.get("token_endpoint_auth_method")
    method: Method | None = asked_for if secret else "none"
    if said is not None:
        method = SPELLED.get(said) if isinstance(said, str) else None
    if not isinstance(name, str) or not name or not (name.isascii() and name.isprintable()):
        raise ProviderFailed(detail="the registration gave no client")
    if method is None or (method != "none" and not (isinstance(secret, str) and secret)):
        raise ProviderFailed(detail="the registration gave a client that cannot identify itself")
    ends = document.get("client_secret_expires_at")
    ends = ends if method != "none" and isinstance(ends, int | float) and not isinstance(ends, bool) else 0
    return {"id": name, "secret": secret if method != "none" else None, "method": method, "ends": ends}


def _client(kept: Document) -> Client | None:
    if kept["ends"] and kept["ends"] - MARGIN <= time.time():
        return None
    return Client(kept["id"], Secret(kept["secret"]) if kept["secret"] is not None else None, kept["method"])
