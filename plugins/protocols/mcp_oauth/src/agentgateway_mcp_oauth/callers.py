"""Who a caller is, so that nobody else ever is: what authenticators call them need not be unique."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic_core import to_json

from agentgateway.exchange import Principal


@dataclass(frozen=True, slots=True)
class Caller:
    """`key` is the caller's alone, and the same at every login; `name` is for people."""

    key: str
    name: str


EVERYBODY = Caller("everybody", "everybody")


def caller(principal: Principal | None, digest: Callable[[str], str]) -> Caller | None:
    """The caller behind an identity; None for nobody. A subject is its issuer's: two may have the same. A token without
    a subject is nobody's. A name that the authenticator made up, such as a key's number in the file, may be another's
    tomorrow, so that the credential itself (its digest) stands for it."""
    if principal is None or not principal.name:
        return None
    name, shown = principal.name, f"{principal.kind}:{principal.name}"
    if name not in [one for one in principal.claims.values() if isinstance(one, str)]:
        if principal.credential is None:
            return None
        name = digest(principal.credential.reveal())
    issuer = principal.claims.get("iss")
    return Caller(to_json([principal.kind, issuer if isinstance(issuer, str) else None, name]).decode(), shown)
