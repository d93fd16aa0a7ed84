"""The configuration of `aws`."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from agentgateway.settings import CelText, Duration, PluginConfig, Secret, problem

TagKey = Annotated[str, Field(pattern=r"^[\w .:/=+\-@]{1,128}$")]


class AssumeRole(PluginConfig):
    """A role to take on before signing (https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)."""

    role_arn: str = Field(pattern=r"^arn:[\w-]+:iam::\d{12}:role/\S{1,576}$")
    """The role's ARN."""
    session_name: str = Field("agentgateway", pattern=r"^[\w+=,.@-]{2,64}$")
    """What the account's log shows as the session."""
    external_id: Secret | None = None
    """The external id that another account's role asks for."""
    tags: dict[TagKey, CelText] = Field({}, max_length=50)
    """Session tags, computed for each request (CEL); each set of values is a session of its own."""
    duration: Duration = 3600.0
    """How long a session lasts: 15 minutes to 12 hours, as the role allows."""

    @model_validator(mode="after")
    def _allowed_duration(self) -> Self:
        if not 900 <= self.duration <= 43200:
            raise problem("a session lasts from 15m to 12h")
        return self


class AwsConfig(PluginConfig):
    """AWS credentials: keys, or whatever AWS's own tools find on this machine."""

    access_key_id: Secret | None = None
    """The access key; when absent, credentials are found as AWS's own tools find them."""
    secret_access_key: Secret | None = None
    """The secret key that belongs to it."""
    session_token: Secret | None = None
    """The session token, for temporary keys."""
    region: str | None = Field(None, pattern="^[a-z0-9-]{1,40}$")
    """The region to sign for; the provider's own, else `AWS_REGION`, when absent."""
    service_name: str | None = Field(None, pattern="^[a-z0-9-]{1,64}$")
    """The service to sign for, as AWS's signatures call it; the provider's own when absent."""
    assume_role: AssumeRole | None = None
    """A role to take on with these credentials."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_say(cls, given: Any) -> Any:
        return {} if given is None else given

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise problem("`accessKeyId` and `secretAccessKey` go together")
        if self.session_token is not None and self.access_key_id is None:
            raise problem("`sessionToken` belongs to an `accessKeyId`")
        return self
