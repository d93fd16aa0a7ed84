"""The configuration of `mcpAuthentication`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from agentgateway_auth_jwt.config import Audiences, ValidationOptions
from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from agentgateway.locations import Location
from agentgateway.settings import FileInlineOrRemote, PluginConfig, Secret, problem
from agentgateway_mcp_oauth.addresses import origin, trustworthy

SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 section 3.3


def issuer_url(url: str) -> str:
    try:
        origin(url)
    except ValueError:
        raise problem("not an issuer: expected an https URL") from None
    if not trustworthy(url):
        raise problem("an issuer must be https, or http on this machine", "keys and endpoints come from there")
    if "?" in url or "#" in url:
        raise problem("an issuer has neither query nor fragment", "RFC 8414 section 2")
    return url


def resource_url(url: str) -> str:
    try:
        origin(url)
    except ValueError:
        raise problem("not a resource: expected an http or https URL") from None
    if "?" in url or "#" in url:
        raise problem("a resource has neither query nor fragment here", "RFC 9728 section 1.2")
    return url


def path_of(resource: str | None) -> str:
    """The path of a resource's URL; empty for the root, and where there is none."""
    path = urlsplit(resource or "").path
    return "" if path == "/" else path


class Nothing(PluginConfig):
    """Nothing to say."""


class Provider(PluginConfig):
    """The kind of identity provider, whose ways the gateway makes up for: exactly one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    auth0: Nothing | None = None
    """Auth0: the audience is added to authorization requests."""
    okta: Nothing | None = None
    """Okta: the audience is added to authorization requests; registrations are passed on."""
    keycloak: Nothing | None = None
    """Keycloak: registrations are passed on."""
    descope: Nothing | None = None
    """Descope: registrations are passed on."""
    authentik: Nothing | None = None
    """authentik: registers nobody itself; set `clientId`."""
    entra: Nothing | None = None
    """Microsoft Entra ID: authorization and token requests are passed on without `resource`; registers nobody itself;
    set `clientId`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        names = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(names) != 1:
            raise problem("expected exactly one of " + ", ".join(map(to_camel, type(self).model_fields)))
        return self

    @property
    def name(self) -> str:
        """The one that is given."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


class ResourceMetadata(PluginConfig):
    """What the resource says of itself (RFC 9728 section 2). Any other member may stand here, too, in camel case."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Any] = Field(init=False)

    resource: Annotated[str, AfterValidator(resource_url)] | None = None
    """The URL of the MCP endpoint, as clients see it. Left out: the URL that was asked for."""
    authorization_servers: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Where to get tokens. Left out: the issuer, or with `provider` the gateway."""
    scopes_supported: tuple[str, ...] | None = None
    """Scopes that clients should ask for; they also stand in challenges."""

    @field_validator("scopes_supported")
    @classmethod
    def _are_scopes(cls, scopes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if not all(SCOPE.fullmatch(scope) for scope in scopes or ()):
            raise problem("a scope has no blanks, quotes, backslashes or control characters", "RFC 6749 section 3.3")
        return scopes

    def others(self) -> dict[str, Any]:
        """The other members, as RFC 9728 spells them: `resourcePolicyUri` is `resource_policy_uri`."""
        given = (self.__pydantic_extra__ or {}).items()
        return {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower(): value for key, value in given}


class McpAuthenticationConfig(PluginConfig):
    """Ask MCP clients for an access token, and tell them where to get one."""

    issuer: Annotated[str, AfterValidator(issuer_url)]
    """What `iss` must say, letter for letter; the authorization server's URL."""
    audiences: Audiences
    """What `aud` must name one of (RFC 8707): a token for somebody else is refused."""
    provider: Provider | None = None
    """The kind of identity provider, where clients cannot use it as it is."""
    resource_metadata: ResourceMetadata = ResourceMetadata()
    """What the resource says of itself."""
    jwks: FileInlineOrRemote | None = None
    """The issuer's keys: inline, `{file: …}`, or `{url: …}`. Left out: where the kind of provider keeps them."""
    mode: Literal["strict", "optional", "permissive"] = "strict"
    """`strict`: there must be a valid token. `optional`: there may be one, which must be valid. `permissive`: anybody
    may pass; a valid token says who it is."""
    authorization_location: Location | None = None
    """Where clients put the token. Left out: `Authorization: Bearer`."""
    jwt_validation_options: ValidationOptions = ValidationOptions()
    """What a token must have."""
    client_id: Annotated[str, Field(pattern="^[ -~]+$")] | None = None
    """A client that is registered already: whoever asks to be registered gets it."""
    client_secret: Secret | None = None
    """The secret of that client, for `entra`: added to its token requests."""
    brokers_answers: bool = False
    """Whether answers to authorization requests come back by the gateway, which names itself in them (RFC 9207): for
    `okta`, `keycloak` and `descope` where they name themselves, and for clients that register here."""

    @model_validator(mode="after")
    def _fits_the_provider(self) -> Self:
        entra = self.provider is not None and self.provider.entra is not None
        if self.client_secret is not None and not (entra and self.client_id):
            raise problem("`clientSecret` is of use only with `clientId` and provider `entra`")
        passed_on = self.provider is not None and self.provider.name in ("okta", "keycloak", "descope")
        if self.brokers_answers and (not passed_on or self.client_id or not self.resource_metadata.resource):
            raise problem("`brokersAnswers` needs `okta`, `keycloak` or `descope`, a `resource`, and no `clientId`")
        if entra and not urlsplit(self.issuer).path.strip("/"):
            raise problem("the issuer of `entra` has a tenant in its path")
        return self
