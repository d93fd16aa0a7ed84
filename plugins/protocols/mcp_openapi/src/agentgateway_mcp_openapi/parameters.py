"""Parameters of an operation: what the document says of one, and its value on the wire
(https://spec.openapis.org/oas/v3.1.1#style-values)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote

from pydantic_core import to_json

from agentgateway_mcp_openapi.document import DocumentError
from agentgateway_mcp_openapi.headers import is_value

Location = Literal["path", "query", "header", "cookie"]
STYLES: dict[str, tuple[str, ...]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
"""By location, the usual one first."""
RESERVED = ":/?@!$'()*,;[]"
"""What `allowReserved` leaves as it is; `&`, `=`, `+`, `#` and `%` would change what the query says."""


class ArgumentError(ValueError):
    """An argument that cannot be sent. The message is for whoever called the tool."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `json` says that its value is sent as JSON (`content` in the document); `refused` are keys that a
    value that is an object must not have, since it would set a credential with them."""

    name: str
    location: Location
    style: str
    explode: bool
    reserved: bool = False
    json: bool = False
    refused: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        return f"{self.location}.{self.name}"


def text_of(value: Any) -> str:
    """A value inside a style: text as it is, all else as JSON has it. A number without a fraction has no point."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return to_json(value).decode()


def encoded(text: str, safe: str = "") -> str:
    """Percent-encoded, all but letters, digits and `-._~`. Raises `ArgumentError` for what is no text."""
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise ArgumentError("has half of a surrogate pair, which is no character") from None


def in_path(parameter: Parameter, value: Any) -> str:
    """Raises `ArgumentError` for what leaves the place empty, which would be another path."""

    def piece(value: Any) -> str:
        text = text_of(value)
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise ArgumentError(f"{parameter.label}: control characters cannot be part of a path")
        return encoded(text)

    if value is None or value in ("", [], {}):
        raise ArgumentError(f"{parameter.label}: must not be empty")
    name, style, explode = encoded(parameter.name), parameter.style, parameter.explode
    if parameter.json:
        return piece(to_json(value).decode())
    if isinstance(value, dict):
        pairs = [(piece(key), piece(inner)) for key, inner in value.items()]
        values = [f"{key}={inner}" if explode else f"{key},{inner}" for key, inner in pairs]
    else:
        values = [piece(inner) for inner in (value if isinstance(value, list) else [value])]
    if style == "label":
        return "." + ("." if explode else ",").join(values)
    if style == "matrix":
        if isinstance(value, dict) and explode:
            return ";" + ";".join(values)
        return "".join(f";{name}={inner}" for inner in (values if explode else [",".join(values)]))
    if not all(values):
        raise ArgumentError(f"{parameter.label}: must not have empty parts")
    return ",".join(values)


def in_query(parameter: Parameter, value: Any) -> Iterator[str]:
    """Pieces `name=value` of a query. None is the bare name, as in the reference. Raises `ArgumentError`."""

    def piece(value: Any) -> str:
        return encoded(text_of(value), RESERVED if parameter.reserved else "")

    name = encoded(parameter.name)
    if parameter.json:
        yield f"{name}={encoded(to_json(value).decode())}"
    elif value is None:
        yield name
    elif parameter.style == "deepObject" and isinstance(value, dict | list):
        for key, inner in deep(value, parameter.name):
            yield f"{encoded(key)}={piece(inner)}"
    elif isinstance(value, dict):
        _refuse(parameter, value)
        if parameter.explode:
            yield from (f"{encoded(key)}={piece(inner)}" for key, inner in value.items())
        else:
            yield f"{name}={_separator(parameter).join(part for pair in _flat(value, piece) for part in pair)}"
    elif isinstance(value, list):
        if parameter.explode:
            yield from (f"{name}={piece(inner)}" for inner in value)
        else:
            yield f"{name}={_separator(parameter).join(map(piece, value))}"
    else:
        yield f"{name}={piece(value)}"


def in_header(parameter: Parameter, value: Any) -> str:
    """Raises `ArgumentError` for what a header cannot carry."""
    if parameter.json:
        text = json.dumps(value, separators=(",", ":"))  # unlike ours it is ASCII, as a header has to be
    elif isinstance(value, dict):
        sign = "=" if parameter.explode else ","
        text = ",".join(f"{key}{sign}{text_of(inner)}" for key, inner in value.items())
    elif isinstance(value, list):
        text = ",".join(map(text_of, value))
    else:
        text = text_of(value)
    if not is_value(text):
        raise ArgumentError(f"{parameter.label}: a header has no line breaks, control or non-Latin-1 characters")
    return text.strip()


def in_cookie(parameter: Parameter, value: Any) -> Iterator[str]:
    """Pieces `name=value` of a `Cookie` header; nothing of a value stays unencoded that could begin another one."""
    name = encoded(parameter.name)
    if parameter.json:
        yield f"{name}={encoded(to_json(value).decode())}"
    elif isinstance(value, dict):
        _refuse(parameter, value)
        pairs = list(_flat(value, lambda inner: encoded(text_of(inner))))
        if parameter.explode:
            yield from (f"{key}={inner}" for key, inner in pairs)
        else:
            yield f"{name}={','.join(part for pair in pairs for part in pair)}"
    elif isinstance(value, list):
        values = [encoded(text_of(inner)) for inner in value]
        yield from (f"{name}={inner}" for inner in (values if parameter.explode else [",".join(values)]))
    else:
        yield f"{name}={encoded(text_of(value))}"


def deep(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """`name[key][inner]` and its value, for each value in an object."""
    pairs = value.items() if isinstance(value, dict) else ((str(index), inner) for index, inner in enumerate(value))
    for key, inner in pairs:
        if isinstance(inner, dict | list):
            yield from deep(inner, f"{name}[{key}]")
        else:
            yield f"{name}[{key}]", inner


def _flat(value: dict[str, Any], piece: Callable[[Any], str]) -> Iterator[tuple[str, str]]:
    return ((encoded(key), piece(inner)) for key, inner in value.items())


def _separator(parameter: Parameter) -> str:
    return {"spaceDelimited": "%20", "pipeDelimited": "%7C"}.get(parameter.style, ",")


def _refuse(parameter: Parameter, value: dict[str, Any]) -> None:
    if parameter.explode:
        for key in value:
            if key.lower() in parameter.refused:
                raise ArgumentError(f"{parameter.label}: {key!r} is not for callers to set")


def read_parameter(given: dict[str, Any], refused: frozenset[str], where: str) -> Parameter:
    """What the document says of a parameter. Raises `DocumentError`."""
    name, place = given.get("name"), given.get("in")
    if not isinstance(name, str) or not name or place not in STYLES:
        raise DocumentError(f"{where}: a parameter has a `name`, and `in` one of path, query, header, cookie")
    styles = STYLES[place]
    style = given.get("style", styles[0])
    if style not in styles:
        raise DocumentError(f"{where}: a parameter in the {place} has no style {str(style)[:40]!r}")
    explode = given.get("explode", style in ("form", "deepObject")) is True
    location = cast(Location, place)
    return Parameter(name, location, style, explode, given.get("allowReserved") is True, "content" in given, refused)
