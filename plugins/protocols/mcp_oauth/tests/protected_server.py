"""A protected MCP server and its authorization server, on one port of loopback; and a user with a browser."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from agentgateway_mcp.logins import Login, LoginRequired
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.servers import Answer, Ask

from agentgateway.exchange import Exchange, Headers, Outgoing, Principal, Reply
from agentgateway.testing import Received, http
from agentgateway.testing.upstreams import reply

RESOURCE = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
GATEWAY = "127.0.0.1:4321"


@dataclass
class World:
    """`about` and `metadata` are changes to what the documents say (None: left out), `places` where they are; `wants`
    the scopes that a call needs; `answers` what the token endpoint says in place of tokens, `broken` what paths do."""

    url: str = ""
    issuer_path: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=lambda: {"resource": RESOURCE + "/mcp", "server": SERVER})
    challenge: str = 'Bearer resource_metadata="{url}/.well-known/oauth-protected-resource/mcp"'
    wants: tuple[str, ...] = ()
    iss: str | None = "own"
    lifetime: int = 3600
    refreshes: bool = True
    registered: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, bytes] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    scopes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refresh_tokens: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: list[Received] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return self.url + self.issuer_path

    def targets(self, begin: str = "") -> list[str]:
        return [one.target for one in self.asked if one.target.startswith(begin)]

    def forms(self, place: str = "/token") -> list[dict[str, str]]:
        return [dict(parse_qsl(one.body.decode())) for one in self.asked if one.target == place]

    def answer(self, request: Received) -> bytes:
        self.asked.append(request)
        path = request.target.partition("?")[0]
        if path in self.broken:
            return self.broken[path]
        if path == "/mcp":
            return self.call(request)
        if path == self.places.get("resource"):
            made = {"resource": self.url + "/mcp", "authorization_servers": [self.issuer], **self.about}
            return reply(200, {name: value for name, value in made.items() if value is not None})
        if path == self.places.get("server"):
            return reply(200, {name: value for name, value in self.described().items() if value is not None})
        if path == "/register":
            given = {"client_id": f"client-{len(self.targets('/register'))}", **self.registered}
            return reply(201, {name: value for name, value in given.items() if value is not None})
        if path == "/token":
            return self.answers.pop(0) if self.answers else self.token(request)
        return reply(404, b"Not Found")

    def described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    def call(self, request: Received) -> bytes:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.scopes:
            return reply(401, {}, headers={"www-authenticate": self.challenge.format(url=self.url)})
        if not set(self.wants) <= set(self.scopes[token]):
            demand = f'Bearer error="insufficient_scope", scope="{" ".join(self.wants)}"'
            return reply(403, {}, headers={"www-authenticate": demand})
        return reply(200, {"shown": token})

    def authorize(self, location: str) -> str:
        """The user agrees: where their browser is sent back to."""
        query = dict(parse_qsl(urlsplit(location).query))
        code = f"canary-code-{len(self.codes)}"
        self.codes[code] = query
        answer = {"code": code, "state": query["state"]}
        if self.iss is not None:
            answer["iss"] = self.issuer if self.iss == "own" else self.iss
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def token(self, request: Received) -> bytes:
        form = dict(parse_qsl(request.body.decode()))
        if form["grant_type"] == "refresh_token":
            granted = self.refresh_tokens.pop(form["refresh_token"], None)
        else:
            begun = self.codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            fits = begun and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == begun["code_challenge"]
            granted = tuple(begun.get("scope", "").split()) if begun and fits else None
        if granted is None:
            return reply(400, {"error": "invalid_grant"})
        number = len(self.forms())
        given: dict[str, Any] = {"access_token": f"canary-access-{number}", "token_type": "Bearer"}
        self.scopes[given["access_token"]] = granted
        if self.refreshes:
            given["refresh_token"] = f"canary-refresh-{number}"
            self.refresh_tokens[given["refresh_token"]] = granted
        return reply(200, {**given, "expires_in": self.lifetime})


@dataclass
class User:
    """Asks the server through a login, as one principal; `cookies` are those of the browser."""

    login: Login
    world: World
    name: str | None = "ada"
    source: str = "127.0.0.1"
    host: str = GATEWAY
    cookies: dict[str, str] = field(default_factory=dict)
    principal: Principal | None = None

    async def call(self, said: str | None = None, purpose: Any = "send") -> tuple[int, Any]:
        """Status and document of what the server answers. Raises `LoginRequired`."""
        parent = http("POST", "/mcp", headers={"host": self.host})
        parent.source = parent.source._replace(address=self.source)
        parent.call = message = McpCall("send")
        message.login = said
        for again in (False, True):
            child = Exchange(parent.request, parent.source, parent=parent)
            claims = {"iss": "https://login.example.com", "sub": self.name}
            child.principal = self.principal or (Principal("jwt", self.name, claims) if self.name is not None else None)
            child.call = Ask(purpose)
            child.outgoing = Outgoing("POST", self.world.url, "/mcp", Headers.of({"authorization": "Bearer theirs"}))
            await self.login.attach(child)
            async with httpx.AsyncClient() as client:
                got = await client.post(self.login.url, headers=dict(child.outgoing.headers))
            answer = Answer(got.status_code, whole=got.content, headers=Headers.of(dict(got.headers)))
            if got.status_code not in (401, 403) or not await self.login.refused(child, answer, again=again):
                return got.status_code, got.json()
        raise AssertionError("a message is sent twice at most")

    async def link(self) -> str:
        """Where the user is sent."""
        try:
            await self.call()
        except LoginRequired as error:
            return error.url
        raise AssertionError("no login is needed")

    async def visit(self, url: str, method: str = "GET", origin: str | None = None) -> Reply:
        """What the browser gets at a page of the gateway."""
        parts = urlsplit(url)
        headers = {"host": parts.netloc, **({"origin": origin} if origin is not None else {})}
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        request = http(method, f"{parts.path}?{parts.query}", headers=headers).request
        got = await self.login.visit(request, parts.path.rpartition("/")[2])
        for cookie in got.headers.all("set-cookie"):
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return got

    async def follow(self, link: str) -> str:
        """Press the button: where the browser goes on."""
        parts = urlsplit(link)
        got = await self.visit(link, "POST", f"{parts.scheme}://{parts.netloc}")
        assert got.status == 303, got.body
        return str(got.headers.get("location"))

    async def log_in(self) -> Reply:
        """The page at the end."""
        location = await self.follow(await self.link())
        return await self.visit(self.world.authorize(location))
