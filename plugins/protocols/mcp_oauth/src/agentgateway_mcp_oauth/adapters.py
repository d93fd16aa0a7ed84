"""What each kind of identity provider does differently from what MCP clients expect, and what makes up for it.

==========  ===================================  ==========================  =====================================
kind        its metadata                         registration                authorization and token requests
==========  ===================================  ==========================  =====================================
(none)      RFC 8414, else OpenID discovery      as it says                  as it says
auth0       RFC 8414, else OpenID discovery      as it says                  the gateway adds `audience`
okta        OpenID discovery, else RFC 8414      passed on: no CORS there    the gateway adds `audience`
keycloak    OpenID discovery, else RFC 8414      passed on: no CORS there    as it says
descope     OpenID discovery, else RFC 8414      passed on: no CORS there    as it says
authentik   OpenID discovery, else RFC 8414      `clientId` only             as it says
entra       OpenID discovery of v2.0             `clientId` only             passed on without `resource`
==========  ===================================  ==========================  =====================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agentgateway_mcp_oauth.addresses import SERVER, Operation, belongs, origin
from agentgateway_mcp_oauth.config import McpAuthenticationConfig

OPENID = "/.well-known/openid-configuration"
V1_ENTRA = "https://sts.windows.net"
"""Issues Entra's tokens of version 1; everything else of theirs is where those of version 2 are."""
RENAMED_ISSUER = ("signed_metadata", "authorization_response_iss_parameter_supported")
"""Members that vouch for the issuer's real name (RFC 8414 section 2.1, RFC 9207), which clients do not see."""
AROUND_THE_GATEWAY = (
    *("client_id_metadata_document_supported", "pushed_authorization_request_endpoint"),
    *("require_pushed_authorization_requests", "response_modes_supported", "request_parameter_supported"),
)
"""Members for clients that the gateway does not know, or for requests that it does not see."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """How to get along with an identity provider.

    `documents` are the URLs at which its metadata may stand, `issuer` what must be said there (None: anything), `keys`
    its key set; `renames` says that clients take the gateway for the authorization server; `operations` are those that
    the gateway carries out in its place; `audience` is what it asks tokens to be for; `registered` says that there is a
    client that it answers registrations with.
    """

    documents: tuple[str, ...]
    keys: str
    issuer: str | None = None
    renames: bool = False
    operations: frozenset[Operation] = frozenset()
    audience: str | None = None
    registered: bool = False

    @property
    def home(self) -> str:
        """The origin of everything that the gateway sends anybody to."""
        return origin(self.documents[0])

    def rewritten(self, metadata: dict[str, Any], address: str, issuer: str) -> dict[str, Any]:
        """The metadata as clients get it. `address` is that of the document at the gateway, `issuer` the gateway's
        name there."""
        if not self.renames:
            return metadata
        document = {name: value for name, value in metadata.items() if name not in RENAMED_ISSUER}
        document["issuer"] = issuer
        if "authorize" in self.operations:
            document["authorization_endpoint"] = f"{address}/authorize"
        if "token" in self.operations:
            document["token_endpoint"] = f"{address}/token"
            document.setdefault("code_challenge_methods_supported", ["S256"])  # Entra has it, and does not say so
        if self.registered or self.registration(metadata) is not None:
            document["registration_endpoint"] = f"{address}/client-registration"
        if "callback" in self.operations:
            document = {name: value for name, value in document.items() if name not in AROUND_THE_GATEWAY}
            document["authorization_response_iss_parameter_supported"] = True
        return document

    def registration(self, metadata: dict[str, Any]) -> str | None:
        """Where registrations are passed on to, if they are."""
        passed_on = "client-registration" in self.operations and not self.registered
        return self._endpoint(metadata, "registration_endpoint") if passed_on else None

    def authorization(self, metadata: dict[str, Any]) -> str | None:
        """Where authorization requests are sent on to, if they are."""
        return self._endpoint(metadata, "authorization_endpoint") if "authorize" in self.operations else None

    def token(self, metadata: dict[str, Any]) -> str | None:
        """Where token requests are passed on to, if they are."""
        return self._endpoint(metadata, "token_endpoint") if "token" in self.operations else None

    def _endpoint(self, metadata: dict[str, Any], name: str) -> str | None:
        url = metadata.get(name)
        return url if isinstance(url, str) and belongs(url, self.home) else None


def adapter(config: McpAuthenticationConfig) -> Adapter:
    """The adapter of a configuration."""
    if config.provider is None:
        return Adapter(
            documents_of(config.issuer),
            f"{config.issuer.rstrip('/')}/.well-known/jwks.json",
            config.issuer,
            operations=_operations(config),
            registered=config.client_id is not None,
        )
    return KINDS[config.provider.name](config)


def _auth0(config: McpAuthenticationConfig) -> Adapter:
    issuer = config.issuer
    return Adapter(
        documents_of(issuer),
        f"{issuer.rstrip('/')}/.well-known/jwks.json",
        issuer,
        renames=True,
        operations=_operations(config, "authorize"),
        audience=config.audiences[0],
        registered=config.client_id is not None,
    )


def _okta(config: McpAuthenticationConfig) -> Adapter:
    keys = f"{config.issuer.rstrip('/')}/v1/keys"
    operations = _operations(config, "authorize", "client-registration")
    return _discovered(config, keys, operations, audience=config.audiences[0])


def _keycloak(config: McpAuthenticationConfig) -> Adapter:
    keys = f"{config.issuer.rstrip('/')}/protocol/openid-connect/certs"
    return _discovered(config, keys, _operations(config, "client-registration"))


def _descope(config: McpAuthenticationConfig) -> Adapter:
    issuer = config.issuer.rstrip("/")
    match urlsplit(issuer).path.split("/"):
        case ["", "v1", "apps", "agentic", project, *_]:
            keys = f"{origin(issuer)}/{project}/.well-known/jwks.json"
        case _:
            keys = f"{issuer}/.well-known/jwks.json"
    return _discovered(config, keys, _operations(config, "client-registration"))


def _authentik(config: McpAuthenticationConfig) -> Adapter:
    return _discovered(config, f"{config.issuer.rstrip('/')}/jwks/", _operations(config))


def _entra(config: McpAuthenticationConfig) -> Adapter:
    home = origin(config.issuer)
    home = "https://login.microsoftonline.com" if home == V1_ENTRA else home
    tenant = f"{home}/{urlsplit(config.issuer).path.strip('/').partition('/')[0]}"
    return Adapter(
        (f"{tenant}/v2.0{OPENID}",),
        f"{tenant}/discovery/v2.0/keys",
        renames=True,
        operations=_operations(config, "authorize", "token"),
        registered=config.client_id is not None,
    )


def _discovered(
    config: McpAuthenticationConfig, keys: str, operations: frozenset[Operation], audience: str | None = None
) -> Adapter:
    documents = documents_of(config.issuer)[::-1]
    registered = config.client_id is not None
    return Adapter(documents, keys, config.issuer, True, operations, audience, registered)


def _operations(config: McpAuthenticationConfig, *own: Operation) -> frozenset[Operation]:
    """Those of the kind; with a client of its own the gateway answers registrations in any case."""
    if config.brokers_answers:
        return frozenset((*own, "client-registration", "authorize", "token", "callback"))
    return frozenset((*own, "client-registration")) if config.client_id is not None else frozenset(own)


def documents_of(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may stand: RFC 8414 section 3.1, OpenID Connect Discovery 1.0 section 4."""
    between = origin(issuer) + SERVER + urlsplit(issuer).path.rstrip("/")
    return (between, issuer.rstrip("/") + OPENID)


KINDS: dict[str, Callable[[McpAuthenticationConfig], Adapter]] = {
    "auth0": _auth0,
    "okta": _okta,
    "keycloak": _keycloak,
    "descope": _descope,
    "authentik": _authentik,
    "entra": _entra,
}
