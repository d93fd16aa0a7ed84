"""Text of a configuration that may stand elsewhere: in a file, behind a URL; and text that must stay secret.

Plugins import these names from `agentgateway.settings`, whose page tells about the validation context.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import plain_serializer_function_ser_schema, with_info_plain_validator_function

MAX_FILE_BYTES = 16 * 1024 * 1024
"""The largest configuration file, and the largest file a configuration may name."""


def problem(message: str, hint: str = "", kind: str = "config") -> PydanticCustomError:
    """A validation error with a `hint` on what to do; neither may contain the offending value."""
    return PydanticCustomError(kind, "{message}", {"message": message, "hint": hint})


def _read(name: object, info: ValidationInfo) -> tuple[str, Path]:
    if not isinstance(name, str) or not name or "\0" in name:
        raise problem("`file` must be the name of a file")
    context: Mapping[str, Any] = info.context or {}
    path = Path(context.get("folder", ""), name).absolute()
    if path.is_fifo() or path.is_char_device() or path.is_block_device():
        raise problem(f"file {path} is not a regular file", kind="file")  # reading it might never end
    context.get("files", set()).add(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise problem(f"file {path} is larger than {MAX_FILE_BYTES // 2**20} MiB")
        return content.decode("utf-8-sig"), path
    except OSError as error:
        raise problem(f"cannot read file {path}: {error.strerror}", kind="file") from None
    except UnicodeDecodeError:
        raise problem(f"file {path} is not UTF-8 text", kind="file") from None


def _one_key(value: Mapping[object, object], *allowed: str) -> str:
    keys = list(value)
    if len(keys) == 1 and keys[0] in allowed:
        return str(keys[0])
    raise problem("expected text or " + " or ".join(f"{{{key}: …}}" for key in allowed))


def _text_or(*keys: str) -> dict[str, Any]:
    shapes = [
        {"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": False}
        for key in keys
    ]
    return {"anyOf": [{"type": "string"}, *shapes]}


@dataclass(frozen=True)
class FileOrInline:
    """Text, written in place or as `{file: path}`; a relative path starts at the folder of the configuration file.

    The text is taken once, while the configuration is read: a changed file makes a new, unequal configuration.
    """

    text: str = field(repr=False)
    file: Path | None = None
    """Where the text came from, to be watched; None if it stands in the configuration."""

    def read(self) -> str:
        """The text, exactly as written."""
        return self.text

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping):
            return cls(*_read(value[_one_key(value, "file")], info))
        raise problem("expected text or {file: …}", "quote it, if it is text that looks like a number")

    def _serialize(self) -> str | dict[str, str]:
        return {"file": str(self.file)} if self.file else self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = plain_serializer_function_ser_schema(cls._serialize, when_used="json")
        return with_info_plain_validator_function(cls._validate, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _text_or("file")


@dataclass(frozen=True)
class FileInlineOrRemote(FileOrInline):
    """Text in place, as `{file: path}`, or as `{url: …}`, which somebody fetches and refreshes later."""

    url: str = field(default="", repr=False)
    """An http or https URL; empty if the text is here. Hidden from repr, as URLs may carry credentials."""

    def read(self) -> str:
        """The text; ValueError if it is remote."""
        if self.url:
            raise ValueError("the text is remote: fetch the url")
        return self.text

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> Self:
        if isinstance(value, Mapping) and _one_key(value, "file", "url") == "url":
            return cls("", None, _checked_url(value["url"]))
        return super()._validate(value, info)

    def _serialize(self) -> str | dict[str, str]:
        if not self.url:
            return super()._serialize()
        parts = urlsplit(self.url)
        return {"url": parts._replace(netloc=parts.netloc.rpartition("@")[2], query="***" * bool(parts.query)).geturl()}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _text_or("file", "url")


def _checked_url(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[!-~]+", value):
        try:
            parts = urlsplit(value)
            if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
                return value
        except ValueError:
            pass
    raise problem("`url` must be an http or https URL")


class Secret:
    """A value nobody sees by accident: `str`, `repr`, formatting and JSON all give `***`; only `reveal` tells it.

    Written as text or as `{file: path}`, of which one trailing newline is dropped. Never empty, never pickled.
    Compared in constant time, and equal to other secrets only.
    """

    __slots__ = ("_value", "file")

    def __init__(self, value: str, file: Path | None = None) -> None:
        self._value = value
        self.file = file

    def reveal(self) -> str:
        """The value itself: for the wire, never for a log, an error or a metric."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_digest(self._value), _digest(other._value))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        source = FileOrInline._validate(value, info)
        text = source.text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise problem("a secret must not be empty")
        return cls(text, source.file)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = plain_serializer_function_ser_schema(str, when_used="json")
        return with_info_plain_validator_function(cls._validate, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _text_or("file") | {"writeOnly": True}


def _digest(text: str) -> bytes:
    """Equal lengths for `compare_digest`, which tells unequal ones apart sooner."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
