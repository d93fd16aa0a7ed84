"""The configuration of `gcp`."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from agentgateway.settings import PluginConfig, Secret, problem

KINDS = ("service_account", "authorized_user", "impersonated_service_account", "external_account")
"""What the `type` of a credentials file may be."""


class GcpConfig(PluginConfig):
    """A token of Google Cloud; without a credential it is looked for as Google's own tools do."""

    type: Literal["accessToken", "idToken"] = "accessToken"
    """An OAuth access token, for Google's APIs, or an OpenID Connect ID token, for what runs on Cloud Run. Both may be
    written with a capital letter."""
    audience: str | None = Field(None, min_length=1, max_length=2048)
    """Whom an ID token is for; `https://` and the upstream's host when absent."""
    credential: Secret | None = None
    """A credentials file of Google Cloud: its JSON, or `{file: …}`; found on this machine when absent."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_say(cls, given: Any) -> Any:
        return {} if given is None else given

    @field_validator("type", mode="before")
    @classmethod
    def _small(cls, given: Any) -> Any:
        return given[:1].lower() + given[1:] if isinstance(given, str) else given

    @field_validator("credential")
    @classmethod
    def _a_file_of_googles(cls, given: Secret | None) -> Secret | None:
        if given is not None:
            described(given)
        return given

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if self.audience is not None and self.type != "idToken":
            raise problem("`audience` belongs to `type: idToken`")
        return self


def described(credential: Secret) -> dict[str, Any]:
    """What a credentials file says. Raises what validators raise, which quotes nothing."""
    try:
        info = json.loads(credential.reveal())
    except (ValueError, RecursionError):
        raise problem("expected the JSON of a credentials file") from None
    if not isinstance(info, dict) or info.get("type") not in KINDS:
        raise problem(f"expected a credentials file whose `type` is one of {', '.join(KINDS)}")
    source = info.get("credential_source")
    if isinstance(source, dict) and "executable" in source:
        raise problem("credentials that come from a program are not run")
    return info
