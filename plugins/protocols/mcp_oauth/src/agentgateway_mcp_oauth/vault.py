"""Documents in the gateway's store that nobody else can read, change, or put in each other's places: AES-256-GCM, each
bound to its name; and names that say nothing of whom they are about."""

from __future__ import annotations

import base64
import binascii
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from agentgateway.interfaces import Host, Store

NONCE = 12
LONGEST = 8192
Document = dict[str, Any]


class Vault:
    """What one login keeps."""

    def __init__(self, host: Host) -> None:
        self.store: Store = host.store("mcp-oauth")
        self._key = host.key("mcp oauth documents 1")  # what has another layout is not read
        self._names = host.key("mcp oauth names")
        self._cipher: AESGCM | None = None

    def name(self, kind: str, *about: str) -> str:
        """The key of a document of that kind about these things."""
        digest = blake2b(to_json(about), key=self._names, digest_size=20)
        return f"{kind}/{digest.hexdigest()}"

    async def get(self, name: str) -> tuple[Document, bytes] | None:
        """A document, and the bytes that `swap` compares. What cannot be opened is not there."""
        raw = await self.store.get(name)
        document = self.open(raw, name) if raw is not None else None
        return (document, raw) if document is not None and raw is not None else None

    async def put(self, name: str, document: Document, *, ttl: float | None = None) -> bytes:
        raw = self.seal(document, name)
        await self.store.put(name, raw, ttl=ttl)
        return raw

    async def swap(self, name: str, old: bytes | None, document: Document, *, ttl: float | None = None) -> bytes | None:
        """Put a document where `old` is: its bytes, None when something else is there."""
        raw = self.seal(document, name)
        return raw if await self.store.swap(name, old, raw, ttl=ttl) else None

    async def take(self, name: str, raw: bytes) -> bool:
        """Remove a document, once for everybody."""
        return await self.store.swap(name, raw, None)

    def ticket(self, document: Document, place: str) -> str:
        """A document as a text that may be shown to anybody."""
        return base64.urlsafe_b64encode(self.seal(document, f"ticket {place}")).rstrip(b"=").decode()

    def read_ticket(self, text: str, place: str) -> Document | None:
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if len(text) <= LONGEST else b""
        except (binascii.Error, ValueError):
            return None
        return self.open(raw, f"ticket {place}")

    def seal(self, document: Document, name: str) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        return nonce + self._aead().encrypt(nonce, to_json(document), name.encode())

    def open(self, raw: bytes, name: str) -> Document | None:
        from cryptography.exceptions import InvalidTag

        try:
            document = from_json(self._aead().decrypt(raw[:NONCE], raw[NONCE:], name.encode()))
        except (InvalidTag, ValueError):
            return None
        return document if isinstance(document, dict) else None

    def _aead(self) -> AESGCM:
        if self._cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._cipher = AESGCM(self._key)
        return self._cipher
