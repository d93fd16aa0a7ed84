"""The configuration of `azure`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from agentgateway.settings import PluginConfig, Secret, problem

ID = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$"


class ClientSecret(PluginConfig):
    """A service principal that shows a secret."""

    tenant_id: str = Field(pattern=ID)
    """The directory's id or domain."""
    client_id: str = Field(pattern=ID)
    """The application's id."""
    client_secret: Secret
    """Its secret."""


class UserAssignedIdentity(PluginConfig):
    """Which of a machine's identities; exactly one of the three."""

    client_id: str | None = Field(None, pattern=ID)
    """By its application's id."""
    object_id: str | None = Field(None, pattern=ID)
    """By its principal's id."""
    resource_id: str | None = Field(None, pattern=r"^/subscriptions/\S{1,500}$")
    """By its resource's id."""

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if sum(value is not None for value in (self.client_id, self.object_id, self.resource_id)) != 1:
            raise problem("expected exactly one of clientId, objectId, resourceId")
        return self


class ManagedIdentity(PluginConfig):
    """The identity of the machine, container or function that this runs on."""

    user_assigned_identity: UserAssignedIdentity | None = None
    """A user-assigned one; the system-assigned one when absent."""


class Nothing(PluginConfig):
    """There is nothing to say: `{}`."""


class Sources(PluginConfig):
    """One credential by name."""

    client_secret: ClientSecret | None = None
    """A service principal's secret."""
    managed_identity: ManagedIdentity | None = None
    """The machine's own identity."""
    workload_identity: Nothing | None = None
    """A Kubernetes service account, as `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE` say."""


class AzureConfig(Sources):
    """A token of Microsoft Entra ID; without a source it is looked for as Azure's own tools do."""

    explicit_config: Sources | None = None
    """The same sources, as the reference nests them."""
    developer_implicit: Nothing | None = None
    """Who is logged in to the Azure CLI on this machine."""
    implicit: Nothing | None = None
    """Whatever Azure's own tools find: environment, workload, machine, developer."""
    scopes: list[str] = Field([], max_length=8)
    """What the token is for; the provider's own, else `https://cognitiveservices.azure.com/.default`, when absent."""
    authority_host: str | None = Field(None, pattern=r"^https://[\w.\-]+(:\d{1,5})?$")
    """Another cloud's login (`https://login.microsoftonline.us`), for a service principal or a workload; the others go
    by `AZURE_AUTHORITY_HOST`."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_say(cls, given: Any) -> Any:
        return {} if given is None else given

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [self.named.client_secret, self.named.managed_identity, self.named.workload_identity]
        above = [self.client_secret, self.managed_identity, self.workload_identity] if self.explicit_config else []
        given = [*named, *above, self.developer_implicit, self.implicit]
        if sum(source is not None for source in given) > 1:
            raise problem("expected one source of credentials")
        if self.explicit_config is not None and not any(source is not None for source in named):
            raise problem("expected one of clientSecret, managedIdentity, workloadIdentity in `explicitConfig`")
        logs_in = self.named.client_secret is not None or self.named.workload_identity is not None
        if self.authority_host is not None and not logs_in:
            raise problem("`authorityHost` belongs to clientSecret or workloadIdentity")
        return self

    @property
    def named(self) -> Sources:
        return self.explicit_config or self
