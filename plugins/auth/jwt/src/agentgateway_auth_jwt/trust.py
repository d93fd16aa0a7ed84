"""Whom a policy trusts: issuers, their keys, and the tokens of theirs that were verified a moment ago."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from agentgateway.errors import ConfigError, Unauthenticated
from agentgateway_auth_jwt.cache import Verified, VerifiedTokens, token_digest
from agentgateway_auth_jwt.config import JwtConfig, JwtProvider
from agentgateway_auth_jwt.keys import Keys, read_keys
from agentgateway_auth_jwt.remote import Pace, RemoteKeys
from agentgateway_auth_jwt.verification import Issuer, Refused, UnknownKey, verify

if TYPE_CHECKING:
    import httpx

REASON = "JwtAuth"
CHALLENGE = (("www-authenticate", 'Bearer error="invalid_token"'),)  # RFC 6750 section 3.1


class Trust:
    """Verifies tokens. `at` is the policy's place in the file. Raises `ConfigError` for a key set that is none."""

    def __init__(self, config: JwtConfig, at: str, pace: Pace) -> None:
        self._verified = VerifiedTokens()
        self._remote: list[RemoteKeys] = []
        issuers = []
        for index, provider in enumerate(config.trusted()):
            place = "jwks" if config.providers is None else f"providers[{index}].jwks"
            issuers.append(self._issuer(provider, at, place, pace))
        self._issuers = tuple(issuers)

    def _issuer(self, provider: JwtProvider, at: str, place: str, pace: Pace) -> Issuer:
        if not provider.jwks.url:
            return Issuer(provider, _configured(provider.jwks.read(), at, place))
        issuer = Issuer(provider, {})
        put = partial(self._renew, issuer)
        self._remote.append(RemoteKeys(provider.jwks.url, put, name=provider.issuer, pace=pace))
        return issuer

    def _renew(self, issuer: Issuer, keys: Keys) -> None:
        issuer.keys = keys
        self._verified.clear()  # a key may have been withdrawn

    def check(self, token: str) -> Verified:
        """What a valid token says. Raises `Unauthenticated`: 401, or 503 while keys have yet to be fetched."""
        digest = token_digest(token)
        known = self._verified.get(digest)
        if known is not None:
            return known
        try:
            return self._verified.add(digest, verify(token, self._issuers))
        except UnknownKey as refusal:
            raise self._unknown_key(refusal) from None
        except Refused as refusal:
            raise _invalid(refusal) from None

    def _unknown_key(self, refusal: UnknownKey) -> Unauthenticated:
        for source in self._remote:
            source.want()
        if all(source.loaded for source in self._remote):
            return _invalid(refusal)
        return Unauthenticated(
            "tokens cannot be verified yet",
            reason=REASON,
            status=503,
            code="authentication_unavailable",
            detail="the keys of an issuer were never fetched",
            headers=(("retry-after", "5"),),
        )

    async def start(self, client: Callable[[], httpx.AsyncClient]) -> None:
        for source in self._remote:
            await source.start(client())

    async def stop(self) -> None:
        for source in reversed(self._remote):
            await source.stop()


def _configured(text: str, at: str, place: str) -> Keys:
    try:
        return read_keys(text)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}", path=f"{at}.{place}") from None


def _invalid(refusal: Refused) -> Unauthenticated:
    return Unauthenticated("invalid token", reason=REASON, detail=str(refusal), headers=CHALLENGE)
