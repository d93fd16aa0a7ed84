"""The policy `mcpAuthentication`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgateway_auth_jwt.config import JwtConfig

from agentgateway.errors import InvalidRequest, NotFound, Unauthenticated, UpstreamError
from agentgateway.exchange import Exchange, Principal, Reply, Request
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Policy
from agentgateway.locations import BEARER, Spot
from agentgateway.settings import FileInlineOrRemote, Secret
from agentgateway_mcp_oauth.adapters import adapter
from agentgateway_mcp_oauth.addresses import BEFORE, SERVER, Asked, asked, origin, own_origin
from agentgateway_mcp_oauth.brokering import Brokering
from agentgateway_mcp_oauth.challenge import Challenged, Challenges
from agentgateway_mcp_oauth.config import McpAuthenticationConfig, path_of
from agentgateway_mcp_oauth.discovery import Discovery, Pace
from agentgateway_mcp_oauth.documents import POSTING, READING, cors, document, of_resource, preflight, refused_method
from agentgateway_mcp_oauth.forwarding import Forwarding
from agentgateway_mcp_oauth.vault import Vault

if TYPE_CHECKING:
    import httpx

KIND = "jwt"


class McpAuthentication(Policy):
    """Asks for access tokens that are meant for this resource, and tells MCP clients where to get one."""

    Config = McpAuthenticationConfig

    def __init__(self, config: McpAuthenticationConfig, host: Host, pace: Pace | None = None) -> None:
        # Not at the top: PyJWT and cryptography take 100 ms, which only who has this policy pays.
        from agentgateway_auth_jwt.remote import Pace as KeysPace
        from agentgateway_auth_jwt.trust import Trust

        super().__init__(config, host)
        self._adapter = adapter(config)
        jwks = config.jwks or FileInlineOrRemote("", None, self._adapter.keys)
        trusted = JwtConfig(
            issuer=config.issuer,
            audiences=config.audiences,
            jwks=jwks,
            jwt_validation_options=config.jwt_validation_options,
        )
        self._trust = Trust(trusted, host.at, KeysPace())
        location = config.authorization_location
        self._spot: Spot = location.readable(host) if location is not None else BEARER
        self._required = config.mode == "strict"
        self._refuses = config.mode != "permissive"
        self._challenges = Challenges(config.resource_metadata)
        self._origin = origin(config.resource_metadata.resource) if config.resource_metadata.resource else ""
        self._path = path_of(config.resource_metadata.resource)
        self._http: httpx.AsyncClient | None = None
        self._discovery = Discovery(self._adapter.documents, self._adapter.issuer, self._client, pace or Pace())
        self._forwarding = Forwarding(config, self._adapter, self._discovery, self._client)
        self._brokering: Brokering | None = None
        if config.brokers_answers:
            vault, pass_on = Vault(host), self._forwarding.pass_on
            self._brokering = Brokering(config.issuer, self._adapter, self._discovery, vault, pass_on)

    async def start(self) -> None:
        if self.config.jwks is not None and self.config.jwks.file is not None:
            self.host.watch(self.config.jwks.file)
        self._http = self.host.client()
        await self._trust.start(self._client)

    async def stop(self) -> None:
        await self._discovery.stop()
        await self._trust.stop()

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = self.host.client()
        return self._http

    # --- what anybody may ask ---------------------------------------------------------------------------------------

    @hookimpl
    async def accept(self, exchange: Exchange) -> Reply | None:
        path = exchange.request.path
        if not path.startswith(BEFORE):
            return None
        wanted = asked(path, self._adapter.operations)
        if wanted is None:
            return None
        methods = POSTING if wanted.what in ("client-registration", "token") else READING
        method = exchange.request.method
        if method == "OPTIONS":
            return preflight(methods)
        if method not in methods:
            return refused_method(methods)
        try:
            return await self._answer(exchange, wanted)
        except (InvalidRequest, NotFound, UpstreamError) as error:
            error.headers = (*error.headers, *cors(methods))
            raise

    async def _answer(self, exchange: Exchange, wanted: Asked) -> Reply:
        if self._path and wanted.path not in ("", self._path):
            raise NotFound("this resource has another path")
        base = self._origin or own_origin(exchange.request)
        if not base:
            raise InvalidRequest("the request names no host")
        match wanted.what:
            case "resource":
                here = base + wanted.path
                server = here if self._adapter.renames else self.config.issuer
                return document(of_resource(self.config, here, server))
            case "server":
                metadata = await self._discovery.metadata()
                here, issuer = f"{base}{SERVER}{wanted.path}", base + wanted.path
                return document(self._adapter.rewritten(metadata, here, issuer))
            case "client-registration" if self._brokering is not None:
                here = base + wanted.path
                return await self._brokering.register(exchange.request, f"{base}{SERVER}{wanted.path}", here)
            case "client-registration":
                return await self._forwarding.register(exchange.request)
            case _:
                return await self._carried_out(exchange.request, wanted.what)

    async def _carried_out(self, request: Request, operation: str) -> Reply:
        """What is done in the provider's place."""
        if self._brokering is not None and operation == "callback":
            return await self._brokering.callback(request)
        doing = self._brokering if self._brokering is not None else self._forwarding
        return await (doing.authorize(request) if operation == "authorize" else doing.token(request))

    # --- who is asking ----------------------------------------------------------------------------------------------

    @hookimpl
    def authn(self, exchange: Exchange) -> None:
        request = exchange.request
        if KIND in exchange.identities:
            raise self._challenges.consumed(request)
        token = self._spot.extract(exchange)
        if token is None:
            if self._required:
                raise self._challenges.missing(request)
            return
        self._spot.remove(exchange)  # whatever becomes of it: it goes no further, and no log shows it
        try:
            verified = self._trust.check(token)
        except Unauthenticated as error:
            if not self._refuses:
                return
            if error.status != 401:
                raise
            raise self._challenges.invalid(request, error.detail) from None
        exchange.establish(Principal(KIND, verified.subject, verified.claims, None, Secret(token)))

    @hookimpl
    def post_response(self, exchange: Exchange) -> None:
        if isinstance(exchange.error, Challenged) and exchange.reply is not None:
            exchange.error.write(exchange.reply)
