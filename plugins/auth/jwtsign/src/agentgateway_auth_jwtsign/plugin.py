"""The credential `jwtSign`."""

from __future__ import annotations

from pydantic_core import to_json

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange
from agentgateway.expressions import ExpressionError
from agentgateway.interfaces import Credential, Host
from agentgateway.locations import BEARER
from agentgateway_auth_jwtsign.config import JwtSignConfig
from agentgateway_auth_jwtsign.tokens import Tokens


class JwtSign(Credential):
    """Shows the upstream a token that the gateway signs: who asks, and whatever else is computed from the request."""

    Config = JwtSignConfig

    def __init__(self, config: JwtSignConfig, host: Host) -> None:
        # Not at the top: PyJWT and cryptography take 100 ms, which only who has this credential pays.
        from agentgateway_auth_jwtsign.signing import Signer

        super().__init__(config, host)
        self._claims = {name: host.expression(source) for name, source in config.claims.items()}
        self._tokens = Tokens(Signer(config, host.at).sign, config.ttl)
        self._spot = config.location.spot() if config.location is not None else BEARER
        self._pinned = config.location is not None

    async def apply(self, exchange: Exchange) -> None:
        """Raises `InternalError` for a claim that cannot be computed: no token is better than one that says less."""
        if exchange.outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        try:
            token = await self._tokens.token(self._said(exchange))
        except (TypeError, ValueError) as error:
            raise InternalError(detail=f"no token can say these claims: {type(error).__name__}") from None
        self._spot.attach(exchange.outgoing, token, pinned=self._pinned)

    def _said(self, exchange: Exchange) -> bytes:
        claims = {}
        for name, expression in self._claims.items():
            try:
                claims[name] = expression.value(exchange)
            except ExpressionError:
                raise InternalError(detail=f"the claim `{name}` cannot be computed") from None
        return to_json(claims)

    async def stop(self) -> None:
        await self._tokens.stop()
