"""The configuration of `jwtSign`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from agentgateway.locations import WritableLocation
from agentgateway.settings import CelText, Duration, PluginConfig, Secret, problem

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Nothing symmetric: who verifies tokens must not be able to make them."""
OWN = ("exp", "iat")
SHORTEST, LONGEST = 10.0, 86400.0


class JwtSignConfig(PluginConfig):
    """Show the upstream a JSON Web Token that the gateway signs."""

    signing_key: Secret
    """The private key in PEM, inline or as `{file: …}`."""
    alg: Algorithm = "RS256"
    """How to sign; the key must be of that kind."""
    kid: str | None = Field(None, min_length=1, max_length=1024)
    """The key's name, for the token's head."""
    claims: dict[str, CelText] = {}
    """What the token says, by name: an expression each. `iat` and `exp` are there by themselves."""
    ttl: Duration = 300.0
    """How long a token holds, 10s to 24h."""
    location: WritableLocation | None = None
    """Where to put it. Left out: `Authorization: Bearer`, which a provider may move to where its vendor looks."""

    @field_validator("claims")
    @classmethod
    def _not_the_times(cls, claims: dict[str, str]) -> dict[str, str]:
        for name in OWN:
            if name in claims:
                raise problem(f"`{name}` is set by the gateway", "say how long the token holds by `ttl`")
        return claims

    @field_validator("ttl")
    @classmethod
    def _long_enough(cls, ttl: float) -> float:
        if not SHORTEST <= ttl <= LONGEST:
            raise problem("expected 10s to 24h")
        return ttl
