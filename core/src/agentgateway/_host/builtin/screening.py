"""Segments in front of guards: each sees the texts of its scopes, as those before it left them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from math import inf
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway._host.builtin.placed_guard import PlacedGuard
from agentgateway.exchange import Exchange
from agentgateway.interfaces import Segment


class Guards(tuple[PlacedGuard, ...]):
    """Guards in their order. `screen` is for those that need no awaiting, `judge` for any."""

    @property
    def awaits(self) -> bool:
        return any(placed.awaits for placed in self)

    @property
    def holding(self) -> Guards:
        return Guards(placed for placed in self if placed.guard.stream != "observe")

    @property
    def observing(self) -> Guards:
        return Guards(placed for placed in self if placed.guard.stream == "observe")

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset().union(*(placed.guard.scopes for placed in self))

    @property
    def window(self) -> float:
        """How much of a stream all of them together need held back."""
        return max((inf if placed.guard.stream == "hold-all" else placed.guard.window for placed in self), default=0)

    def screen(self, segments: Sequence[Segment], exchange: Exchange) -> None:
        texts = readable(segments)
        for placed in self:
            if seen := shown(placed, texts):
                placed.screen(seen, exchange)

    async def judge(self, segments: Sequence[Segment], exchange: Exchange) -> None:
        """Neighbours that only block are asked at the same time; everybody else sees what those before it left."""
        texts = readable(segments)
        for together, group in groupby(self, key=lambda placed: placed.parallel):
            if together:
                await all_of([(placed, shown(placed, texts)) for placed in group], exchange)
                continue
            for placed in group:
                if seen := shown(placed, texts):
                    placed.apply(await placed.judge(seen, exchange), seen)


def shown(placed: PlacedGuard, texts: Sequence[Segment]) -> list[Segment]:
    """What one guard looks at: the texts of its scopes, and those that belong to none."""
    return [text for text in texts if text.scope in placed.guard.scopes or not text.scope]


async def all_of(asked: Sequence[tuple[PlacedGuard, list[Segment]]], exchange: Exchange) -> None:
    """Ask guards at the same time. The first refusal ends it for all. Raises `GuardRejected`, `GuardFailed`."""

    async def ask(placed: PlacedGuard, seen: list[Segment]) -> None:
        placed.apply(await placed.judge(seen, exchange), seen)

    tasks = [asyncio.create_task(ask(placed, seen)) for placed, seen in asked if seen]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def readable(segments: Iterable[Segment]) -> list[Segment]:
    """The segments as a reader sees them: arguments of a tool call that are JSON text become the texts inside it."""
    texts: list[Segment] = []
    for segment in segments:
        texts.extend(inside(segment) if segment.scope == "toolInput" else (segment,))
    return texts


def inside(segment: Segment) -> list[Segment]:
    """The texts of a JSON document; of half of one (the model ran out of tokens) the whole, unescaped."""
    if not segment.text.lstrip().startswith(("{", "[")):
        return [segment]
    try:
        document = from_json(segment.text)
    except ValueError:
        return [_derived(segment, unescaped(segment.text), "", segment.replace)]

    def edited() -> None:
        segment.replace(to_json(document).decode())

    return [
        _derived(segment, holder[key], f".{key}", _Putter(holder, key, edited)) for holder, key in text_places(document)
    ]


def text_places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document that holds a text: its container and its key."""
    stack = [document]
    for container in stack:  # grows while it is walked
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, str):
                yield container, key
            elif isinstance(value, dict | list):
                stack.append(value)


class _Putter:
    __slots__ = ("_edited", "_holder", "_key")

    def __init__(self, holder: Any, key: Any, edited: Callable[[], None]) -> None:
        self._holder = holder
        self._key = key
        self._edited = edited

    def __call__(self, text: str) -> None:
        self._holder[self._key] = text
        self._edited()


def _derived(segment: Segment, text: str, path: str, put: Callable[[str], None]) -> Segment:
    return Segment(segment.role, segment.scope, segment.path + path, text, put)


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def unescaped(text: str) -> str:
    """JSON text with the escapes of its strings undone (RFC 8259 section 7)."""
    plain = re.sub(
        r"\\(?:u([0-9a-fA-F]{4})|(.))",
        lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPES.get(found[2], found[2]),
        text,
        flags=re.DOTALL,
    )
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins pairs of surrogates
