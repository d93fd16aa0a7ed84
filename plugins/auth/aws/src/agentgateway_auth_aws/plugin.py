"""The credential `aws`."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from agentgateway.errors import InternalError
from agentgateway.exchange import Body, Exchange, Outgoing
from agentgateway.interfaces import Credential, Host
from agentgateway_auth_aws.chain import Chain, Roles
from agentgateway_auth_aws.config import AwsConfig
from agentgateway_auth_aws.keys import Fresh, Keys
from agentgateway_auth_aws.roles import Sessions
from agentgateway_auth_aws.signing import load, sign

REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
OTHERS = ("x-api-key", "x-goog-api-key", "api-key")
"""Where clients of model APIs have credentials: a signed call goes without the client's own."""


class AwsCredential(Credential):
    """Signs requests to AWS: with configured keys, with those of this machine, or as a role."""

    Config = AwsConfig
    signs: ClassVar[bool] = True

    def __init__(self, config: AwsConfig, host: Host) -> None:
        super().__init__(config, host)
        self._region = next(filter(None, map(host.environment, REGIONS)), None)
        chain = Chain()
        own = explicit(config)
        self._own = own
        self._found = Fresh(lambda: asyncio.to_thread(chain.keys))
        self._sessions: Sessions | None = None
        if (role := config.assume_role) is not None:
            tags = {key: host.expression(source) for key, source in role.tags.items()}
            region = config.region or self._region
            self._sessions = Sessions(role, Roles(chain, own, region), tags)

    async def apply(self, exchange: Exchange) -> None:
        """Raises `InternalError` when there is nothing to sign with, or for."""
        if exchange.outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        await self.sign(exchange.outgoing, exchange)

    async def sign(self, outgoing: Outgoing, exchange: Exchange) -> None:
        """Sign a request that is sent for the sake of that exchange. Raises as `apply` does."""
        service, region = self._scope(outgoing)
        keys = await self._keys(exchange)
        if isinstance(outgoing.body, Body):
            outgoing.body = await outgoing.body.read(self.host.body_limit)
        if outgoing.call is not None:
            for name in OTHERS:
                if name not in outgoing.pinned:
                    outgoing.headers.remove(name)
        sign(outgoing, outgoing.body, keys, service, region)

    async def _keys(self, exchange: Exchange) -> Keys:
        if self._sessions is not None:
            return await self._sessions.keys(exchange)
        return self._own or await self._found.keys()

    def _scope(self, outgoing: Outgoing) -> tuple[str, str]:
        """The service and its region: as configured, else as the provider says."""
        known, place = outgoing.scope or (None, None)
        service = self.config.service_name or known
        region = self.config.region or place or self._region
        if service is None or region is None:
            raise InternalError(detail=f"no {'serviceName' if service is None else 'region'} to sign for")
        return service, region

    async def start(self) -> None:
        await asyncio.to_thread(load)

    async def stop(self) -> None:
        await self._found.stop()
        if self._sessions is not None:
            await self._sessions.stop()


def explicit(config: AwsConfig) -> Keys | None:
    """The configured keys."""
    if config.access_key_id is None or config.secret_access_key is None:
        return None
    token = config.session_token.reveal() if config.session_token is not None else None
    return Keys(config.access_key_id.reveal(), config.secret_access_key.reveal(), token)
