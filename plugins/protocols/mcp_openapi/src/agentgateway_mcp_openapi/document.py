"""Reading an OpenAPI document: JSON or YAML text to plain data, and references inside it.

Nothing is fetched: a reference that leads outside of the document is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Values of one document, those that YAML aliases repeat counted again."""
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
"""In the order in which a path's operations are listed. `trace` would show what the gateway adds to a request."""


class DocumentError(ValueError):
    """The document cannot be used. The message says where in it, and quotes names only."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a version that is understood. `old` is 3.0, whose schemas are not JSON Schema yet."""

    root: dict[str, Any]
    old: bool

    def lookup(self, reference: str, where: str) -> Any:
        """What a local `$ref` (`#/components/…`, RFC 6901) leads to. Raises `DocumentError`."""
        if not reference.startswith("#/"):
            hint = "only references inside the document are followed, nothing is fetched: bundle it into one file"
            raise DocumentError(f"{where}: $ref {reference[:200]!r} leads outside of the document ({hint})")
        found: Any = self.root
        for token in unquote(reference[2:]).split("/"):
            token = token.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and token in found:
                found = found[token]
            elif isinstance(found, list) and token.isdecimal() and int(token[:9]) < len(found):
                found = found[int(token)]
            else:
                raise DocumentError(f"{where}: $ref {reference[:200]!r} leads nowhere")
        return found

    def resolved(self, value: Any, where: str) -> dict[str, Any]:
        """An object, whether it stands here or behind a reference. Raises `DocumentError`."""
        seen: set[str] = set()
        while isinstance(value, dict) and isinstance(value.get("$ref"), str):
            reference = value["$ref"]
            if reference in seen:
                raise DocumentError(f"{where}: $ref {reference[:200]!r} leads back to itself")
            seen.add(reference)
            value = self.lookup(reference, where)
        if not isinstance(value, dict):
            raise DocumentError(f"{where}: expected an object")
        return value

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        """Path, method, the path's item and the operation, in the document's order."""
        paths = self.root.get("paths", {})
        if not isinstance(paths, dict):
            raise DocumentError("paths: expected an object")
        for path, item in paths.items():
            if path.startswith("x-"):
                continue
            if not path.startswith("/"):
                raise DocumentError(f"paths: {path[:200]!r} does not begin with /")
            item = self.resolved(item, f"paths.{path}")
            for method in METHODS:
                if method in item:
                    yield path, method, item, self.resolved(item[method], f"paths.{path}.{method}")


def read(text: str) -> Document:
    """Raises `DocumentError`."""
    root = _parse(text)
    if not isinstance(root, dict):
        raise DocumentError("not an OpenAPI document: expected an object")
    if "swagger" in root:
        raise DocumentError("this is Swagger 2.0, and OpenAPI 3.0 or 3.1 is expected: convert the document")
    found = re.fullmatch(r"3\.([01])(\.\d+)?(-.*)?", str(root.get("openapi")))  # YAML has 3.1 as a number
    if found is None:
        raise DocumentError("not an OpenAPI document of version 3.0 or 3.1: see its key `openapi`")
    return Document(root, found[1] == "0")


def _parse(text: str) -> Any:
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        try:
            return _plain(from_json(text.lstrip("\ufeff"), allow_inf_nan=False))
        except ValueError as error:
            if isinstance(error, DocumentError):
                raise
            # flow mappings of YAML begin with a brace, too
            if not text.lstrip("\ufeff \t\r\n{").startswith('"'):
                return _plain(_yaml(text))
            raise DocumentError(f"the document is no JSON: {error}") from None
    return _plain(_yaml(text))


def _yaml(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Plain(SafeConstructor):
        """Dates stay text: JSON has none."""

    Plain.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
    loader = YAML(typ="safe", pure=True)
    loader.Constructor = Plain
    try:
        return loader.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" on line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or type(error).__name__
        raise DocumentError(f"the document is no YAML{line}: {str(what)[:200]}") from None
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the document is no YAML: {type(error).__name__}") from None


def _plain(value: Any) -> Any:
    """The same as JSON would have it: keys are text, and nothing is shared."""
    left = MAX_VALUES

    def copy(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise DocumentError(f"the document has more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise DocumentError(f"the document is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            return {_key(key): copy(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list):
            return [copy(inner, depth + 1) for inner in value]
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise DocumentError(f"the document has a value that JSON has not: {type(value).__name__}")

    return copy(value, 0)


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise DocumentError("the document has a key that is no text")
