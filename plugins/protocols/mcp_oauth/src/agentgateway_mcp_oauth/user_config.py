"""The configuration of `authorizationCode`, a kind of `login` of MCP targets."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from agentgateway.settings import PluginConfig, Secret, problem
from agentgateway_mcp_oauth.addresses import trustworthy
from agentgateway_mcp_oauth.config import issuer_url, resource_url


def trusted_url(url: str) -> str:
    if not trustworthy(resource_url(url)):
        raise problem("a public URL must be https, or http on this machine", "users come back to it with their logins")
    return url.rstrip("/")


def document_url(url: str) -> str:
    if not resource_url(url).startswith("https://") or urlsplit(url).path in ("", "/"):
        raise problem("expected an https URL with a path", "it is the client's id at authorization servers")
    return url


class AuthorizationCodeConfig(PluginConfig):
    """Each user logs in to the server in a browser (OAuth 2.1, authorization code with PKCE)."""

    public_url: Annotated[str, AfterValidator(trusted_url)] | None = None
    """The URL of this MCP endpoint as browsers see it; the pages of the login are below it. Left out: as clients ask
    for it, where that is on their own machine."""
    issuer: Annotated[str, AfterValidator(issuer_url)] | None = None
    """The authorization server that may be used, and no other. Left out: the one that the server names."""
    client_id: Annotated[str, Field(pattern="^[ -~]+$")] | None = None
    """The gateway's own name at `issuer`, where it is registered already. Left out: it registers itself."""
    client_secret: Secret | None = None
    """The secret of that client, if it has one, inline or as `{file: …}`."""
    client_auth: Literal["basic", "post"] | None = None
    """How the secret is shown: in a header, or in the form. Left out: as the authorization server has it."""
    client_metadata_url: Annotated[str, AfterValidator(document_url)] | None = None
    """Where the gateway's client ID metadata document is. Left out: below `publicUrl`, where that is https."""
    client_name: str = "agentgateway"
    """What users are told that they let in."""
    scopes: tuple[str, ...] | None = None
    """What is asked for at the first login. Left out: what the server says."""
    anonymous: Literal["refuse", "share"] = "refuse"
    """What happens to clients that have not shown who they are: they are refused, or they all are one user."""

    @model_validator(mode="after")
    def _known_somewhere(self) -> Self:
        if self.client_id is not None and self.issuer is None:
            raise problem("`clientId` needs `issuer`", "a client is known to one authorization server, and to no other")
        if self.client_id is None and (self.client_secret is not None or self.client_auth is not None):
            raise problem("`clientSecret` and `clientAuth` need `clientId`")
        return self
