"""What is kept of a key: its SHA-256 digest, and nothing from which the key could be had."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from agentgateway.settings import Secret, problem


def digest(key: str) -> bytes:
    """The digest of a key as a client presents it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True, repr=False)
class KeyDigest:
    """The digest of a key that is configured as `key`. Never shown: a short key can be guessed from its digest."""

    value: bytes

    @classmethod
    def _configured(cls, key: Secret) -> Self:
        text = key.reveal()
        if re.fullmatch(r"[!-~]+", text) is None:
            raise problem("a key must be visible ASCII characters, without blanks")
        return cls(digest(text))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls._configured, handler.generate_schema(Secret), serialization=core_schema.to_string_ser_schema()
        )

    def __repr__(self) -> str:
        return "***"


class WrittenDigest(KeyDigest):
    """A digest that is configured as `keyHash: sha256:<hex>`."""

    @classmethod
    def _parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not (found := re.fullmatch(r"sha256:([0-9a-fA-F]{64})", text)):
            raise problem("expected sha256: and 64 hexadecimal digits", "printf %s KEY | sha256sum")
        return cls(bytes.fromhex(found[1]))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = core_schema.to_string_ser_schema()
        return core_schema.no_info_plain_validator_function(cls._parse, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$"}
