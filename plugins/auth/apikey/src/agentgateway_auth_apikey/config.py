"""The configuration of `apiKey`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agentgateway.locations import Location
from agentgateway.settings import PluginConfig, problem
from agentgateway_auth_apikey.digests import KeyDigest, WrittenDigest
from agentgateway_auth_apikey.models import checked


class ApiKey(PluginConfig):
    """One key: `key` or `keyHash`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["key"]}, {"required": ["keyHash"]}]})

    key: KeyDigest | None = None
    """The key, inline or as `{file: …}`. Only its digest is kept."""
    key_hash: WrittenDigest | None = None
    """The key's SHA-256 digest, `sha256:<hex>`, in place of the key."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """What expressions read as `apiKey.<name>`; a `name`, `user` or `id` in it names the caller."""
    allowed_models: Annotated[tuple[str, ...], AfterValidator(checked)] | None = None
    """Models this key may call: names, `prefix*`, `*suffix`, or `*` alone. Left out: all; an empty list: none."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.key is None) == (self.key_hash is None):
            raise problem("expected exactly one of key, keyHash")
        return self

    @property
    def digest(self) -> bytes:
        found = self.key or self.key_hash
        return found.value if found is not None else b""

    def name(self, index: int) -> str:
        """What logs and limits call the holder."""
        candidates = (self.metadata.get(word) for word in ("name", "user", "id"))
        return next((text for text in candidates if isinstance(text, str) and text), f"keys[{index}]")


class ApiKeyConfig(PluginConfig):
    """Ask for an API key."""

    keys: Annotated[list[ApiKey], Field(min_length=1)]
    """The keys that are accepted."""
    mode: Literal["strict", "optional", "permissive"] = "optional"
    """`strict`: there must be a valid key. `optional`: there may be one, which must be valid. `permissive`: anybody
    may pass; a valid key says who it is."""
    location: Location | None = None
    """Where clients put the key. Left out: `Authorization: Bearer`, `x-api-key` as Anthropic's SDKs do, or
    `x-goog-api-key` as Google's do."""
