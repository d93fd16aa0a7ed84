"""A value that fits a JSON Schema, the same one each time (https://json-schema.org/draft/2020-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEP = 4
_MOST_VALUES = 5_000
_MOST_ITEMS = 100
_LONGEST = 10_000
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

Schema = Mapping[str, Any]


class UnusableSchema(ValueError):
    """No value can be made: the schema is malformed, or asks for too much."""


def example(schema: Any, name: str = "text") -> Any:
    """A value for that schema. Strings say the `name` of the property they stand in, where nothing else is asked.

    Honours const, enum, default, examples, references inside the document, allOf, anyOf, oneOf, properties, items and
    the bounds of numbers, strings and arrays; ignores `pattern`, `not` and conditions. Raises `UnusableSchema`.
    """
    try:
        return _Writer(schema if isinstance(schema, Mapping) else {}).value(schema, name, 0)
    except (TypeError, AttributeError, KeyError, IndexError, ArithmeticError) as error:
        raise UnusableSchema("malformed") from error


class _Writer:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = _MOST_VALUES

    def value(self, schema: Any, name: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > 32:
            raise UnusableSchema("it has no end, or asks for thousands of values")
        if not isinstance(schema, Mapping):
            return name
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        for key in ("enum", "examples"):
            if schema.get(key):
                return schema[key][0]
        if "default" in schema:
            return schema["default"]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.value(_simplest(schema[key], depth), name, depth + 1)
        return self._typed(schema, name, depth)

    def _resolved(self, schema: Schema) -> Schema:
        """Follow `$ref` and merge `allOf`."""
        for _ in range(_DEEP):
            if "$ref" not in schema:
                break
            schema = {**_pointed(schema["$ref"], self._root), **{k: v for k, v in schema.items() if k != "$ref"}}
        for part in schema.get("allOf", ()):
            part = _pointed(part["$ref"], self._root) if "$ref" in part else part
            properties = {**schema.get("properties", {}), **part.get("properties", {})}
            schema = {**part, **schema, **({"properties": properties} if properties else {})}
        return schema

    def _typed(self, schema: Schema, name: str, depth: int) -> Any:
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return int(_number(schema))
            case "number":
                return _number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _string(schema, name)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        """All properties near the root, only the required ones further down, where a schema may refer to itself."""
        properties = schema.get("properties", {})
        if depth >= _DEEP:
            properties = {key: properties.get(key) for key in schema.get("required", ())}
        return {key: self.value(value, key, depth + 1) for key, value in properties.items()}

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        size = max(schema.get("minItems", 0), 1 if depth < _DEEP else 0)
        size = min(size, schema.get("maxItems", size), _MOST_ITEMS)
        return [self.value(schema.get("items"), name, depth + 1) for _ in range(size)]


def _pointed(reference: str, root: Schema) -> Schema:
    """What a reference of the form `#/$defs/name` points to."""
    found: Any = root
    for step in filter(None, reference.removeprefix("#").split("/")):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found if isinstance(found, Mapping) else {}


def _simplest(choices: Any, depth: int) -> Any:
    """The first choice; further down null where it is one, so that recursive schemas end."""
    null = [choice for choice in choices if isinstance(choice, Mapping) and choice.get("type") == "null"]
    return null[0] if null and depth >= _DEEP else choices[0]


def _kind(schema: Schema) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((each for each in kind if each != "null"), "null")
    return kind or ("object" if "properties" in schema else "array" if "items" in schema else "string")


def _number(schema: Schema) -> float:
    """The smallest multiple of the step that the bounds allow, else the largest, else what lies between the bounds."""
    step = schema.get("multipleOf", 1)
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    floor = low if low is not None else above
    ceiling = high if high is not None else below
    value: float = step
    if floor is not None:
        value = -(-floor // step) * step
        value += step if value == above else 0
    elif ceiling is not None and step >= ceiling:
        value = ceiling // step * step
        value -= step if value == below else 0
    if floor is not None and ceiling is not None and (value > ceiling or value == below):
        return float(floor + ceiling) / 2
    return value


def _string(schema: Schema, name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""), name)
    text = text.ljust(min(schema.get("minLength", 0), _LONGEST), ".")
    return text[: schema.get("maxLength", len(text))]
