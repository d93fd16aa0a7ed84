"""Where a credential stands in a request, as the file says it: `location` of authenticators, and of credentials that go
upstream. One of::

    header: {name: authorization, prefix: "Bearer "}
    queryParameter: {name: api_key}
    cookie: {name: session}
    expression: request.headers["x-key"]          # only to be read

Compiled, it is a spot of `agentgateway.spots`, whose names can be imported from here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from agentgateway.settings import CelText, HeaderName, PluginConfig, problem
from agentgateway.spots import (
    BEARER,
    Attach,
    CookieSpot,
    ExpressionSpot,
    HeaderSpot,
    HeaderSpots,
    QuerySpot,
    Spot,
    WritableSpot,
)

if TYPE_CHECKING:
    from agentgateway.interfaces import Host

__all__ = [
    "BEARER",
    "Attach",
    "CookieLocation",
    "CookieSpot",
    "ExpressionSpot",
    "HeaderLocation",
    "HeaderSpot",
    "HeaderSpots",
    "Location",
    "QueryLocation",
    "QuerySpot",
    "Spot",
    "WritableLocation",
    "WritableSpot",
]


class HeaderLocation(PluginConfig):
    """A header."""

    name: HeaderName
    """The header's name."""
    prefix: Annotated[str, Field(pattern=r"^[ -~]*$")] = ""
    """What stands before the credential, its blank included: `Bearer `. Letters match in any case."""


class QueryLocation(PluginConfig):
    """A parameter of the query."""

    name: Annotated[str, Field(min_length=1)]
    """The parameter's name, unencoded."""


class CookieLocation(PluginConfig):
    """A cookie."""

    name: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
    """The cookie's name."""


class WritableLocation(PluginConfig):
    """Where to put a credential: exactly one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    header: HeaderLocation | None = None
    """A header, and what stands in it before the credential."""
    query_parameter: QueryLocation | None = None
    """A parameter of the query."""
    cookie: CookieLocation | None = None
    """A cookie."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        fields = type(self).model_fields
        if sum(getattr(self, name) is not None for name in fields) != 1:
            raise problem("expected exactly one of " + ", ".join(to_camel(name) for name in fields))
        return self

    def spot(self) -> WritableSpot:
        """The place, compiled."""
        if self.header is not None:
            return HeaderSpot(self.header.name, self.header.prefix)
        if self.query_parameter is not None:
            return QuerySpot(self.query_parameter.name)
        return CookieSpot(self.cookie.name if self.cookie is not None else "")


class Location(WritableLocation):
    """Where to look for a credential: exactly one of these."""

    expression: CelText | None = None
    """An expression that gives the credential; what it finds cannot be removed from the request."""

    def readable(self, host: Host) -> Spot:
        """The place, compiled for reading. Raises `ConfigError` for an expression that does not compile."""
        return ExpressionSpot(host.expression(self.expression)) if self.expression is not None else self.spot()
