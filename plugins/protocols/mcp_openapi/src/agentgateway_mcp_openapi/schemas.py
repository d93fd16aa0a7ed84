"""Schemas of a document as JSON Schema 2020-12, for tools.

A `$ref` stays one: what it leads to stands in the `$defs` of each tool that needs it, so that cycles cost nothing.
What is for answers only (`readOnly`), or for requests only in an answer, and what says nothing about a value (`xml`,
`discriminator`, `x-…`), is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from agentgateway_mcp_openapi.document import Document, DocumentError

Schema = dict[str, Any]

MAPS = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"))
LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
SINGLE = frozenset(
    (
        *("items", "additionalProperties", "not", "contains", "if", "then", "else", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties", "contentSchema"),
    )
)
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
"""Keywords whose schemas are about the very value that their own schema is about."""
LEFT_OUT = frozenset(("discriminator", "xml", "externalDocs", "$id", "$schema", "$comment", "readOnly", "writeOnly"))


class Schemas:
    """The schemas of one document, of requests or of `answers`, each translated once. Call `settle` when all have
    been."""

    def __init__(self, document: Document, *, answers: bool = False) -> None:
        self._document = document
        self._foreign = "writeOnly" if answers else "readOnly"
        self._names: dict[str, str] = {}  # by reference
        self._made: dict[str, Schema] = {}  # by name
        self._waiting: list[tuple[str, str]] = []

    def translate(self, schema: Any, where: str) -> Schema:
        """One schema, and everything that it refers to. Raises `DocumentError`."""
        made = self._schema(schema, where)
        while self._waiting:
            reference, name = self._waiting.pop()
            self._made[name] = self._schema(self._document.lookup(reference, where), reference)
        return made

    def settle(self) -> None:
        """Cut references that lead back to where they stand with no step into a value between: no check of one would
        ever end, and what is left says the same."""
        state: dict[str, int] = {}
        for name in self._names.values():
            self._cut(name, state)

    def closure(self, schemas: Iterable[Schema]) -> dict[str, Schema]:
        """The definitions that these schemas need, directly and by way of others, in a stable order."""
        needed: dict[str, Schema] = {}
        waiting = [name for schema in schemas for name in referred(schema)]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed[name] = self._made[name]
                waiting.extend(referred(self._made[name]))
        return dict(sorted(needed.items()))

    def all(self) -> dict[str, Schema]:
        """Every definition, by name."""
        return self._made

    def _cut(self, name: str, state: dict[str, int]) -> None:
        """Depth first, without recursion: chains of definitions may be long. 1: on the way here; 2: done."""
        if name in state:
            return
        state[name] = 1
        stack = [(name, iter(list(in_place(self._made[name]))))]
        while stack:
            current, parts = stack[-1]
            part = next(parts, None)
            if part is None:
                state[current] = 2
                stack.pop()
                continue
            follows = part["$ref"].removeprefix("#/$defs/")
            if state.get(follows) == 1:
                del part["$ref"]
            elif follows not in state:
                state[follows] = 1
                stack.append((follows, iter(list(in_place(self._made[follows])))))

    def _name(self, reference: str) -> str:
        if reference not in self._names:
            words = re.sub(r"[^A-Za-z0-9_.\-]+", "_", reference.rpartition("/")[2]) or "schema"
            name, number = words, 1
            while name in self._made:
                number += 1
                name = f"{words}_{number}"
            self._names[reference] = name
            self._made[name] = {}
            self._waiting.append((reference, name))
        return self._names[reference]

    def _schema(self, schema: Any, where: str) -> Schema:
        if schema is True:
            return {}
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, dict):
            raise DocumentError(f"{where}: a schema is an object")
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema, where)
        made = {
            key: self._keyword(key, value, f"{where}.{key}")
            for key, value in schema.items()
            if key not in LEFT_OUT and not key.startswith("x-")
        }
        if "properties" in made:
            _without(self._foreign, made, schema["properties"])
        return modern(made) if self._document.old else made

    def _reference(self, schema: Schema, where: str) -> Schema:
        reference = schema["$ref"]
        self._document.lookup(reference, where)
        made: Schema = {"$ref": f"#/$defs/{self._name(reference)}"}
        if self._document.old:  # there, what stands beside a reference counts for nothing
            described = schema.get("description")
            return {**made, "description": described} if isinstance(described, str) else made
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {**self._schema(beside, where), **made}

    def _keyword(self, key: str, value: Any, where: str) -> Any:
        if key in MAPS and isinstance(value, dict):
            return {name: self._schema(inner, f"{where}.{name}") for name, inner in value.items()}
        if key in LISTS and isinstance(value, list):
            return [self._schema(inner, f"{where}[{index}]") for index, inner in enumerate(value)]
        if key in SINGLE and isinstance(value, dict | bool):
            return value if isinstance(value, bool) else self._schema(value, where)
        return value


def _without(mark: str, made: Schema, given: dict[str, Any]) -> None:
    """Take out the properties that are marked as the other side's."""
    for name, inner in given.items():
        if isinstance(inner, dict) and inner.get(mark) is True:
            del made["properties"][name]
            if isinstance(made.get("required"), list) and name in made["required"]:
                made["required"] = [other for other in made["required"] if other != name]


def modern(schema: Schema) -> Schema:
    """A schema of OpenAPI 3.0 in the words of JSON Schema 2020-12 (https://spec.openapis.org/oas/v3.0.4#schema-object)."""
    nullable = schema.pop("nullable", False) is True
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool):
            strict = schema.pop(exclusive)
            if strict and bound in schema:
                schema[exclusive] = schema.pop(bound)
    if "example" in schema:
        schema["examples"] = [schema.pop("example")]
    if not nullable:
        return schema
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        return schema
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def parts_of(schema: Schema) -> Iterator[Schema]:
    """The schemas right inside a schema."""
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            yield from (inner for inner in value.values() if isinstance(inner, dict))
        elif key in LISTS and isinstance(value, list):
            yield from (inner for inner in value if isinstance(inner, dict))
        elif key in SINGLE and isinstance(value, dict):
            yield value


def everywhere(schema: Schema) -> Iterator[Schema]:
    """A schema and all those inside it."""
    waiting = [schema]
    for one in waiting:  # grows while it is walked
        yield one
        waiting.extend(parts_of(one))


def referred(schema: Schema) -> list[str]:
    """Names of the definitions that a schema refers to itself."""
    found = (one.get("$ref") for one in everywhere(schema))
    return [reference.removeprefix("#/$defs/") for reference in found if isinstance(reference, str)]


def in_place(schema: Schema) -> Iterator[Schema]:
    """Those parts of a schema that refer to another one for the very same value."""
    waiting = [schema]
    for one in waiting:  # grows while it is walked
        if isinstance(one.get("$ref"), str):
            yield one
        for key in IN_PLACE:
            inner = one.get(key)
            waiting.extend(part for part in (inner if isinstance(inner, list) else [inner]) if isinstance(part, dict))
        if isinstance(one.get("dependentSchemas"), dict):
            waiting.extend(part for part in one["dependentSchemas"].values() if isinstance(part, dict))
