"""Pydantic's view of what is wrong, said in the terms of the configuration file: file, line, key path, hint."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

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
}


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
        errors = [_config_error(detail, model, data, document, at) for detail in details]
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
    context = detail.get("ctx", {})
    message = _MESSAGES.get(kind) or detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    hint = str(context.get("hint", ""))
    if kind == "union_tag_invalid":  # pydantic's own sentence quotes the tag
        message = f"expected one of {context['expected_tags']}"
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
    owners = [model]
    for key in location:
        fields = [field for owner in owners for name, field in owner.model_fields.items() if key in (name, field.alias)]
        owners = [inner for field in fields for inner in _models(field.annotation)] or owners
        owners = [owner for owner in owners if owner.__name__ == key] or owners  # a union's branch
    return {field.alias or name for owner in owners for name, field in owner.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside `X | None`, `list[X]`, `dict[str, X]`, `Annotated[X, …]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None or isinstance(annotation, UnionType):
        for argument in get_args(annotation):
            yield from _models(argument)
