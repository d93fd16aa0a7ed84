"""Names of tools: the `operationId`, or one made of method and path, unique and within MCP's rules
(specification 2025-11-25, "Tool Names": 1 to 128 of letters, digits, `_`, `-`, `.`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

LONGEST = 64
"""What model vendors take, which is less than MCP allows; room for a prefix is the gateway's business."""
LONGEST_GIVEN = 128


def names(operations: Sequence[tuple[str, str, str | None]]) -> list[str]:
    """A name for each of (method, path, operationId), which depends on nothing but the three and on whether somebody
    else has the plain name. Given names come first, so that a made one never takes theirs."""
    taken: dict[str, int] = {}
    order = sorted(range(len(operations)), key=lambda index: (operations[index][2] is None, index))
    found = [""] * len(operations)
    for index in order:
        method, path, given = operations[index]
        name = made(given or f"{method}_{path}", LONGEST_GIVEN if given else LONGEST)
        if (given is not None and name != given) or name in taken:
            name = marked(name, f"{method} {path} {given}", LONGEST_GIVEN if given else LONGEST)
        taken[name] = index
        found[index] = name
    return found


def made(text: str, longest: int) -> str:
    """The nearest text that is a name: `get /pets/{petId}` is `get_pets_petId`."""
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", text.replace("{", "").replace("}", "")).strip("_.") or "operation"
    name = re.sub(r"__+", "_", name) if "/" in text else name
    return name if len(name) <= longest else marked(name, text, longest)


def marked(name: str, whole: str, longest: int) -> str:
    """The name, cut where needed, with a mark of what it stands for."""
    mark = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:8]
    return name if name.endswith(f"_{mark}") else f"{name[: longest - 9]}_{mark}"
