"""Segments in front of guards: each sees the texts of its scopes, as those before it left them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from math import inf
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import GatewayError, GuardFailed, GuardRejected
from agentgateway.exchange import Exchange
from agentgateway.interfaces import Guard, Segment, Verdict


@dataclass(frozen=True, slots=True)
class PlacedGuard:
    """A guard, and what the file says about it. `count` is told what came of each of its verdicts."""

    guard: Guard
    name: str
    body: str
    status: int
    headers: tuple[tuple[str, str], ...]
    count: Callable[[str], object]
    awaits: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "awaits", iscoroutinefunction(self.guard.check))

    def ask(self, segments: Sequence[Segment], exchange: Exchange) -> Any:
        with self._failing_closed():
            return self.guard.check(segments, exchange)

    async def answer(self, verdict: Awaitable[Verdict]) -> Verdict:
        with self._failing_closed():
            return await verdict

    def apply(self, verdict: Any, segments: Sequence[Segment]) -> None:
        """Mask, or refuse. Raises `GuardRejected`, `GuardFailed` for what is no verdict on these segments."""
        if not isinstance(verdict, Verdict):
            getattr(verdict, "close", lambda: None)()
            raise self._failed(f"returned {type(verdict).__name__}, not a Verdict")
        if verdict.rejected:
            self.count("Reject")
            detail = f"{self.name}: {verdict.reason}"
            raise GuardRejected(self.body, status=self.status, headers=self.headers, detail=detail)
        for index, text in verdict.masks.items():
            if not 0 <= index < len(segments) or not isinstance(text, str):
                raise self._failed("masked what it was not shown")
            segments[index].replace(text)
        self.count("Mask" if verdict.masks else "Allow")

    @contextmanager
    def _failing_closed(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a plugin's border
            raise self._failed(described(error)) from error

    def _failed(self, why: str) -> GuardFailed:
        self.count("Fail")
        return GuardFailed(detail=f"{self.name}: {why}")


def described(error: Exception) -> str:
    """What went wrong in a plugin, without the words of the exception, which may quote what it was given."""
    if isinstance(error, GatewayError):
        return error.detail or error.message
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{at}"


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
            if seen := [text for text in texts if text.scope in placed.guard.scopes]:
                placed.apply(placed.ask(seen, exchange), seen)

    async def judge(self, segments: Sequence[Segment], exchange: Exchange) -> None:
        texts = readable(segments)
        for placed in self:
            if seen := [text for text in texts if text.scope in placed.guard.scopes]:
                verdict = placed.ask(seen, exchange)
                placed.apply(await placed.answer(verdict) if placed.awaits else verdict, seen)


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
