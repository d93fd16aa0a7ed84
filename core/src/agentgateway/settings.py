"""What a plugin's configuration is made of.

A plugin describes its part of the file as a `PluginConfig` and uses the types of this page for what recurs: secrets,
files, durations, matchers, header fields, expressions and addresses. The docstring below a field becomes its
description in the JSON Schema and in the docs::

    class TimeoutConfig(PluginConfig):
        request_timeout: Duration = 0.0
        \"\"\"How long the whole request may take; 0 is no limit.\"\"\"

Two entries of the pydantic validation context matter here: `folder`, against which relative file names resolve, and
`files`, a set that collects every file that was named, so that it can be watched. No message contains the offending
value, because it may be a secret.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, InitErrorDetails
from pydantic_core.core_schema import no_info_plain_validator_function, plain_serializer_function_ser_schema

from agentgateway.docstrings import descriptions
from agentgateway.files import FileInlineOrRemote, FileOrInline, Secret, problem

__all__ = [
    "CelText",
    "Duration",
    "FileInlineOrRemote",
    "FileOrInline",
    "FilePath",
    "HeaderName",
    "HeaderValue",
    "ListenAddress",
    "PathMatch",
    "PluginConfig",
    "Scope",
    "Secret",
    "StringMatch",
    "duration_text",
    "parse_duration",
    "problem",
]


class PluginConfig(BaseModel):
    """A part of the configuration: camelCase keys, unknown keys refused, frozen once read.

    A file is read by alias only (`maxBufferSize`); Python code may also construct by field name (`max_buffer_size=`).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        field_title_generator=lambda name, _: to_camel(name),
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth_is_a_number(cls, given: object) -> object:
        """Python's `True` is 1; a port or a limit is not."""
        truths = {key for key, value in given.items() if isinstance(value, bool)} if isinstance(given, dict) else ()
        if truths:
            fields = [(key, field) for name, field in cls.model_fields.items() for key in {field.alias or name, name}]
            wrong = [key for key, field in fields if key in truths and _only_numbers(field.annotation)]
            if wrong:
                error = problem("expected a whole number", kind="int_type")
                lines = [InitErrorDetails(type=error, loc=(key,), input=None) for key in wrong]
                raise ValidationError.from_exception_data(cls.__name__, lines)
        return given

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler(schema)
        defaults = cls.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True, warnings=False)
        described = descriptions(cls)
        for key, entry in handler.resolve_ref_schema(shown).get("properties", {}).items():
            if "default" in entry and key in defaults:
                entry["default"] = defaults[key]  # as it would be written: "10s", not 10.0
            if key in described:
                entry.setdefault("description", described[key])
        return shown


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that a field takes: those of `int | None` and of `Annotated[int, …] | bool`."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        for argument in get_args(annotation):
            yield from _kinds(argument)
    else:
        yield annotation


def _only_numbers(annotation: Any) -> bool:
    kinds = set(_kinds(annotation))
    return int in kinds and bool not in kinds


# --- durations --------------------------------------------------------------------------------------------------------

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION = rf"^(0|({_PART})+)$"
_LONGEST = 2**63 / 1e9  # Go counts nanoseconds in an int64: 292 years


def parse_duration(text: object) -> float:
    """Seconds of a Go-like duration: `10s`, `1m30s`, `500ms`, `1.5h`, `0` (https://pkg.go.dev/time#ParseDuration)."""
    if text == 0 and not isinstance(text, bool):
        return 0.0
    if isinstance(text, int | float):
        raise problem("a duration needs a unit", "write 10s, 500ms or 1m30s", "duration")
    if not isinstance(text, str) or not re.fullmatch(_DURATION, text):
        negative = isinstance(text, str) and text.startswith("-")
        what = "a duration must not be negative" if negative else "not a duration"
        raise problem(what, "write 10s, 500ms or 1m30s", "duration")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))
    if seconds > _LONGEST:
        raise problem("a duration must be shorter than 292 years", kind="duration")
    return seconds


def duration_text(seconds: float) -> str:
    """The duration as it is written: `1.5s`."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, when_used="json"),
    WithJsonSchema({"type": "string", "format": "go-duration", "pattern": _DURATION, "examples": ["10s", "1m30s"]}),
]
"""Seconds, written as `10s`, `1m30s`, `500ms` or `0`."""


# --- matchers ---------------------------------------------------------------------------------------------------------


def _full_match(pattern: str) -> Callable[[str], bool]:
    re2: Any = import_module("re2")  # 30 ms, only for who uses a regex; it has no types
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace").partition(":")[0]  # what follows quotes the pattern
        raise problem(f"not an RE2 regular expression: {reason}", kind="regex") from None
    # Bytes: 1.8 µs against 5.2 for str, which also counts characters.
    return lambda value: compiled.fullmatch(value.encode()) is not None


class _OneOf(PluginConfig):
    """Exactly one of the fields is given."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        fields = type(self).model_fields
        if sum(getattr(self, name) is not None for name in fields) != 1:
            raise problem("expected exactly one of " + ", ".join(to_camel(name) for name in fields))
        _ = self.matches  # compiles a regex now, so that a bad one is found now
        return self

    @cached_property
    def matches(self) -> Callable[[str], bool]:
        raise NotImplementedError


class StringMatch(_OneOf):
    """How a header or query value must look."""

    exact: str | None = None
    """The value, letter for letter."""
    regex: str | None = None
    """An RE2 expression for the whole value, as if between `^` and `$`."""

    @cached_property
    def matches(self) -> Callable[[str], bool]:
        """`matches(value)`: whether the value fits."""
        return _full_match(self.regex) if self.regex is not None else (self.exact or "").__eq__


class PathMatch(_OneOf):
    """How a request's path must look; the query is no part of it."""

    exact: str | None = Field(default=None, pattern="^/", examples=["/v1/models"])
    """The path, letter for letter."""
    path_prefix: str | None = Field(default=None, pattern="^/", examples=["/v1"])
    """Whole leading segments: `/foo` fits `/foo`, `/foo/` and `/foo/bar`, not `/foobar`. A trailing `/` is ignored."""
    regex: str | None = None
    """An RE2 expression for the whole path, as if between `^` and `$`."""

    @cached_property
    def matches(self) -> Callable[[str], bool]:
        """`matches(path)`: whether the path fits (https://gateway-api.sigs.k8s.io/reference/spec/#pathmatchtype)."""
        if self.regex is not None:
            return _full_match(self.regex)
        if self.exact is not None:
            return self.exact.__eq__
        prefix = (self.path_prefix or "").rstrip("/")
        below = prefix + "/"
        return lambda path: path.startswith(below) or path == prefix


# --- files of others --------------------------------------------------------------------------------------------------


def _in_folder(name: str, info: ValidationInfo) -> str:
    context = info.context or {}
    path = Path(context.get("folder", ".")) / name
    if "files" in context:
        context["files"].add(path)
    if not path.is_file():
        raise problem("no such file", "paths are relative to the configuration's folder", "file")
    return str(path)


FilePath = Annotated[str, AfterValidator(_in_folder), Field(json_schema_extra={"format": "file-path"})]
"""A file that must be there, relative to the configuration's folder; it is watched."""


# --- expressions, header fields, addresses ----------------------------------------------------------------------------

CelText = Annotated[str, Field(min_length=1, json_schema_extra={"format": "cel"})]
"""Source of a CEL expression; the host compiles it."""


def _header_name(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise problem("not a header name: letters, digits and !#$%&'*+-.^_`|~ only")
    return name.lower()


def _header_value(value: str) -> str:
    if not re.fullmatch(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?", value):
        raise problem("not a header value: no control characters, no blanks around it, Latin-1 only")
    return value


Scope = Literal["systemPrompt", "messages", "toolInput", "toolOutput"]
"""What a text of a model call is, for guards that are shown some of them."""

HeaderName = Annotated[str, AfterValidator(_header_name), Field(json_schema_extra={"format": "header-name"})]
"""A header's name, a token of RFC 9110 section 5.6.2, made lower-case."""

HeaderValue = Annotated[str, AfterValidator(_header_value), Field(json_schema_extra={"format": "header-value"})]
"""A header's value by RFC 9110 section 5.5: no CR, LF, NUL or other control character but the tab."""


@dataclass(frozen=True)
class ListenAddress:
    """Where to listen: `ip:port`, `[ipv6]:port`, `localhost:port`, `unix:<socket>`, or `off`."""

    host: str = ""
    """An IP address without brackets, or `localhost`; empty if there is none."""
    port: int = 0
    """0 lets the system choose."""
    socket: str = ""
    """Path of a unix socket."""

    @property
    def off(self) -> bool:
        """Nothing is to listen."""
        return not self.host and not self.socket

    def __str__(self) -> str:
        if self.off:
            return "off"
        if self.socket:
            return f"unix:{self.socket}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: object) -> Self:
        """Raises a validation error that says what an address looks like."""
        if isinstance(text, cls):
            return text
        if text == "off":
            return cls()
        if isinstance(text, str) and text.startswith("unix:") and len(text) > 5 and "\0" not in text:
            return cls(socket=text.removeprefix("unix:"))
        found = re.fullmatch(r"(?:\[(?P<v6>[^\[\]]+)]|(?P<v4>[^:\[\]]+)):(?P<port>[0-9]{1,5})", str(text))
        if not found or int(found["port"]) > 65535 or not _is_host(found["v4"], found["v6"]):
            raise problem("not a listen address", "write ip:port, localhost:port, unix:<socket> or off", "address")
        return cls(found["v6"] or found["v4"], int(found["port"]))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = plain_serializer_function_ser_schema(str, when_used="json")
        return no_info_plain_validator_function(cls.parse, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "examples": ["127.0.0.1:15000", "localhost:15020", "unix:/run/admin.sock", "off"]}


def _is_host(v4: str | None, v6: str | None) -> bool:
    from ipaddress import IPv4Address, IPv6Address

    try:
        return v4 == "localhost" or bool(IPv4Address(v4) if v4 else IPv6Address(v6 or ""))
    except ValueError:
        return False
