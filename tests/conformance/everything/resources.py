"""The resources, and the one template."""

import json
import re
from typing import Any

import contents
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

_TEXT = {"mimeType": "text/plain", "text": "This is the content of the static text resource."}
_BINARY = {"mimeType": "image/png", "blob": contents.PNG}
_WATCHED = {"mimeType": "text/plain", "text": "This resource may be watched."}
STATIC: dict[str, dict[str, Any]] = {
    "test://static-text": _TEXT,
    "test://static-binary": _BINARY,
    "test://watched-resource": _WATCHED,
}
TEMPLATE = "test://template/{id}/data"
_MATCH = re.compile(r"test://template/([^/]+)/data")


def listed() -> list[dict[str, Any]]:
    return [
        {"uri": uri, "name": uri.removeprefix("test://"), "description": f"Test {uri}", "mimeType": content["mimeType"]}
        for uri, content in STATIC.items()
    ]


def listed_templates() -> list[dict[str, Any]]:
    described = "A document about an id"
    return [{"uriTemplate": TEMPLATE, "name": "template", "description": described, "mimeType": "application/json"}]


def read(uri: str) -> list[dict[str, Any]]:
    """Raises error -32602 for what there is not."""
    if content := STATIC.get(uri):
        return [{"uri": uri, **content}]
    if found := _MATCH.fullmatch(uri):
        document = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
        return [{"uri": uri, "mimeType": "application/json", "text": json.dumps(document)}]
    raise MCPError(INVALID_PARAMS, "Resource not found", {"uri": uri})
