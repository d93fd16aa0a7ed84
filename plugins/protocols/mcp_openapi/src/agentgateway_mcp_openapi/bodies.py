"""Bodies of requests: JSON, forms, text, and bytes as base64."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic_core import to_json

from agentgateway_mcp_openapi.headers import TOKEN, is_value
from agentgateway_mcp_openapi.parameters import ArgumentError, Parameter, encoded, in_query, text_of

Kind = Literal["json", "form", "multipart", "text", "binary"]
KINDS: tuple[Kind, ...] = ("json", "form", "multipart", "text", "binary")
"""The preferred one first, where an operation takes several."""


@dataclass(frozen=True, slots=True)
class Field:
    """How one property of a form is sent. `style` is None where the document leaves it to the value's type."""

    style: Parameter | None = None
    content_type: str = ""
    binary: bool = False


USUAL = Field()


@dataclass(frozen=True, slots=True)
class BodyForm:
    """The body that an operation takes."""

    kind: Kind
    content_type: str
    fields: Mapping[str, Field] = field(default_factory=dict)

    def encode(self, value: Any) -> tuple[str, bytes]:
        """Content type and bytes. Raises `ArgumentError`."""
        if self.kind == "json":
            return self.content_type, to_json(value, inf_nan_mode="null")
        if self.kind == "text":
            return self.content_type, text_of(value).encode("utf-8", "replace")
        if self.kind == "binary":
            return self.content_type, decoded(value, "body")
        if not isinstance(value, dict):
            raise ArgumentError("body: expected an object, whose members are the form's fields")
        if self.kind == "form":
            return self.content_type, "&".join(self._pairs(value)).encode()
        boundary = secrets.token_hex(16)
        parts = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in self._parts(value))
        return f"{self.content_type}; boundary={boundary}", parts + b"--%b--\r\n" % boundary.encode()

    def _pairs(self, value: dict[str, Any]) -> Iterator[str]:
        for name, inner in value.items():
            style = self.fields.get(name, USUAL).style or Parameter(name, "query", "form", not isinstance(inner, dict))
            if isinstance(inner, dict) and self.fields.get(name, USUAL).style is None:
                yield f"{encoded(name)}={encoded(to_json(inner).decode())}"
            else:
                yield from in_query(style, "" if inner is None else inner)

    def _parts(self, value: dict[str, Any]) -> Iterator[bytes]:
        for name, inner in value.items():
            how = self.fields.get(name, USUAL)
            for one in inner if isinstance(inner, list) else [inner]:
                if one is not None:
                    yield part(name, one, how)


def part(name: str, value: Any, how: Field) -> bytes:
    """One part of a form (RFC 7578), its name quoted as browsers do."""
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    disposition = f'form-data; name="{quoted}"'
    if how.binary:
        kind, content = how.content_type or "application/octet-stream", decoded(value, f"body.{name}")
        disposition += f'; filename="{quoted}"'
    elif isinstance(value, dict | list):
        kind, content = how.content_type or "application/json", to_json(value)
    else:
        kind, content = how.content_type, text_of(value).encode("utf-8", "replace")
    kind_line = f"content-type: {kind}\r\n" if kind else ""
    return f"content-disposition: {disposition}\r\n{kind_line}\r\n".encode("utf-8", "replace") + content


def decoded(value: Any, label: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ArgumentError(f"{label}: expected base64 (RFC 4648 section 4, with padding)") from None


def kind_of(media_type: str) -> Kind:
    """How a body of that type is made from an argument."""
    name = media_type.partition(";")[0].strip().lower()
    if name in ("application/json", "*/*", "application/*", "text/json") or name.endswith("+json"):
        return "json"
    if name == "application/x-www-form-urlencoded":
        return "form"
    if name.startswith("multipart/"):
        return "multipart"
    textual = name.startswith("text/") or name.endswith(("/xml", "+xml", "/yaml", "+yaml", "/graphql"))
    return "text" if textual else "binary"


def header_of(media_type: str, kind: Kind) -> str:
    """What the `Content-Type` says, where the document gives a range or what no header can carry."""
    name = media_type.partition(";")[0].strip()
    if "*" not in name and is_value(media_type) and all(map(TOKEN.fullmatch, name.split("/"))):
        return name if kind == "multipart" else media_type.strip()
    usual = {"json": "application/json", "text": "text/plain; charset=utf-8", "multipart": "multipart/form-data"}
    return usual.get(kind, "application/octet-stream")
