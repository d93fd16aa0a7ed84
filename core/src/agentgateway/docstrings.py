"""The docstrings below the fields of configuration models, which are their descriptions in the JSON Schema."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields, by key.

    Pydantic's own `use_attribute_docstrings` reads the source when the class is made, 2 ms each at every start.
    """
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        found |= _described(owner.__module__).get(owner.__qualname__, {})
    return {field.alias or name: found[name] for name, field in model.model_fields.items() if name in found}


@cache
def _described(module: str) -> dict[str, dict[str, str]]:
    """The docstrings below the fields of every class of a module, by its qualified name."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, SyntaxError, TypeError):  # no source, as in a REPL
        return {}
    return {name: _of_fields(one) for name, one in _classes(tree, "")}


def _classes(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in ast.iter_child_nodes(tree):
        inside = prefix
        if isinstance(node, ast.ClassDef):
            yield f"{prefix}{node.name}", node
            inside = f"{prefix}{node.name}."
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = f"{prefix}{node.name}.<locals>."
        yield from _classes(node, inside)


def _of_fields(one: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement, following in pairwise(one.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
    return found
