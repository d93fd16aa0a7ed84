"""Tokens that the gateway asks for in its own name: client credentials (RFC 6749 section 4.4), token exchange
(RFC 8693), for one resource (RFC 8707)."""

from __future__ import annotations

import time
from base64 import b64encode
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field

from agentgateway.settings import PluginConfig, Secret
from agentgateway.tokens import Token
from agentgateway_mcp_oauth.addresses import origin, trustworthy
from agentgateway_mcp_oauth.config import issuer_url, resource_url
from agentgateway_mcp_oauth.forwarding import FORM
from agentgateway_mcp_oauth.outbound import ProviderFailed, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from agentgateway_mcp_oauth.discovery import Discovery

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
UNSAID = 300.0
"""Seconds that a token serves when its issuer does not say how long it lives."""
LONGEST = 86_400.0
"""Seconds that a token serves at most, whatever its issuer says."""


class McpOAuthConfig(PluginConfig):
    """Log in at an authorization server, and show the upstream the token that it gives."""

    issuer: Annotated[str, AfterValidator(issuer_url)]
    """The authorization server's URL. The client is known there, and its secret goes nowhere else."""
    client_id: Annotated[str, Field(pattern="^[ -~]+$")]
    """The gateway's own name there."""
    client_secret: Secret
    """Its secret, inline or as `{file: …}`."""
    client_auth: Literal["basic", "post"] = "basic"
    """How the secret is shown: `basic` in a header, `post` in the form."""
    grant: Literal["clientCredentials", "tokenExchange"] = "clientCredentials"
    """`clientCredentials`: the gateway asks for itself. `tokenExchange`: it shows the caller's token, and gets one for
    the upstream in the caller's name."""
    scopes: tuple[str, ...] = ()
    """What is asked for."""
    resource: Annotated[str, AfterValidator(resource_url)] | None = None
    """What the token is for. Left out: the upstream's URL without a path, unless `audience` is given."""
    audience: str | None = None
    """The same for servers that do not know `resource`."""


class Grants:
    """Asks one authorization server for tokens."""

    def __init__(self, config: McpOAuthConfig, discovery: Discovery, client: Callable[[], httpx.AsyncClient]) -> None:
        self._config = config
        self._discovery = discovery
        self._client = client

    async def token(self, resource: str | None, subject: Secret | None) -> Token:
        """A token for that resource, in the name of whom the subject's token is for. Raises `ProviderFailed`."""
        endpoint = _endpoint(await self._discovery.metadata())
        form, headers = self._request(resource, subject)
        answer = await ask(self._client(), "POST", endpoint, body=urlencode(form).encode(), headers=headers)
        if answer.status != 200:
            raise ProviderFailed(detail=f"status {answer.status} from the token endpoint")
        return _token(answer.document)

    def _request(self, resource: str | None, subject: Secret | None) -> tuple[dict[str, str], dict[str, str]]:
        config = self._config
        form = {"grant_type": "client_credentials"}
        if subject is not None:
            form = {"grant_type": EXCHANGE, "subject_token": subject.reveal(), "subject_token_type": ACCESS_TOKEN}
        given = {"scope": " ".join(config.scopes), "resource": resource, "audience": config.audience}
        form.update({name: value for name, value in given.items() if value})
        headers = {"content-type": FORM}
        if config.client_auth == "basic":
            pair = f"{quote(config.client_id, safe='')}:{quote(config.client_secret.reveal(), safe='')}"
            headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": config.client_id, "client_secret": config.client_secret.reveal()}
        return form, headers


def _endpoint(metadata: dict[str, Any]) -> str:
    """The token endpoint; some vendors have it on another host than their name."""
    url = str(metadata.get("token_endpoint"))
    try:
        origin(url)
    except ValueError:
        url = ""
    if not trustworthy(url):
        raise ProviderFailed(detail="the token endpoint is not https")
    return url


def _token(document: dict[str, Any]) -> Token:
    value = document.get("access_token")
    if not isinstance(value, str) or not value or str(document.get("token_type", "")).lower() not in ("bearer", "n_a"):
        raise ProviderFailed(detail="the token endpoint gave no bearer token")
    return Token(value, time.time() + lifetime(document.get("expires_in")))


def lifetime(said: object) -> float:
    """Seconds; some vendors write them as text."""
    if not isinstance(said, int | float | str) or isinstance(said, bool):
        return UNSAID
    try:
        seconds = float(said)
    except (ValueError, OverflowError):
        return UNSAID
    return min(max(seconds, 0.0), LONGEST) if isfinite(seconds) else UNSAID
