"""Names of tools: the `operationId`, or one made of method and path, unique and within MCP's rules
(specification 2025-11-25, "Tool Names": 1 to 128 of letters, digits, `_`, `-`, `.`)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

LONGEST = 64
"""What model vendors take, which is less than MCP allows; room for a prefix is the gateway's business."""
LONGEST_GIVEN = 128


def names(operations: Sequence[tuple[str, str, str | None]]) -> list[str]:
    """A name for each of (method, path, operationId), whatever their order. An id that is a name is that name; of
    others that would come to the same, each gets a mark of its own."""
    plain = [made(*named(*one)) for one in operations]
    often = Counter(plain)
    return [
        name
        if name == given or often[name] == 1
        else marked(name, f"{method} {path} {given}", named(method, path, given)[1])
        for name, (method, path, given) in zip(plain, operations, strict=True)
    ]


def named(method: str, path: str, given: str | None) -> tuple[str, int]:
    """What a name is made of, and how long it may be."""
    return (given, LONGEST_GIVEN) if given is not None else (f"{method}_{path}", LONGEST)


def made(text: str, longest: int) -> str:
    """The nearest text that is a name: `get /pets/{petId}` is `get_pets_petId`."""
    if re.fullmatch(r"[A-Za-z0-9_.\-]+", text) and len(text) <= longest:
        return text
    name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", text.replace("{", "").replace("}", "")).strip("_.") or "operation"
    name = re.sub(r"__+", "_", name) if "/" in text else name
    return name if len(name) <= longest else marked(name, text, longest)


def marked(name: str, whole: str, longest: int) -> str:
    """The name, cut where needed, with a mark of what it stands for."""
    mark = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:8]
    return name if name.endswith(f"_{mark}") else f"{name[: longest - 9]}_{mark}"
