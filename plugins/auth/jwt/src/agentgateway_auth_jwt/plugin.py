"""The policy `jwtAuth`. A plain function on the request path: tokens are verified in place, keys fetched by a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentgateway.errors import Unauthenticated
from agentgateway.exchange import Exchange, Principal
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway.locations import BEARER, Spot
from agentgateway.settings import Secret
from agentgateway_auth_jwt.config import JwtConfig

if TYPE_CHECKING:
    from agentgateway_auth_jwt.remote import Pace

KIND = "jwt"


class JwtAuth(Policy):
    """Establishes who is asking from a JSON Web Token that a trusted issuer signed."""

    Config = JwtConfig

    def __init__(self, config: JwtConfig, host: Host, pace: Pace | None = None) -> None:
        # Not at the top: PyJWT and cryptography take 100 ms, which only who has this policy pays.
        from agentgateway_auth_jwt.remote import Pace
        from agentgateway_auth_jwt.trust import Trust

        super().__init__(config, host)
        self._trust = Trust(config, host.at, pace or Pace())
        self._spot: Spot = config.location.readable(host) if config.location is not None else BEARER
        self._required = config.mode == "strict"
        self._refuses = config.mode != "permissive"

    async def start(self) -> None:
        for provider in self.config.trusted():
            if provider.jwks.file is not None:
                self.host.watch(provider.jwks.file)
        await self._trust.start(self.host.client)

    async def stop(self) -> None:
        await self._trust.stop()

    @hookimpl
    def authn(self, exchange: Exchange) -> None:
        token = self._spot.extract(exchange)
        if token is None:
            if self._required:
                raise missing()
            return
        try:
            verified = self._trust.check(token)
        except Unauthenticated:
            if self._refuses:
                self._spot.remove(exchange)  # so that no log shows it
                raise
            return
        self._spot.remove(exchange)
        exchange.establish(Principal(KIND, verified.subject, verified.claims, None, Secret(token)))


def missing() -> Unauthenticated:
    return Unauthenticated("no bearer token found", reason="JwtAuth", headers=(("www-authenticate", "Bearer"),))


def claims(exchange: Exchange) -> Mapping[str, Any]:
    """`jwt` in expressions: the token's claims; `jwt.rawToken` is there and says nothing."""
    return exchange.identities[KIND].claims
