"""What has changed about a tool, for people: a diff of its parts as JSON, which a terminal can be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from itertools import takewhile

from agentgateway_mcp.pins import Definition

WIDTH = 160
"""Characters of a line."""
LINES = 60
"""Lines of a diff in the log."""
COMPARED = 400
"""Lines of each side that are compared, from the first difference on."""
SENTENCES = re.compile(r"(?<=[.!?;:]) |(?<=\\n)")
"""Where long lines are broken, so that what follows a change is alike again."""


def diff(before: Definition | None, after: Definition, limit: int = LINES) -> list[str]:
    """Unified, without control characters, at most so many lines."""
    old, new = lines(before) if before is not None else [], lines(after)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    start = max(0, same - 2)
    old, new = old[start : start + COMPARED], new[start : start + COMPARED]
    found = list(unified_diff(old, new, "pinned", "shown", n=2, lineterm=""))
    return [*found[:limit], f"… {len(found) - limit} more lines"] if len(found) > limit else found


def lines(one: Definition) -> list[str]:
    text = json.dumps(dict(one.parts), indent=2, sort_keys=True, ensure_ascii=False)
    return [plain(piece) for line in text.split("\n") for piece in folded(line)]


def folded(line: str) -> Iterator[str]:
    for piece in SENTENCES.split(line) if len(line) > WIDTH else (line,):
        for start in range(0, len(piece), WIDTH) or (0,):
            yield piece[start : start + WIDTH]


def plain(text: str) -> str:
    """Without what a terminal would obey, or a reader would not see."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in text
    )


def indented(found: Sequence[str]) -> str:
    return "".join(f"\n    {line}" for line in found)
