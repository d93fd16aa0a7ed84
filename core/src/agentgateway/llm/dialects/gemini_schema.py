"""Google's own form of schemas, a part of OpenAPI 3.0, as JSON Schema: https://ai.google.dev/api/caching#Schema"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentgateway.llm.calls import Json
from agentgateway.llm.wire import mapping, wrong

_NAMES: Mapping[str, str] = {
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
    "max_items": "maxItems",
    "max_length": "maxLength",
    "max_properties": "maxProperties",
    "min_items": "minItems",
    "min_length": "minLength",
    "min_properties": "minProperties",
    "property_ordering": "propertyOrdering",
    "ref": "$ref",
    "defs": "$defs",
}
_COUNTS = frozenset(("maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"))
_TYPES = frozenset(("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"))


def json_schema(schema: Any, at: str) -> Json:
    """Types in lower case, `nullable` as a type, counts as numbers; `propertyOrdering`, a hint, is left out. What is
    JSON Schema already stays. Raises `InvalidRequest`."""
    made: Json = {}
    nullable = False
    for key, value in mapping(schema, at).items():
        name = _NAMES.get(key, key)
        if value is None or name == "propertyOrdering":
            continue
        if name == "nullable":
            nullable = value is True
        elif name == "example":
            made["examples"] = [value]
        elif name in _COUNTS:
            made[name] = int(value) if isinstance(value, str) and value.isdecimal() else value
        elif name != "type" or value != "TYPE_UNSPECIFIED":
            made[name] = _inner(name, value, f"{at}.{key}")
    return _or_null(made) if nullable else made


def _inner(name: str, value: Any, at: str) -> Any:
    match name:
        case "type":
            if isinstance(value, str):
                return value.lower() if value in _TYPES else value
            return value
        case "items":
            return json_schema(value, at)
        case "additionalProperties":
            return value if isinstance(value, bool) else json_schema(value, at)
        case "properties" | "$defs":
            return {key: json_schema(each, f"{at}.{key}") for key, each in mapping(value, at).items()}
        case "anyOf":
            if not isinstance(value, list):
                raise wrong(at, "an array")
            return [json_schema(each, f"{at}[{i}]") for i, each in enumerate(value)]
        case _:
            return value


def _or_null(schema: Json) -> Json:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
