"""Members that are not quite those of the protocol. Some servers do not mind in which case a member is spelt, and take
`Name` for the `name` that was allowed here: what decides about messages must not depend on how servers read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentgateway_mcp.envelope import Json, member
from agentgateway_mcp.messages import KINDS

MESSAGE = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))
DECIDED = frozenset(("name", "uri", "taskId", "arguments", "ref", "notifications", "resourceSubscriptions", "taskIds"))
"""What rules, names and guards of requests go by, wherever it stands in their parameters."""
LOOKED_INTO = KINDS.keys() | {"completion/complete", "subscriptions/listen"}
FOLDED = {known: frozenset(name.casefold() for name in known) for known in (MESSAGE, DECIDED)}


def misspelt(document: Json) -> str | None:
    """A member of a message that somebody could take for another one."""
    for holder, known in _holders(document):
        for key in holder:
            if key not in known and key.casefold() in FOLDED[known]:
                return key
    return None


def _holders(document: Json) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    yield document, MESSAGE
    if document.get("method") in LOOKED_INTO:
        params = member(document, "params")
        yield params, DECIDED
        yield member(params, "ref"), DECIDED
        yield member(params, "notifications"), DECIDED
