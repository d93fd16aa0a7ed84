"""What the gateway passes on to an identity provider, unauthenticated: registrations, authorization and token requests.

Only to endpoints that the provider's own metadata names, at the provider's own origin, and only so many at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlencode

from pydantic_core import from_json

from agentgateway.errors import NotFound
from agentgateway.exchange import Reply, Request
from agentgateway_mcp_oauth.adapters import Adapter
from agentgateway_mcp_oauth.config import McpAuthenticationConfig
from agentgateway_mcp_oauth.discovery import Discovery
from agentgateway_mcp_oauth.documents import answer
from agentgateway_mcp_oauth.outbound import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

LONGEST = 64 * 1024
"""Bytes of a request's body, and of a query."""
FIELDS = 64
"""Parameters of a form."""
AT_ONCE = 32
"""Requests that are passed on at the same time."""
FORM = "application/x-www-form-urlencoded"
LENT_TO = ("authorization_code", "refresh_token")
"""Grants that act for a user who has logged in. Anything else would let any caller act as the client itself."""
OWN_PROOF = frozenset(("client_secret", "client_assertion"))


class Forwarding:
    """What one policy passes on."""

    def __init__(
        self,
        config: McpAuthenticationConfig,
        adapter: Adapter,
        discovery: Discovery,
        client: Callable[[], httpx.AsyncClient],
    ) -> None:
        self._config = config
        self._adapter = adapter
        self._discovery = discovery
        self._client = client
        self._under_way = 0

    async def register(self, request: Request) -> Reply:
        """Dynamic client registration (RFC 7591): the configured client, or the provider's answer."""
        document = object_in(await request.body.read(LONGEST))
        if document is None:
            return wrong("invalid_client_metadata", "expected a JSON object")
        if self._config.client_id is not None:
            return answer(201, registered(self._config.client_id, document))
        url = self._adapter.registration(await self._discovery.metadata())
        if url is None:
            raise NotFound("no client can be registered here")
        body = Reply.json(200, document).body
        assert isinstance(body, bytes)
        return await self.pass_on(url, body, {"content-type": "application/json"})

    async def authorize(self, request: Request) -> Reply:
        """Send the user's browser on to the provider, with the parameters that it understands."""
        url = self._adapter.authorization(await self._discovery.metadata())
        if url is None:
            raise NotFound("there is no authorization endpoint here")
        if len(request.query) > LONGEST:
            return wrong("invalid_request", "the query is too long")
        reply = Reply(302)
        location = url + ("&" if "?" in url else "?") + self._parameters(request.query)
        reply.headers.update((("location", location.rstrip("?&")), ("cache-control", "no-store")))
        return reply

    def _parameters(self, query: str) -> str:
        """The query, its escapes as they came."""
        audience = self._adapter.audience
        unwanted = "resource" if audience is None else "audience"
        kept = [part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) != unwanted]
        if audience is not None:
            kept.append(f"audience={quote(audience, safe='')}")
        return quote("&".join(kept), safe="%&=+-._~!$'()*,;:@/?")

    async def token(self, request: Request) -> Reply:
        """A token request, without `resource`, and with the configured client's secret where that may be lent."""
        if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != FORM:
            return wrong("invalid_request", f"expected {FORM}")
        form = form_in(await request.body.read(LONGEST))
        if form is None:
            return wrong("invalid_request", "a parameter is there twice, or there are too many")
        url = self._adapter.token(await self._discovery.metadata())
        if url is None:
            raise NotFound("there is no token endpoint here")
        form.pop("resource", None)
        headers = {"content-type": FORM}
        own = request.headers.get("authorization")
        if own is not None and own[:6].lower() == "basic ":
            headers["authorization"] = own
        elif own is None:
            self._lend(form)
        return await self.pass_on(url, urlencode(form).encode(), headers)

    def _lend(self, form: dict[str, str]) -> None:
        secret, grant = self._config.client_secret, form.get("grant_type")
        if secret is None or grant not in LENT_TO or form.get("client_id") != self._config.client_id:
            return
        if not OWN_PROOF & form.keys() and (grant == "refresh_token" or form.get("code_verifier")):
            form["client_secret"] = secret.reveal()

    async def pass_on(self, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        if self._under_way >= AT_ONCE:
            return answer(503, {"error": "temporarily_unavailable"}, (("retry-after", "1"),))
        self._under_way += 1
        try:
            said = await ask(self._client(), "POST", url, body=body, headers=headers)
        finally:
            self._under_way -= 1
        return answer(said.status, said.document, said.headers)


def registered(client_id: str, asked_for: dict[str, Any]) -> dict[str, Any]:
    """The answer to a registration that gives a client which exists already (RFC 7591 section 3.2.1)."""
    wanted = asked_for.get("redirect_uris")
    return {
        "client_id": client_id,
        "client_id_issued_at": 0,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": [uri for uri in wanted if isinstance(uri, str)] if isinstance(wanted, list) else [],
    }


def object_in(body: bytes) -> dict[str, Any] | None:
    try:
        document = from_json(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def form_in(body: bytes) -> dict[str, str] | None:
    """The parameters, each there once but `resource` (RFC 6749 section 3.2, RFC 8707 section 2)."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
    except ValueError:
        return None
    kept = [pair for pair in pairs if pair[0] != "resource"]
    form = dict(kept)
    return form if len(form) == len(kept) else None


def wrong(error: str, description: str) -> Reply:
    return answer(400, {"error": error, "error_description": description})
