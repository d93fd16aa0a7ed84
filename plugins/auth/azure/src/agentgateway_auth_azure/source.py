"""Where tokens come from: azure-identity knows where to look and whom to ask. It waits on files, processes and the
network, so all of this is for threads."""

from __future__ import annotations

import logging
from threading import Lock
from typing import Any

from agentgateway.errors import InternalError
from agentgateway.tokens import Token
from agentgateway_auth_azure.config import AzureConfig, ManagedIdentity

PATIENCE: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 10, "retry_total": 1}


def quiet() -> None:
    """Keep the SDK from telling a log at level `debug` what it sends to the login, and what that answers."""
    for name in ("azure", "msal"):
        logging.getLogger(name).setLevel(logging.INFO)


class Source:
    """A credential of azure-identity, made on first use."""

    def __init__(self, config: AzureConfig) -> None:
        self._config = config
        self._credential: Any = None
        self._lock = Lock()

    def token(self, scopes: tuple[str, ...]) -> Token:
        """Raises `InternalError`, which quotes nothing."""
        from azure.core.exceptions import AzureError

        try:
            found = self._made().get_token(*scopes)
        except (AzureError, OSError, ValueError) as error:
            raise InternalError(detail=f"no Azure token: {type(error).__name__}") from None
        return Token(found.token, float(found.expires_on))

    def close(self) -> None:
        with self._lock:
            if self._credential is not None:
                self._credential.close()

    def _made(self) -> Any:
        with self._lock:
            if self._credential is None:
                quiet()
                self._credential = made(self._config)
            return self._credential


def made(config: AzureConfig) -> Any:
    """Raises `ValueError` for what azure-identity refuses."""
    from azure import identity

    login: dict[str, Any] = dict(PATIENCE)
    if config.authority_host is not None:
        login |= {"authority": config.authority_host, "disable_instance_discovery": True}
    named = config.named
    if (secret := named.client_secret) is not None:
        return identity.ClientSecretCredential(
            secret.tenant_id, secret.client_id, secret.client_secret.reveal(), **login
        )
    if named.managed_identity is not None:
        return identity.ManagedIdentityCredential(**whose(named.managed_identity), **PATIENCE)
    if named.workload_identity is not None:
        return identity.WorkloadIdentityCredential(**login)
    if config.developer_implicit is not None:
        return identity.AzureCliCredential()
    return identity.DefaultAzureCredential(**PATIENCE)


def whose(config: ManagedIdentity) -> dict[str, Any]:
    own = config.user_assigned_identity
    if own is None:
        return {}
    if own.client_id is not None:
        return {"client_id": own.client_id}
    return {"identity_config": {"object_id": own.object_id} if own.object_id else {"resource_id": own.resource_id}}
