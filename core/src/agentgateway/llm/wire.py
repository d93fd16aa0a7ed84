"""Reading JSON that somebody else wrote: small steps that check, and name the field when they refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Fate, Head, Json, Untranslatable

MOST = 1_000_000_000
LONGEST_MODEL = 512


def wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: expected {expected}", param=field)


def text(holder: Json, key: str, at: str) -> str:
    value = holder.get(key)
    if type(value) is not str:
        raise wrong(join(at, key), "a string")
    return value


def optional_text(holder: Json, key: str, at: str) -> str | None:
    value = holder.get(key)
    if value is not None and type(value) is not str:
        raise wrong(join(at, key), "a string")
    return value


def optional_flag(holder: Json, key: str, at: str) -> bool | None:
    value = holder.get(key)
    if value is not None and type(value) is not bool:
        raise wrong(join(at, key), "true or false")
    return value


def optional_number(holder: Json, key: str, at: str) -> float | None:
    value = holder.get(key)
    if value is not None and type(value) is not float and type(value) is not int:
        raise wrong(join(at, key), "a number")
    return value


def optional_count(holder: Json, key: str, at: str) -> int | None:
    """An integer from 0 to a billion."""
    value = holder.get(key)
    if value is not None and (type(value) is not int or not 0 <= value <= MOST):
        raise wrong(join(at, key), "a whole number")
    return value


def mapping(value: Any, at: str) -> Json:
    if type(value) is not dict:
        raise wrong(at, "an object")
    return value


def optional_mapping(holder: Json, key: str, at: str) -> Json | None:
    value = holder.get(key)
    return None if value is None else mapping(value, join(at, key))


def objects(value: Any, at: str) -> list[tuple[Json, str]]:
    """The objects of an array, each with its path. None counts as an empty array."""
    if value is None:
        return []
    if type(value) is not list:
        raise wrong(at, "an array")
    return [(mapping(item, f"{at}[{i}]"), f"{at}[{i}]") for i, item in enumerate(value)]


def texts(value: Any, at: str) -> tuple[str, ...]:
    if type(value) is not list or any(type(item) is not str for item in value):
        raise wrong(at, "an array of strings")
    return tuple(value)


def join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def check_fields(fields: Mapping[str, Fate], holder: Json, at: str = "", prefix: str = "") -> None:
    """Refuse what the canonical call cannot hold: fields that are listed so, and those nobody listed.

    Let through are null, and what says nothing (false, 0, empty) in a field that is known. Raises `Untranslatable`.
    """
    for key, value in holder.items():
        fate = fields.get(prefix + key)
        if (fate is None and value is not None) or (fate == "refused" and value):
            raise Untranslatable(join(at, key))


def known_keys(fields: Mapping[str, Fate], prefix: str = "") -> frozenset[str]:
    """The keys of one level of a table of fields; the prefix may stop at an open bracket, to mean any type."""
    rests = (name[len(prefix) :] for name in fields if name.startswith(prefix))
    if prefix.endswith("["):
        rests = (rest.partition("].")[2] for rest in rests)
    return frozenset(rest.partition(".")[0].partition("[")[0] for rest in rests) - {""}


def check_spelling(known: frozenset[str], holder: Json, at: str = "") -> None:
    """Refuse a key that differs from a known one only in case: some parsers (Go's) take them for the same."""
    if known.issuperset(holder):
        return
    for key in holder:
        if key not in known and key.lower() in known:
            raise InvalidRequest(f"{join(at, key)}: is spelled `{key.lower()}`", param=join(at, key))


def check_head(document: Json, known: frozenset[str], counts: Iterable[str]) -> Head:
    """Model, `stream`, and limits, for dialects that have them at the top. Raises `InvalidRequest`."""
    if not known.issuperset(document):
        check_spelling(known, document)
    model, stream = document.get("model"), document.get("stream")
    if model is None or model == "":
        raise InvalidRequest("model: is missing", code="missing_model", param="model")
    if type(model) is not str or len(model) > LONGEST_MODEL:
        raise wrong("model", "the name of a model")
    if type(stream) is not bool and stream is not None:
        raise wrong("stream", "true or false")
    for key in counts:
        if key in document:
            optional_count(document, key, "")
    return Head(model, stream is True)


def check_messages(document: Json, known: frozenset[str], known_in_parts: frozenset[str]) -> Sequence[Any]:
    """The shapes that guards rely on: who speaks, and content that is a text or a list of objects. Returns the messages
    if each is a role and a text and nothing else (`Head.flat`)."""
    messages = document.get("messages")
    if type(messages) is not list:
        raise wrong("messages", "an array")
    flat: Sequence[Any] = messages
    for i, message in enumerate(messages):
        if type(message) is not dict or type(message.get("role")) is not str:
            raise wrong(f"messages[{i}]", "an object with a role")
        content = message.get("content")
        if type(content) is str and len(message) == 2:
            continue
        flat = ()
        if not known.issuperset(message):
            check_spelling(known, message, f"messages[{i}]")
        if type(content) is not str and content is not None:
            _check_parts(content, known_in_parts, f"messages[{i}].content")
    return flat


def _check_parts(parts: Any, known: frozenset[str], at: str) -> None:
    if type(parts) is not list:
        raise wrong(at, "a string or an array")
    for i, part in enumerate(parts):
        if type(part) is not dict:
            raise wrong(f"{at}[{i}]", "an object")
        if not known.issuperset(part):
            check_spelling(known, part, f"{at}[{i}]")


def amount(fields: Json, key: str) -> int:
    """That counter when it is a whole number above zero, else 0."""
    value = fields.get(key)
    return value if type(value) is int and value > 0 else 0


def error_object(body: bytes) -> Json:
    """The object under `error`, or the whole body where a vendor puts its words there; empty for anything else."""
    try:
        document = from_json(body)
    except ValueError:
        return {}
    if type(document) is list and document:  # Google answers with an array of one
        document = document[0]
    if type(document) is not dict:
        return {}
    error = document.get("error", document)
    if type(error) is str:
        return {"message": error}
    return error if type(error) is dict else {}


def error_word(error: Json, key: str) -> str | None:
    value = error.get(key)
    if type(value) is int:
        return str(value)
    return value[:10_000] if type(value) is str and value else None
