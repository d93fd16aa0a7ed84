"""The configuration of a target of kind `openapi`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from agentgateway.settings import FileInlineOrRemote, PluginConfig, problem

Method = Literal["get", "put", "post", "delete", "options", "head", "patch"]
OBJECT = {"type": "object"}
TEXT = {"type": "string"}


def _inline(value: object) -> object:
    """A document that stands in the configuration itself, as a mapping or below `inline`, as the text that it is."""
    if isinstance(value, Mapping) and set(value) == {"inline"}:
        value = value["inline"]
    if isinstance(value, Mapping) and {"openapi", "swagger"} & set(value):
        try:
            return json.dumps(value)
        except (TypeError, ValueError):
            raise problem("the document has values that JSON has not") from None
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


ApiDocument = Annotated[
    FileInlineOrRemote,
    BeforeValidator(_inline),
    WithJsonSchema(
        {
            "anyOf": [
                TEXT,
                {"type": "object", "properties": {"file": TEXT}, "required": ["file"], "additionalProperties": False},
                {"type": "object", "properties": {"url": TEXT}, "required": ["url"], "additionalProperties": False},
                {"type": "object", "properties": {"inline": {"anyOf": [TEXT, OBJECT]}}, "required": ["inline"]},
                {"type": "object", "properties": {"openapi": TEXT}, "required": ["openapi"]},
            ]
        }
    ),
]


class Selection(PluginConfig):
    """Operations that have all of these."""

    operation_id: str | None = Field(None, min_length=1)
    """The `operationId`, or the tool's name where there is none; `*` stands for any characters."""
    tag: str | None = Field(None, min_length=1)
    """One of its tags."""
    method: Annotated[Method, BeforeValidator(_lower)] | None = None
    """Its HTTP method."""
    path: str | None = Field(None, pattern="^[/*]")
    """Its path as the document has it (`/pets/{petId}`); `*` stands for any characters."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self == type(self).model_construct():
            raise problem("expected at least one of operationId, tag, method, path")
        return self


class OpenApiConfig(PluginConfig):
    """An HTTP API whose operations become tools."""

    schema_: ApiDocument = Field(alias="schema")
    """The OpenAPI document (3.0 or 3.1, JSON or YAML): in place, `{inline: …}`, `{file: …}`, or `{url: …}`, which is
    fetched when the gateway starts."""
    host: str | None = Field(None, min_length=1)
    """Where the API is: `https://api.example.com/base`, `host:port`. With a path, that is the base of every operation;
    without, the path of the document's server is. Left out: the document's server."""
    port: int | None = Field(None, ge=1, le=65535)
    """The port, where `host` has none."""
    path: str | None = Field(None, pattern="^/")
    """The base path, where `host` has none."""
    server: int | str | None = None
    """Which of the document's servers: its place in the list, from 0, its URL or its description. Left out: the
    first."""
    server_variables: dict[str, str] = {}
    """Values for the variables in that server's URL, in place of their defaults."""
    include: tuple[Selection, ...] = ()
    """Operations that become tools: those that one of these fits. Empty: all."""
    exclude: tuple[Selection, ...] = ()
    """Operations that become none, also where `include` names them."""
    output_schemas: bool = True
    """Whether tools have an output schema where the document describes their answers. An answer that does not fit is an
    error then."""

    @model_validator(mode="after")
    def _an_address(self) -> Self:
        if self.host is None:
            if self.port is not None or self.path is not None:
                raise problem("`port` and `path` go with `host`")
            return self
        parts = split_address(self.host)
        if parts is None:
            raise problem("not an address", "write https://host/path, http://host:port or host:port")
        if (self.port is not None and parts.port is not None) or (self.path is not None and parts.path.strip("/")):
            raise problem("`port` and `path` are for a `host` without them")
        return self


def split_address(text: str) -> Any:
    """The parts of an http(s) URL or `host[:port]`; None for anything else, and for one with credentials, a query or a
    fragment."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    plain = text.isascii() and text.isprintable() and not set(text) & set(' \\"<>^`{|}#?@')
    return parts if fine and plain else None
