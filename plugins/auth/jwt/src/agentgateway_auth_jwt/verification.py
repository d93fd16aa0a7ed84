"""Is this token what it says? Everything that a JSON Web Token must keep to (RFC 7519, RFC 8725)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt

if TYPE_CHECKING:
    from agentgateway_auth_jwt.config import JwtProvider
    from agentgateway_auth_jwt.keys import Keys

LEEWAY = 60.0
"""Seconds that the issuer's clock may differ from ours, as in the reference's library."""


class Refused(Exception):
    """The token does not hold. The message is for the log and quotes nothing of it."""


class UnknownKey(Refused):
    """It names a key that is in no set."""


def key_id(token: str) -> str:
    """The `kid` of the token's header, which nobody vouches for yet. Raises `Refused`."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise Refused(type(error).__name__) from None
    if not isinstance(kid, str) or not kid:
        raise Refused("the token names no key (kid)")
    return kid


class Issuer:
    """One trusted issuer, with the keys it has now."""

    def __init__(self, provider: JwtProvider, keys: Keys) -> None:
        self.name = provider.issuer
        self.keys = keys
        self._audiences = provider.audiences
        self._options: Any = {
            "require": [*provider.jwt_validation_options.required_claims, "iss"],
            "verify_aud": provider.audiences is not None,
        }

    def verify(self, token: str, kid: str) -> dict[str, Any]:
        """The claims of a token signed by one of the keys. Raises `Refused`."""
        key = self.keys[kid]
        try:
            return jwt.decode(
                token,
                key.key,
                key.algorithms,
                self._options,
                audience=self._audiences,
                issuer=self.name,
                leeway=LEEWAY,
            )
        except jwt.MissingRequiredClaimError as error:
            raise Refused(f"the claim {error.claim} is missing (issuer {self.name})") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Refused(f"{type(error).__name__} (issuer {self.name})") from None


def verify(token: str, issuers: tuple[Issuer, ...]) -> dict[str, Any]:
    """The claims of a token of one of the issuers. Raises `Refused`, `UnknownKey` when none has its key."""
    kid = key_id(token)
    refusal: Refused = UnknownKey("the token names an unknown key (kid)")
    for issuer in issuers:
        if kid in issuer.keys:
            try:
                return issuer.verify(token, kid)
            except Refused as error:
                refusal = error
    raise refusal
