"""Pydantic's view of what is wrong, said in the terms of the configuration file: file, line, key path, hint."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from agentgateway._host.branches import told_once
from agentgateway.errors import ConfigError, ConfigErrors

if TYPE_CHECKING:
    from agentgateway._host.load import Document

Model = TypeVar("Model", bound=BaseModel)

_MESSAGES = {
    "missing": "required key is missing",
    "extra_forbidden": "unknown key",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "set_type": "expected a list",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "expected {expected}",
    "union_tag_invalid": "expected one of {expected_tags}",
    "union_tag_not_found": "the key {discriminator} is missing",
    "string_pattern_mismatch": "not written in the form that is needed here",
}
"""By pydantic's kind of error; in braces, what it knows of it. Never a pattern: nobody should have to read one."""
_UNCLEAR = frozenset(("string_pattern_mismatch", "too_short", "too_long"))
"""Kinds whose message says little without the field's own words."""


def validate(
    model: type[Model],
    data: Any,
    document: "Document",
    at: Sequence[str | int] = (),
    context: Mapping[str, Any] | None = None,
) -> Model:
    """The model's instance of `data`, which stands at `at` in the document.

    Keys are read by alias only. The validation context has `folder` and `files` besides what `context` adds. Raises
    ConfigError, or ConfigErrors for several. None has an offending value, if the messages of validators have none.
    """
    known = {"folder": document.folder, "files": document.files}
    try:
        return model.model_validate(data, by_alias=True, by_name=False, context={**known, **(context or {})})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        errors = told_once([_config_error(detail, model, data, document, at) for detail in details])
    except ConfigError as error:
        errors = [_located(one, document, at) for one in getattr(error, "errors", [error])]
    unique = list({str(error): error for error in errors}.values())
    raise unique[0] if len(unique) == 1 else ConfigErrors(unique)


def _located(error: ConfigError, document: "Document", at: Sequence[str | int]) -> ConfigError:
    """What a validator raised itself, with a path of its own or none."""
    if error.file:
        return error
    placed = document.error(at, error.message, error.hint)
    placed.path = ".".join(part for part in (placed.path, error.path) if part)
    return placed


def _config_error(
    detail: ErrorDetails, model: type[BaseModel], data: Any, document: "Document", at: Sequence[str | int]
) -> ConfigError:
    kind, place = detail["type"], _place(detail, data)
    context = {key: _plain(value) for key, value in detail.get("ctx", {}).items()}
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind in _MESSAGES:
        message = _singular(_MESSAGES[kind].format_map(context))
    hint = str(context.get("hint", ""))
    if kind in _UNCLEAR:
        hint = hint or _own_words(model, detail["loc"])
    elif kind == "extra_forbidden":
        hint = _known_keys(str(detail["loc"][-1]), sorted(_keys(model, detail["loc"][:-1])))
    elif kind == "string_type" and isinstance(_value(data, place), int | float):
        hint = "quote it"
    return document.error([*at, *place], message, hint)


def _place(detail: ErrorDetails, data: Any) -> list[str | int]:
    """The location without what is no key of the data: names of union branches and the like."""
    place: list[str | int] = []
    for key in detail["loc"]:
        if _has(data, key):
            data = data[key]
            place.append(key)
    if detail["type"] == "missing":
        place.append(detail["loc"][-1])
    return place


def _has(data: Any, key: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(key, int) and 0 <= key < len(data)
    return isinstance(data, dict) and key in data


def _value(data: Any, place: Sequence[str | int]) -> Any:
    for key in place:
        data = data[key] if _has(data, key) else None
    return data


def _known_keys(unknown: str, keys: Sequence[str]) -> str:
    close = get_close_matches(unknown, keys, n=1)
    close = close or [key for key in keys if key.lower() == unknown.replace("_", "").lower()]
    if close:
        return f"did you mean {close[0]}?"
    return "known keys: " + ", ".join(keys) if 0 < len(keys) <= 12 else ""


def _keys(model: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """The keys a model, or the models it holds at `location`, would have known."""
    owners, _ = _reached(model, location)
    return {field.alias or name for owner in owners for name, field in owner.model_fields.items()}


def _own_words(model: type[BaseModel], location: Sequence[str | int]) -> str:
    """What the last field on the way says of itself: examples, else its description."""
    from agentgateway.docstrings import descriptions

    _, field = _reached(model, location)
    if field is None:
        return ""
    owner, key = field
    described = owner.model_fields[key]
    examples = next(_examples(described), None)
    if examples:
        return "write it like " + " or ".join(map(str, examples))
    return " ".join(descriptions(owner).get(described.alias or key, "").split())


def _reached(
    model: type[BaseModel], location: Sequence[str | int]
) -> tuple[list[type[BaseModel]], tuple[type[BaseModel], str] | None]:
    """The models that stand at `location`, and the last field on the way there, with its owner."""
    owners, last = [model], None
    for key in location:
        found = [
            (owner, name)
            for owner in owners
            for name, field in owner.model_fields.items()
            if key in (name, field.alias)
        ]
        last = found[0] if found else last
        fields = [owner.model_fields[name] for owner, name in found]
        owners = [inner for field in fields for inner in _models(field.annotation)] or owners
        owners = [owner for owner in owners if owner.__name__ == key] or owners  # a union's branch
    return owners, last


def _examples(annotation: Any) -> Iterator[list[Any]]:
    """Those of a field, or of what is inside its annotation."""
    if isinstance(annotation, FieldInfo):
        if annotation.examples:
            yield annotation.examples
        yield from _examples(annotation.annotation)
    for inner in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        yield from _examples(inner)


def _singular(text: str) -> str:
    return (
        text.replace("1 entries", "1 entry")
        if text.endswith(" 1 entries")
        else text.replace(" 1 characters", " 1 character")
    )


def _plain(value: Any) -> Any:
    """A limit as people write it: `0`, not `0.0`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside `X | None`, `list[X]`, `dict[str, X]`, `Annotated[X, …]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None or isinstance(annotation, UnionType):
        for argument in get_args(annotation):
            yield from _models(argument)
