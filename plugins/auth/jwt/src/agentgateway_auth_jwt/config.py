"""The configuration of `jwtAuth`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentgateway.locations import Location
from agentgateway.settings import FileInlineOrRemote, PluginConfig, problem

Audiences = Annotated[tuple[str, ...], Field(min_length=1)]


class ValidationOptions(PluginConfig):
    """What a token must have."""

    required_claims: tuple[str, ...] = ("exp",)
    """Claims that must be there. Times are checked whenever they are there."""


class JwtProvider(PluginConfig):
    """An issuer whose tokens are trusted."""

    issuer: Annotated[str, Field(min_length=1)]
    """What `iss` must say, letter for letter."""
    audiences: Audiences | None = None
    """What `aud` may name. Left out: it is not looked at."""
    jwks: FileInlineOrRemote
    """The issuer's keys, a JSON Web Key Set: inline, `{file: …}`, or `{url: …}`, which is fetched and refreshed."""
    jwt_validation_options: ValidationOptions = ValidationOptions()
    """What a token must have."""


class JwtConfig(PluginConfig):
    """Ask for a JSON Web Token: of one issuer, or of one of several `providers`."""

    issuer: Annotated[str, Field(min_length=1)] | None = None
    """What `iss` must say, letter for letter."""
    audiences: Audiences | None = None
    """What `aud` may name. Left out: it is not looked at."""
    jwks: FileInlineOrRemote | None = None
    """The issuer's keys, a JSON Web Key Set: inline, `{file: …}`, or `{url: …}`, which is fetched and refreshed."""
    jwt_validation_options: ValidationOptions | None = None
    """What a token must have."""
    providers: Annotated[tuple[JwtProvider, ...], Field(min_length=1)] | None = None
    """Several issuers, in place of one."""
    mode: Literal["strict", "optional", "permissive"] = "optional"
    """`strict`: there must be a valid token. `optional`: there may be one, which must be valid. `permissive`: anybody
    may pass; a valid token says who it is."""
    location: Location | None = None
    """Where clients put the token. Left out: `Authorization: Bearer`."""

    @model_validator(mode="after")
    def _one_issuer_or_several(self) -> Self:
        alone = (self.issuer, self.audiences, self.jwks, self.jwt_validation_options)
        if self.providers is not None and any(value is not None for value in alone):
            raise problem("`providers` stands in place of issuer, audiences, jwks and jwtValidationOptions")
        if self.providers is None and (self.issuer is None or self.jwks is None):
            raise problem("expected issuer and jwks, or providers")
        return self

    def trusted(self) -> tuple[JwtProvider, ...]:
        """The issuers, however they were written."""
        if self.issuer is None or self.jwks is None:
            return self.providers or ()
        options = self.jwt_validation_options or ValidationOptions()
        return (
            JwtProvider(issuer=self.issuer, audiences=self.audiences, jwks=self.jwks, jwt_validation_options=options),
        )
