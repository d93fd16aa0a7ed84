"""The kind `passthrough`: the caller's own credential, which an authenticator took out of the request."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from agentgateway.errors import InternalError
from agentgateway.exchange import Exchange
from agentgateway.interfaces import Credential, Host
from agentgateway.locations import BEARER, WritableLocation
from agentgateway.settings import PluginConfig, Secret


class PassthroughConfig(PluginConfig):
    """Show the upstream the credential that the caller was recognised by."""

    location: WritableLocation | None = None
    """Where to put it. Left out: `Authorization: Bearer`."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_say(cls, given: Any) -> Any:
        return {} if given is None else given


class PassthroughCredential(Credential):
    """Puts back the credential that was validated and removed: a JSON Web Token, else an API key."""

    Config = PassthroughConfig

    def __init__(self, config: PassthroughConfig, host: Host) -> None:
        super().__init__(config, host)
        self._spot = config.location.spot() if config.location is not None else BEARER
        self._pinned = config.location is not None

    def apply(self, exchange: Exchange) -> None:
        if exchange.outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        credential = presented(exchange)
        if credential is not None:
            self._spot.attach(exchange.outgoing, credential, pinned=self._pinned)


def presented(exchange: Exchange) -> Secret | None:
    """What the caller was recognised by: the token if there was one, else the last that was established."""
    token = exchange.identities.get("jwt")
    for principal in (token, exchange.principal, *exchange.identities.values()):
        if principal is not None and principal.credential is not None:
            return principal.credential
    return None
