"""The kind `key`: a credential of the gateway's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from agentgateway.errors import ConfigError, InternalError
from agentgateway.exchange import Exchange, Headers, Outgoing
from agentgateway.interfaces import Credential, Host
from agentgateway.locations import BEARER, Attach, WritableLocation
from agentgateway.settings import PluginConfig, Secret


class KeyConfig(PluginConfig):
    """A key: written as text, as `{file: …}`, or with the place to put it."""

    value: Secret
    """The key, inline or as `{file: …}`."""
    location: WritableLocation | None = None
    """Where to put it. Left out: `Authorization: Bearer`, which a provider may move to where its vendor looks."""

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, given: Any) -> Any:
        short = isinstance(given, str | Secret) or (isinstance(given, Mapping) and "file" in given)
        return {"value": given} if short else given

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [*shown["properties"]["value"]["anyOf"], shown]}


class KeyCredential(Credential):
    """Shows the upstream a configured key, in place of what the client sent there."""

    Config = KeyConfig

    def __init__(self, config: KeyConfig, host: Host) -> None:
        super().__init__(config, host)
        self._attach = attaching(config, host.at)

    def apply(self, exchange: Exchange) -> None:
        outgoing, attach = exchange.outgoing, self._attach
        if outgoing is None:
            raise InternalError(detail="there is no outgoing request")
        attach(outgoing)


def attaching(config: KeyConfig, at: str) -> Attach:
    """What puts the key in its place. Raises `ConfigError` if the place cannot carry it."""
    spot = config.location.spot() if config.location is not None else BEARER
    try:
        attach = spot.attaching(config.value, pinned=config.location is not None)
        attach(Outgoing("GET", "", "/", Headers()))
    except InternalError as error:
        raise ConfigError(error.detail, path=at, hint="is there a line break or a blank in it?") from None
    return attach
