"""The policy `backendAuth`: runs a credential on each request that goes upstream."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Credential, Host, Participant, Policy
from agentgateway_auth_backend.config import BackendAuthConfig
from agentgateway_auth_backend.key import KeyConfig, KeyCredential


class BackendAuth(Policy):
    """Shows the upstream a credential: a key of the gateway's own, the caller's, or what another plugin obtains."""

    Config = BackendAuthConfig
    phases = ("upstream",)
    levels = frozenset({"gateway", "route", "backend"})

    def __init__(self, config: BackendAuthConfig, host: Host) -> None:
        super().__init__(config, host)
        self._credentials: list[Credential] = []
        if config.kind is not None:
            built = host.build("agentgateway.credentials", config.kind, config.of_kind(), config.kind)
            self._credentials.append(built)
        for more in config.credentials or ():
            self._credentials.append(KeyCredential(KeyConfig(value=more.key, location=more.location), host))

    def participants(self) -> Iterable[Participant]:
        for credential in self._credentials:
            hooks = Awaited(credential) if inspect.iscoroutinefunction(credential.apply) else Applied(credential)
            yield Participant(hooks, "backendAuth.signing" if credential.signs else "backendAuth")

    async def start(self) -> None:
        for credential in self._credentials:
            await credential.start()

    async def stop(self) -> None:
        for credential in reversed(self._credentials):
            await credential.stop()


class Applied:
    """A credential that is there at once. What it returns goes to the pipeline, which accepts None only."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._apply = credential.apply

    @hookimpl
    def upstream(self, exchange: Exchange) -> Any:
        apply = self._apply
        return apply(exchange)


class Awaited:
    """A credential that may have to be fetched first."""

    def __init__(self, credential: Credential) -> None:
        self._credential: Any = credential

    @hookimpl
    async def upstream(self, exchange: Exchange) -> None:
        await self._credential.apply(exchange)
