"""Arguments against a tool's input schema (JSON Schema 2020-12). Loads jsonschema, some 100 ms: only who has a target
of this kind imports this.

Patterns are a document's, texts a model's: they are matched by RE2, in linear time. A pattern that RE2 has not
(look-around) is left to the API to check. References that branch can ask for any number of steps, of each level of a
value again: a check has a budget of them, since the event loop waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend
from pydantic_core import to_json

from agentgateway_mcp_openapi.budget import STEPS, STEPS_BESIDE, Budget, Spent, all_differ
from agentgateway_mcp_openapi.document import DocumentError
from agentgateway_mcp_openapi.operations import Check
from agentgateway_mcp_openapi.schemas import LISTS, MAPS, SINGLE, Schema, everywhere

MOST = 8
"""Errors that are told at a time."""
LONGEST = 300
"""Characters of one: messages quote values."""

WORDS = frozenset(("description", "title", "default", "examples", "example", "deprecated"))
NO_FORMATS = FormatChecker(formats=())


def check_schema(schema: Schema, where: str, seen: set[bytes]) -> None:
    """That a schema is one, whatever its patterns are. Raises `DocumentError`.

    To check one takes milliseconds, and a large document has tens of thousands: each is checked alone, without those
    inside it and without its words, and only if none like it has been `seen`.
    """
    for one in everywhere(schema):
        bare = {key: outline(key, value) for key, value in one.items() if key not in WORDS}
        text = to_json(bare)
        if text not in seen:
            try:
                Draft202012Validator.check_schema(bare, format_checker=NO_FORMATS)
            except SchemaError:
                refuse(schema, where)
            seen.add(text)


def outline(key: str, value: Any) -> Any:
    if key in MAPS and isinstance(value, dict):
        return {}
    if key in LISTS and isinstance(value, list) and value:
        return [True]
    return True if key in SINGLE and isinstance(value, dict) else value


def refuse(schema: Schema, where: str) -> None:
    """Say what is wrong with a schema, and where in it."""
    try:
        Draft202012Validator.check_schema(schema, format_checker=NO_FORMATS)
    except SchemaError as error:
        place = ".".join(map(str, [where, *error.absolute_path]))
        raise DocumentError(f"{place}: not a schema: {error.message[:LONGEST]}") from None


def patterns_in(schemas: Iterable[Schema]) -> dict[str, Any]:
    """Every regular expression of the schemas that RE2 can match, compiled."""
    re2: Any = import_module("re2")  # it has no types
    options = re2.Options()
    options.log_errors = False
    found: dict[str, Any] = {}
    for schema in schemas:
        for one in everywhere(schema):
            keys = one.get("patternProperties")
            for text in [one.get("pattern"), *(keys if isinstance(keys, dict) else ())]:
                if isinstance(text, str) and text not in found:
                    try:
                        found[text] = re2.compile(text, options=options)
                    except re2.error:
                        found[text] = None
    return found


def checking(patterns: Mapping[str, Any]) -> Callable[..., Check]:
    """What makes a check of a schema, with these patterns; `about` is what the whole of a value is called."""

    def fits(text: str, value: str) -> bool:
        compiled = patterns.get(text)
        return compiled is None or compiled.search(value.encode("utf-8", "replace")) is not None

    def pattern(_: Any, text: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not fits(text, instance):
            yield ValidationError(f"{instance!r} does not match {text!r}")

    def properties(validator: Any, keyed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for text, inner in keyed.items():
                for key, value in instance.items():
                    if patterns.get(text) is not None and fits(text, key):
                        yield from validator.descend(value, inner, path=key, schema_path=text)

    def others(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, dict):
            return
        known, keyed = schema.get("properties", {}), schema.get("patternProperties", {})
        extra = [key for key in instance if key not in known and not any(fits(text, key) for text in keyed)]
        if isinstance(allowed, dict):
            for key in extra:
                yield from validator.descend(instance[key], allowed, path=key)
        elif allowed is False and extra:
            names = ", ".join(sorted(known)) or "none"
            yield ValidationError(f"unknown: {', '.join(map(repr, extra))} (known: {names})")

    def unevaluated(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not keyed_by_pattern:
            budget.spend_on_unevaluated(validator, instance, schema)
            yield from Draft202012Validator.VALIDATORS["unevaluatedProperties"](validator, allowed, instance, schema)

    def unevaluated_items(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        budget.spend_on_unevaluated(validator, instance, schema)
        yield from Draft202012Validator.VALIDATORS["unevaluatedItems"](validator, allowed, instance, schema)

    def unique(_: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if wanted and isinstance(instance, list) and not all_differ(instance):
            yield ValidationError("two items are the same")

    keyed_by_pattern = False
    budget = Budget()
    own = {
        "pattern": pattern,
        "patternProperties": properties,
        "additionalProperties": others,
        "unevaluatedProperties": unevaluated,
        "unevaluatedItems": unevaluated_items,
        "uniqueItems": unique,
    }
    every = {**Draft202012Validator.VALIDATORS, **own}
    kind = extend(Draft202012Validator, {word: budget.counted(word, found) for word, found in every.items()})

    def check_of(schema: Schema, about: str = "arguments") -> Check:
        nonlocal keyed_by_pattern
        keyed_by_pattern = keyed_by_pattern or any("patternProperties" in one for one in everywhere(schema))
        validator = kind(schema)

        def check(instance: Any, beside: bool = False) -> str:
            budget.renew(STEPS_BESIDE if beside else STEPS)
            try:
                return "\n".join(told(one, about) for one in islice(validator.iter_errors(instance), MOST))
            except Spent:
                return f"{about}: too much to check against the schema of the document"
            except (RecursionError, OverflowError):
                return f"{about}: nested too deeply, or a number too large"

        return check

    return check_of


def told(error: ValidationError, about: str) -> str:
    best = best_match(iter([error])) or error
    text = f"{'.'.join(map(str, best.absolute_path)) or about}: {best.message}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"
