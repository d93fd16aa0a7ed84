"""The configuration of `backendAuth`. Its kinds are plugins, each reads its own part."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn, Self

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from agentgateway.locations import WritableLocation
from agentgateway.settings import PluginConfig, Secret, problem


class Unread:
    """A kind's configuration, which its plugin has yet to read. It may hold a secret, so nothing shows it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an unread configuration is not pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = core_schema.to_string_ser_schema()
        return core_schema.no_info_plain_validator_function(cls, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {}


class AdditionalCredential(PluginConfig):
    """A credential besides the main one."""

    location: WritableLocation
    """Where to put it."""
    key: Secret
    """The credential, inline or as `{file: …}`."""


class BackendAuthConfig(PluginConfig):
    """What to show the upstream: one kind of credential (`key`, `passthrough`, or what other plugins offer)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"minProperties": 1, "maxProperties": 2, "x-kinds": "agentgateway.credentials"},
    )

    __pydantic_extra__: dict[str, Unread] = Field(init=False)

    credentials: Annotated[tuple[AdditionalCredential, ...], Field(min_length=1)] | None = None
    """More credentials, each at a place of its own."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if len(self.__pydantic_extra__) > 1:
            raise problem("expected one kind of credential, not " + " and ".join(sorted(self.__pydantic_extra__)))
        if not self.__pydantic_extra__ and self.credentials is None:
            raise problem("expected a kind of credential, such as key or passthrough")
        return self

    @property
    def kind(self) -> str | None:
        """The name of the main credential's kind."""
        return next(iter(self.__pydantic_extra__), None)

    def of_kind(self) -> Any:
        """That kind's configuration, as it stands in the file."""
        return next((unread.value for unread in self.__pydantic_extra__.values()), None)
