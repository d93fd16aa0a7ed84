"""What a client without a valid token is told: that it needs one, and where to read how to get one."""

from __future__ import annotations

from agentgateway.errors import Unauthenticated
from agentgateway.exchange import Reply, Request
from agentgateway_mcp_oauth.addresses import RESOURCE, origin, own_origin, own_path
from agentgateway_mcp_oauth.config import ResourceMetadata, path_of

REASON = "JwtAuth"
MISSING = "JWT token required"


class Challenged(Unauthenticated):
    """401 with a challenge (RFC 6750 section 3, RFC 9728 section 5.1). `error` is the word in the answer's body."""

    def __init__(self, error: str, message: str, challenge: str, *, detail: str = "") -> None:
        super().__init__(message, reason=REASON, detail=detail, headers=(("www-authenticate", challenge),))
        self.error = error

    def write(self, reply: Reply) -> None:
        """Make the reply's body the one that clients of OAuth expect."""
        told = Reply.json(self.status, {"error": self.error, "error_description": self.message})
        reply.body = told.body
        reply.headers.remove("content-length")
        reply.headers.update((("content-type", "application/json"), ("cache-control", "no-store")))


class Challenges:
    """The challenges of one policy."""

    def __init__(self, about: ResourceMetadata) -> None:
        self._origin = origin(about.resource) if about.resource else ""
        self._path = path_of(about.resource)
        self._scope = " ".join(about.scopes_supported or ())

    def missing(self, request: Request) -> Challenged:
        return Challenged("unauthorized", MISSING, self._challenge(request))

    def invalid(self, request: Request, detail: str) -> Challenged:
        challenge = self._challenge(request, 'error="invalid_token"')
        return Challenged("invalid_token", "invalid token", challenge, detail=detail)

    def consumed(self, request: Request) -> Challenged:
        """Another policy took the token, so nobody can tell whether it was meant for here."""
        detail = "another policy has taken a JSON Web Token out of the request already"
        return Challenged("unauthorized", MISSING, self._challenge(request), detail=detail)

    def _challenge(self, request: Request, *first: str) -> str:
        parts = [*first]
        base = self._origin or own_origin(request)
        if base:
            parts.append(f'resource_metadata="{base}{RESOURCE}{self._path or own_path(request)}"')
        if self._scope:
            parts.append(f'scope="{self._scope}"')
        return ("Bearer " + ", ".join(parts)).rstrip()
