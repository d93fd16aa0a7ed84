"""JSON, base64, percent and form encoding, digests."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from pydantic_core import from_json

from agentgateway.expressions.errors import ExpressionError, MissingError
from agentgateway.expressions.library.conversions import to_string
from agentgateway.expressions.library.function import Function, function, octets, text
from agentgateway.expressions.values import kind, no_overload


def parse_json(value: Any) -> Any:
    try:
        return from_json(octets("json", value), allow_inf_nan=False)
    except ValueError:
        raise ExpressionError("json(): not JSON") from None


def json_field(value: Any, name: Any) -> Any:
    parsed, key = parse_json(value), text("jsonField", name)
    if not isinstance(parsed, dict):
        raise no_overload("jsonField", parsed)
    if key not in parsed:
        raise MissingError()
    return parsed[key]


def to_json(value: Any) -> str:
    """Compact JSON: bytes as base64, timestamps and durations as protobuf writes them."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_jsonable)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return to_string(value)


def jwt_payload(token: Any) -> Any:
    """The claims of a JSON web token, signature unchecked."""
    parts = text("unvalidatedJwtPayload", token).split(".")
    if len(parts) != 3:
        raise ExpressionError("unvalidatedJwtPayload(): not a token")
    return parse_json(base64.b64decode(_padded(parts[1].encode()), altchars=b"-_", validate=True))


def _padded(encoded: bytes) -> bytes:
    return encoded + b"=" * (-len(encoded) % 4)


def base64_encode(value: Any) -> str:
    return base64.b64encode(octets("base64.encode", value)).decode()


def base64_decode(value: Any) -> bytes:
    """Padding may be left out."""
    return base64.b64decode(_padded(octets("base64.decode", value)), validate=True)


def url_encode(value: Any) -> str:
    return quote(octets("url.encode", value), safe="")


def url_decode(value: Any) -> str:
    return unquote_to_bytes(text("url.decode", value)).decode()


def form_encode(value: Any) -> str:
    """A map of strings, or of lists of strings, to `application/x-www-form-urlencoded`."""
    if kind(value) != "map":
        raise no_overload("form.encode", value)
    pairs = [(key, part) for key, parts in value.items() for part in (parts if kind(parts) == "list" else [parts])]
    return urlencode([(text("form.encode", key), to_string(part)) for key, part in pairs])


def form_decode(value: Any) -> dict[str, Any]:
    """A repeated key gives a list."""
    decoded: dict[str, Any] = {}
    pairs = parse_qsl(text("form.decode", value), keep_blank_values=True, errors="strict")
    for key, part in pairs:
        if key not in decoded:
            decoded[key] = part
        elif isinstance(decoded[key], list):
            decoded[key].append(part)
        else:
            decoded[key] = [decoded[key], part]
    return decoded


def _digest(name: str, algorithm: str) -> Function:
    def digest(value: Any) -> str:
        return hashlib.new(algorithm, octets(name, value), usedforsecurity=False).hexdigest()

    return function(name, digest, 1)


FUNCTIONS: tuple[Function, ...] = (
    function("json", parse_json, 1),
    function("jsonField", json_field, 2),
    function("toJson", to_json, 1),
    function("to_json", to_json, 1),
    function("unvalidatedJwtPayload", jwt_payload, 1),
    function("base64.encode", base64_encode, 1),
    function("base64.decode", base64_decode, 1),
    function("base64Encode", base64_encode, 1),
    function("base64Decode", base64_decode, 1),
    function("url.encode", url_encode, 1),
    function("url.decode", url_decode, 1),
    function("form.encode", form_encode, 1),
    function("form.decode", form_decode, 1),
    _digest("sha1.encode", "sha1"),
    _digest("sha256.encode", "sha256"),
    _digest("md5.encode", "md5"),
)
