"""What there is to know of a protected server: its resource (RFC 9728), its authorization server (RFC 8414, OpenID
Connect Discovery), and what stands in for both at servers of 2025-03-26."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from agentgateway_mcp_oauth.addresses import RESOURCE, SERVER, origin
from agentgateway_mcp_oauth.config import SCOPE
from agentgateway_mcp_oauth.demand import Demand
from agentgateway_mcp_oauth.outbound import ProviderFailed, ask
from agentgateway_mcp_oauth.reach import Reach

if TYPE_CHECKING:
    import httpx

OPENID = "/.well-known/openid-configuration"
MOST = 256
"""Scopes of a list that are looked at."""


@dataclass(frozen=True, slots=True)
class Protected:
    """A server, and where tokens for it are to be had. `issuer` is spelled as the authorization server spells it;
    `promises_iss` says that its answers to authorization requests name it (RFC 9207)."""

    resource: str
    issuer: str
    authorization: str
    token: str
    registration: str | None = None
    scopes: tuple[str, ...] | None = None
    server_scopes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    takes_documents: bool = False
    promises_iss: bool = False

    def told(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        kept: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in document.items()}
        return cls(**kept)


class Seeker:
    """Finds out about one server. `issuer` is the only authorization server that the operator lets it use."""

    def __init__(self, server: str, issuer: str | None, client: Callable[[], httpx.AsyncClient]) -> None:
        parts = urlsplit(server)
        self._home, self._path = origin(server), parts.path.rstrip("/")
        self._server = self._home + self._path
        self._issuer = issuer
        self._client = client
        self._reach = Reach(server, issuer)

    async def find(self, demand: Demand) -> Protected:
        """Raises `ProviderFailed` when nobody can log in."""
        about = await self._resource(demand.metadata)
        if about is None:
            return await self._old()
        resource = self._own(about.get("resource"))
        server = self._chosen(about.get("authorization_servers"))
        metadata = await self._metadata(documents_of(server))
        if metadata is None:
            raise ProviderFailed(detail="the authorization server has no metadata")
        said = metadata.get("issuer")
        if said != server and not (isinstance(said, str) and _same_root(said, server)):
            raise ProviderFailed(detail="the authorization server's metadata names another issuer")
        return self._made(resource, str(said), metadata, _scopes(about.get("scopes_supported")))

    async def _resource(self, named: str | None) -> dict[str, Any] | None:
        """The metadata of the resource: where the server says, at its own path, at its root."""
        places = [self._home + RESOURCE + self._path, self._home + RESOURCE]
        if named is not None:
            places.insert(0, self._reach.checked(named, "resource's metadata"))
        return await self._first(list(dict.fromkeys(places)))

    async def _metadata(self, places: list[str]) -> dict[str, Any] | None:
        return await self._first([self._reach.checked(place, "authorization server") for place in places])

    async def _first(self, places: list[str]) -> dict[str, Any] | None:
        """The first document that is there. Raises `ProviderFailed` when somebody could not say."""
        unclear: ProviderFailed | None = None
        for place in places:
            try:
                answer = await ask(self._client(), "GET", place)
            except ProviderFailed as error:
                if error.said is None or not _missing(error.said):
                    unclear = unclear or error
                continue
            if answer.status == 200:
                return answer.document
            if not _missing(answer.status):
                unclear = unclear or ProviderFailed(detail=f"status {answer.status}")
        if unclear is not None:
            raise unclear
        return None

    def _own(self, resource: object) -> str:
        """A resource that the server is (part of); no other's tokens are to be asked for (RFC 9728 section 3.3)."""
        try:
            ours = isinstance(resource, str) and origin(resource) == self._home and not {"?", "#"} & set(resource)
        except ValueError:
            ours = False
        if ours and isinstance(resource, str):
            path = urlsplit(resource).path.rstrip("/")
            if self._path == path or self._path.startswith(path + "/"):
                return resource
        raise ProviderFailed(detail="the resource's metadata is about another resource")

    def _chosen(self, servers: object) -> str:
        known = [one for one in servers if isinstance(one, str)] if isinstance(servers, list) else []
        if self._issuer is not None:
            if not any(one == self._issuer or _same_root(one, self._issuer) for one in known):
                raise ProviderFailed(detail="the server has another authorization server than the configured one")
            return self._issuer
        if not known:
            raise ProviderFailed(detail="the resource's metadata names no authorization server")
        return self._reach.checked(known[0], "authorization server")

    async def _old(self) -> Protected:
        """A server of 2025-03-26: its own authorization server, with or without metadata."""
        if self._issuer is not None and not _same_root(self._issuer, self._home) and self._issuer != self._home:
            raise ProviderFailed(detail="the server does not say that the configured authorization server is its own")
        metadata = await self._metadata([self._home + SERVER])
        if metadata is not None:
            said = metadata.get("issuer")
            if said != self._home and not (isinstance(said, str) and _same_root(said, self._home)):
                raise ProviderFailed(detail="the authorization server's metadata names another issuer")
            return self._made(self._server, str(said), metadata, None)
        here = self._reach.checked(self._home, "server")
        return Protected(self._server, here, f"{here}/authorize", f"{here}/token", f"{here}/register")

    def _made(self, resource: str, issuer: str, about: dict[str, Any], scopes: tuple[str, ...] | None) -> Protected:
        challenges = about.get("code_challenge_methods_supported")
        if "S256" not in (challenges if isinstance(challenges, list) else ()) and (challenges or not self._issuer):
            raise ProviderFailed(detail="the authorization server does not say that it knows PKCE with S256")
        registration = about.get("registration_endpoint")
        return Protected(
            resource,
            issuer,
            self._reach.checked(about.get("authorization_endpoint"), "authorization endpoint"),
            self._reach.checked(about.get("token_endpoint"), "token endpoint"),
            None if registration is None else self._reach.checked(registration, "registration endpoint"),
            scopes,
            _scopes(about.get("scopes_supported")) or (),
            tuple(one for one in _list(about.get("token_endpoint_auth_methods_supported")) if isinstance(one, str)),
            about.get("client_id_metadata_document_supported") is True,
            about.get("authorization_response_iss_parameter_supported") is True,
        )


def documents_of(issuer: str) -> list[str]:
    """Where the metadata of an issuer may stand, in the order of the specification (2025-11-25, "Authorization Server
    Metadata Discovery")."""
    home, path = origin(issuer), urlsplit(issuer).path.rstrip("/")
    if not path:
        return [home + SERVER, home + OPENID]
    return [home + SERVER + path, home + OPENID + path, home + path + OPENID]


def _same_root(one: str, other: str) -> bool:
    """Whether two names of an issuer differ in the slash of an empty path alone."""
    return one.rstrip("/") == other.rstrip("/") and urlsplit(one).path in ("", "/")


def _missing(status: int) -> bool:
    return 300 <= status < 500 and status != 429


def _scopes(given: object) -> tuple[str, ...] | None:
    if not isinstance(given, list):
        return None
    return tuple(dict.fromkeys(one for one in given[:MOST] if isinstance(one, str) and SCOPE.fullmatch(one)))


def _list(given: object) -> list[Any]:
    return given if isinstance(given, list) else []
