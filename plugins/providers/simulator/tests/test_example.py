from typing import Any

import pytest
from agentgateway_simulator.example import UnusableSchema, example

TREE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["value", "next", "children"],
        }
    },
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"city": {"type": "string"}}}, {"city": "city"}),
        ({"properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}}, {"a": True, "b": None}),
        ({"const": 7, "type": "string"}, 7),
        ({"enum": ["celsius", "fahrenheit"]}, "celsius"),
        ({"type": "string", "default": "x"}, "x"),
        ({"type": "string", "examples": ["e"]}, "e"),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00Z"),
        ({"type": "string", "minLength": 6}, "text.."),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "exclusiveMaximum": 1}, 0),
        ({"type": "integer", "minimum": 10, "multipleOf": 4}, 12),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "minimum": 0.25, "maximum": 0.75}, 0.5),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
        ({"items": {"enum": ["a"]}}, ["a"]),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({}, "text"),
        (True, "text"),
        (None, "text"),
    ],
)
def test_a_value_fits_its_schema(schema: Any, value: object) -> None:
    assert example(schema) == value


def test_recursive_schemas_end() -> None:
    value = example(TREE)
    depth = 0
    while value is not None:
        assert isinstance(value["value"], int) and isinstance(value["children"], list)
        value, depth = value["next"], depth + 1
    assert depth > 1


def test_it_is_the_same_each_time() -> None:
    assert example(TREE) == example(TREE)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": 5},
        {"type": "array", "minItems": "many"},
        {"anyOf": 3},
        {"$ref": "#/$defs/Nowhere"},
        {"type": "number", "multipleOf": 0, "minimum": 1},
        {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}}},
        {"type": "object", "required": 3, "properties": {"a": {"allOf": [3]}}},
    ],
)
def test_a_schema_without_end_or_sense_is_refused(schema: Any) -> None:
    with pytest.raises(UnusableSchema):
        example(schema)


def test_a_huge_array_stays_small() -> None:
    assert len(example({"type": "array", "minItems": 10**9, "items": {"type": "integer"}})) == 100
