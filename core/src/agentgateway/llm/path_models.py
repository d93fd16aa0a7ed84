"""Models that a path names, whatever stands in the body: vendors who have them there look nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from agentgateway.errors import InvalidRequest

_SLASH = r"(?:[/\\]|%2f|%5c)"
_NAMED = re.compile(rf"{_SLASH}(models?|tunedModels|deployments)(?:;[^/]*)?{_SLASH}+([^/\\]+)", re.I)
"""Google's, Bedrock's and Azure's folders, as loosely as a server could read them."""
_WITH_METHOD = frozenset(("models", "tunedmodels"))
"""Folders where a method follows behind a colon. At the others it belongs to the name."""


def models_in(path: str) -> Iterator[str]:
    for folder, name in _NAMED.findall(path):
        yield unquote(name.partition(":")[0] if folder.lower() in _WITH_METHOD else name)


def insist_on_model(path: str, model: str) -> None:
    """Refuse a path that names another model than the one that was asked about. Raises `InvalidRequest`."""
    asked = model.removeprefix("models/").removeprefix("tunedModels/")
    if any(name != asked for name in models_in(path)):
        raise InvalidRequest("model: is not the one in the path", param="model")
