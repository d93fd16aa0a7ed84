"""The least corpus: of all scripts, shortest first, those that take the edge along a way no shorter one took.

A way is a line of the edge that follows upon another one in the same call. Names are digests of the contents, but files
that somebody gave a name (`regression-...`, `limit-...`) stay as they are.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

FILES = ("/_host/edge/", "/_host/inbound_head.py", "/_host/inline.py", "/_host/suspension.py")
NAMED = ("regression-", "limit-")
Way = tuple[str, int, int]


class Ways:
    """Records, as a trace function, how lines follow upon each other."""

    def __init__(self) -> None:
        self.seen: set[Way] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if not any(part in file for part in FILES):
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal last
            self.seen.add((file, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line


def reduce(scripts: list[Path], run: Callable[[bytes], object], target: Path) -> tuple[int, int]:
    """Leave in `target` what is needed; the numbers of scripts and of ways."""
    known: set[Way] = set()
    kept: dict[str, bytes] = {}
    ordered = sorted({path.read_bytes(): path for path in scripts}.items(), key=lambda pair: _rank(pair[1], pair[0]))
    for script, path in ordered:
        ways = Ways()
        sys.settrace(ways)
        try:
            run(script)
        finally:
            sys.settrace(None)
        named = path.name.startswith(NAMED)
        if named or not ways.seen <= known:
            known |= ways.seen
            kept[path.name if named else hashlib.sha256(script).hexdigest()[:16]] = script
    for path in target.iterdir():
        if path.name not in kept:
            path.unlink()
    for name, script in kept.items():
        (target / name).write_bytes(script)
    return len(kept), len(known)


def _rank(path: Path, script: bytes) -> tuple[bool, int, bytes]:
    return (not path.name.startswith(NAMED), len(script), script)
