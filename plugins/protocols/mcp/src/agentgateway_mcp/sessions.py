"""Sessions of the versions that have them: all that a worker must know of one is in its id, sealed.

AES-256-GCM under the gateway's session key, so that any worker, and any replica with that key, can go on with it; an id
that was not made here opens nothing, nor does one in front of other servers than it was made for. What is inside names
the principal that opened the session, and nobody else gets in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from agentgateway.exchange import Exchange

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
LONGEST = 16384
ASKED = 4096
"""The longest parameters of an `initialize` that an id carries, in bytes."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session: the version agreed on with the client, the parameters of its `initialize` (without `_meta`), and what
    was agreed on with each server: its own session id (None for one that has none), and a version."""

    version: str
    servers: dict[str, tuple[str | None, str]]
    owner: str
    since: float
    """Seconds since the epoch."""
    nonce: str = ""
    """What tells it from every other session."""
    asked: dict[str, Any] = field(default_factory=dict)
    stream: str = ""
    """Where the stream lives that the id is for, of the transport of 2024-11-05: nothing else is known of the session
    then but whose it is."""


class Seal:
    """Makes ids of sessions, and opens them; `identity` is that of their servers."""

    def __init__(self, key: bytes, identity: bytes) -> None:
        self._key = key
        self._identity = identity
        self._cipher: AESGCM | None = None

    def close(self, session: Opened) -> str:
        content = [getattr(session, name) for name in Opened.__slots__]
        nonce = secrets.token_bytes(NONCE)
        sealed = self._aead().encrypt(nonce, to_json(content), self._identity)
        return encoded(nonce + sealed)

    def open(self, text: str) -> Opened | None:
        """The session, None if this is no id of one."""
        from cryptography.exceptions import InvalidTag

        if len(text) > LONGEST:
            return None
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if encoded(raw) != text:
                return None
            content = self._aead().decrypt(raw[:NONCE], raw[NONCE:], self._identity)
        except (binascii.Error, ValueError, InvalidTag):
            return None
        version, servers, *rest = from_json(content)
        return Opened(version, {name: (one[0], one[1]) for name, one in servers.items()}, *rest)

    def _aead(self) -> AESGCM:
        if self._cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._cipher = AESGCM(self._key)
        return self._cipher


def identity_of(servers: Iterable[tuple[str, str, str]]) -> bytes:
    """What the ids of a backend's sessions are bound to: of each server its name, its kind and where it is. Where the
    backend stands in the file, and in which order its servers do, makes no difference."""
    return hashlib.sha256(to_json(sorted(servers))).digest()


def encoded(raw: bytes) -> str:
    """Base64 for URLs, unpadded: of many spellings the one that is an id."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def owner_of(exchange: Exchange) -> str:
    """Who opens a session, or comes back to it; empty for anybody. A subject is its issuer's, since two may have the
    same, and whoever has no name is known by what was presented."""
    who = exchange.principal
    if who is None:
        return ""
    name = who.name
    if not name and who.credential is not None:
        name = hashlib.sha256(who.credential.reveal().encode()).hexdigest()
    issuer = who.claims.get("iss")
    return f"{who.kind}:{issuer} {name}" if issuer else f"{who.kind}:{name}"


def opened(
    version: str, servers: dict[str, tuple[str | None, str]], asked: dict[str, Any], exchange: Exchange
) -> Opened:
    nonce = secrets.token_urlsafe(9)
    return Opened(version, servers, owner_of(exchange), round(time.time()), nonce, asked)


def is_over(session: Opened, lifetime: float) -> bool:
    return time.time() - session.since > lifetime
