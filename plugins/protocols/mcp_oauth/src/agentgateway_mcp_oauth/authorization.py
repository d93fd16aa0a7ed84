"""One authorization request, and the answer to it (OAuth 2.1, PKCE of RFC 7636, resources of RFC 8707, issuers of
RFC 9207)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode

from agentgateway_mcp_oauth.protected import Protected
from agentgateway_mcp_oauth.registration import Client
from agentgateway_mcp_oauth.scopes import OFFLINE

LONGEST = 8192
FIELDS = 32


@dataclass(frozen=True, slots=True)
class Begun:
    """An authorization under way, for `who`. `cookie` is a digest of what the browser that began it shows."""

    who: str
    protected: Protected
    client: str
    callback: str
    scopes: tuple[str, ...]
    steps: int
    verifier: str = field(repr=False)
    cookie: str = field(repr=False)

    def told(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "protected"}
        return {**kept, "protected": self.protected.told()}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        protected = Protected.read(document["protected"])
        return cls(**{**document, "protected": protected, "scopes": tuple(document["scopes"])})

    def location(self, state: str) -> str:
        """Where the browser goes: the authorization endpoint, with what is asked there."""
        query = {
            "response_type": "code",
            "client_id": self.client,
            "redirect_uri": self.callback,
            "state": state,
            "code_challenge": challenge(self.verifier),
            "code_challenge_method": "S256",
            "resource": self.protected.resource,
        }
        if self.scopes:
            query["scope"] = " ".join(self.scopes)
        if OFFLINE in self.scopes:
            query["prompt"] = "consent"  # OpenID Connect Core section 11
        endpoint = self.protected.authorization
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query, quote_via=quote)}"

    def began_in(self, browser: str | None) -> bool:
        """Whether that cookie's browser is the one."""
        return browser is not None and hmac.compare_digest(digest(browser), self.cookie)

    def misled(self, iss: str | None) -> str | None:
        """What is wrong with the issuer of an answer, compared letter for letter (RFC 9207 section 2.4); None where
        nothing is."""
        if iss is None:
            return "it does not say who it is from" if self.protected.promises_iss else None
        return None if iss == self.protected.issuer else "it is from another authorization server"

    def exchange(self, code: str) -> dict[str, str]:
        """The form that a code is exchanged with."""
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.callback,
            "code_verifier": self.verifier,
            "resource": self.protected.resource,
        }


def begun(
    who: str, protected: Protected, client: Client, callback: str, scopes: tuple[str, ...], steps: int
) -> tuple[Begun, str]:
    """An authorization, and the cookie of the browser that begins it."""
    cookie = secrets.token_urlsafe(32)
    verifier = secrets.token_urlsafe(64)
    return Begun(who, protected, client.id, callback, scopes, steps, verifier, digest(cookie)), cookie


def challenge(verifier: str) -> str:
    """RFC 7636 section 4.2, `S256`."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def answered(query: str) -> dict[str, str] | None:
    """The parameters of an answer; None where one of them is there twice (RFC 6749 section 3.1)."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:
        return None
    found = dict(pairs)
    return found if len(query) <= LONGEST and len(found) == len(pairs) else None
