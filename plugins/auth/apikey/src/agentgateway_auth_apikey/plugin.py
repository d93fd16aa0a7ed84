"""The policy `apiKey`: one look into a dictionary of digests, then the key is gone from the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentgateway.errors import ConfigError, Forbidden, Unauthenticated
from agentgateway.exchange import Exchange, Principal
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway.locations import BEARER, HeaderSpot, HeaderSpots, Spot
from agentgateway.settings import Secret
from agentgateway_auth_apikey.config import ApiKeyConfig
from agentgateway_auth_apikey.digests import digest
from agentgateway_auth_apikey.models import allows

KIND = "apiKey"
DEFAULT_PLACE = HeaderSpots(BEARER, HeaderSpot("x-api-key"), HeaderSpot("x-goog-api-key"))
"""Where the SDKs of OpenAI, AWS and newer ones of Anthropic, those of Anthropic, and those of Google put a key."""
CHALLENGE = (("www-authenticate", "Bearer"),)  # RFC 9110 section 15.5.2: a 401 says what would help


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key, and what with it goes."""

    name: str
    claims: Mapping[str, Any]
    models: tuple[str, ...] | None


class ApiKeyAuth(Policy):
    """Establishes who holds the presented API key, and keeps them to the models that are theirs."""

    Config = ApiKeyConfig

    def __init__(self, config: ApiKeyConfig, host: Host) -> None:
        super().__init__(config, host)
        self._holders = holders(config, host.at)
        self._place = config.location.readable(host) if config.location is not None else DEFAULT_PLACE
        self._required = config.mode == "strict"
        self._refuses = config.mode != "permissive"

    @hookimpl
    def authn(self, exchange: Exchange) -> None:
        principal, wrong = self._place.take(exchange, self._recognised)
        if principal is not None:
            exchange.establish(principal)
        elif self._refuses and (wrong or self._required):
            refuse(exchange, wrong)

    def _recognised(self, key: str) -> Principal | None:
        """Whose key it is. The key itself stays with the request, here there are digests only."""
        holder = self._holders.get(digest(key))
        if holder is None:
            return None
        return Principal(KIND, holder.name, holder.claims, holder.models, Secret(key))

    @hookimpl
    def authz(self, exchange: Exchange) -> None:
        principal = exchange.identities.get(KIND)
        if principal is None or principal.models is None:
            return
        model = getattr(exchange.call, "model", None)
        if model is not None and not allows(principal.models, model):
            raise Forbidden(
                "model not allowed for this API key",
                code="model_not_allowed",
                param="model",
                detail=f"not among the allowed models of {principal.name}",
            )


def refuse(exchange: Exchange, wrong: list[Spot]) -> None:
    """Answer 401. A wrong key may be a good one elsewhere, so it is taken out before the request is logged."""
    for spot in wrong:
        spot.remove(exchange)
    message = "invalid credentials" if wrong else "no API Key found"
    raise Unauthenticated(message, reason="APIKeyAuth", headers=CHALLENGE)


def holders(config: ApiKeyConfig, at: str) -> dict[bytes, Holder]:
    """Holders by the digest of their key. Raises `ConfigError` for a key that is there twice."""
    found: dict[bytes, Holder] = {}
    first: dict[bytes, int] = {}
    for index, key in enumerate(config.keys):
        if key.digest in found:
            raise ConfigError(f"keys[{index}] is the same key as keys[{first[key.digest]}]", path=f"{at}.keys[{index}]")
        first[key.digest] = index
        found[key.digest] = Holder(key.name(index), {**key.metadata, "key": "***"}, key.allowed_models)
    return found


def claims(exchange: Exchange) -> Mapping[str, Any]:
    """`apiKey` in expressions: the key's metadata; `apiKey.key` is there and says nothing."""
    return exchange.identities[KIND].claims
