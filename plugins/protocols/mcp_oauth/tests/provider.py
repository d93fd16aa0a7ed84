"""An identity provider on loopback: metadata, keys, registration, authorization with PKCE, tokens."""

import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from agentgateway.testing import Received
from agentgateway.testing.upstreams import reply

KEY = rsa.generate_private_key(65537, 2048)
SECRET = "canary-client-secret-77aa"
AUDIENCE = "api://mcp"
OF_THE_GATEWAY = ("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange")


@dataclass
class Provider:
    """`path` is the issuer's path; `documents` the paths of its metadata; `changes` are made to it (None: left
    out). `broken` is answered in place of metadata, `scripted` in place of everything."""

    path: str = ""
    documents: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    broken: bytes | None = None
    scripted: bytes | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[Received] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return self.url + self.path

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}]}

    def mint(self, **claims: Any) -> str:
        payload = {"iss": self.issuer, "sub": "ada", "aud": AUDIENCE, "exp": int(time.time()) + 600, **claims}
        kept = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(kept, KEY, "RS256", {"kid": "k1"})

    def metadata(self) -> dict[str, Any]:
        made = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "jwks_uri": f"{self.url}/keys",
            "client_id_metadata_document_supported": True,
            "signed_metadata": "e30.e30.e30",
            "authorization_response_iss_parameter_supported": True,
            **self.changes,
        }
        return {name: value for name, value in made.items() if value is not None}

    def answer(self, request: Received) -> bytes:
        self.asked.append(request)
        path = request.target.partition("?")[0]
        if self.scripted is not None:
            return self.scripted
        if path in self.documents:
            return self.broken or reply(200, self.metadata())
        if path.endswith(("/keys", "/jwks.json", "/certs", "/jwks/")):
            return reply(200, self.jwks())
        if path == "/register" and request.method == "POST":
            return reply(201, {"client_id": "made-up", "redirect_uris": request.json().get("redirect_uris", [])})
        if path == "/authorize":
            return self.authorize(dict(parse_qsl(urlsplit(request.target).query)))
        if path == "/token" and request.method == "POST":
            return self.token(request)
        return reply(404, {"error": "not_found"})

    def authorize(self, query: dict[str, str]) -> bytes:
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        answer = {"code": code, "state": query["state"]}
        if "authorization_response_iss_parameter_supported" in self.metadata():
            answer["iss"] = self.issuer
        back = f"{query['redirect_uri']}?{urlencode(answer)}"
        return reply(302, {}, headers={"location": back})

    def token(self, request: Received) -> bytes:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") in OF_THE_GATEWAY:
            return reply(200, {"access_token": f"given-{len(self.asked)}", "token_type": "Bearer", "expires_in": 600})
        begun = self.codes.get(form.get("code", ""))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if begun is None or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != begun["code_challenge"]:
            return reply(400, {"error": "invalid_grant"})
        return reply(200, {"access_token": self.mint(), "token_type": "Bearer", "expires_in": 600})

    def paths(self) -> list[str]:
        return [request.target for request in self.asked]
