"""Anthropic's messages as Vertex AI takes them: the model stands in the path, the version in the body.

https://docs.anthropic.com/en/api/claude-on-vertex-ai
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Json
from agentgateway.llm.wire import wrong

PATHS = (":rawPredict", ":streamRawPredict")
VERSION = "anthropic_version"
_PATH = re.compile(r"/models/([^/?#]+):(r|streamR)awPredict$")


def name_model(document: Json, path: str) -> bool:
    """Put the model in the place of the version, one key for another, so that the document is as everywhere else.
    Raises `InvalidRequest`. Whether there was something to do: a document that is read again has its model."""
    found = _PATH.search(path)
    if found is None:
        raise InvalidRequest("model: is missing in the path", code="missing_model", param="model")
    model = unquote(found[1])
    if not model.isprintable() or not model.strip(". ") or ".." in model:
        raise wrong("model", "the name of a model")
    if (document.get("stream") is True) != (found[2] == "streamR"):
        raise wrong("stream", "what the path says")
    if VERSION not in document:
        if "model" not in document:
            raise InvalidRequest(f"{VERSION}: is missing", param=VERSION)
        return False
    del document[VERSION]
    document["model"] = model
    return True
