"""One guard at its place in the file: asked in time, heard, and what happens when it fails."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any

from agentgateway.errors import GatewayError, GuardFailed, GuardRejected
from agentgateway.exchange import Exchange
from agentgateway.interfaces import PASS, Guard, Segment, Verdict

logger = logging.getLogger("agentgateway.guards")


class Breaker:
    """Counts failures in a row; after `most` of them it is open for `duration` seconds, then lets one call try."""

    __slots__ = ("_duration", "_failures", "_most", "_until")

    def __init__(self, most: int, duration: float) -> None:
        self._most = most
        self._duration = duration
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether nothing should be asked now. The one call that is let through keeps the others out meanwhile."""
        if self._failures < self._most:
            return False
        now = time.monotonic()
        if now < self._until:
            return True
        self._until = now + self._duration
        return False

    @property
    def open_for(self) -> float:
        """Seconds in which nothing will be asked; looking changes nothing."""
        return max(0.0, self._until - time.monotonic()) if self._failures >= self._most else 0.0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._most:
            self._until = time.monotonic() + self._duration


@dataclass(frozen=True, slots=True)
class PlacedGuard:
    """A guard, and what the file says about it, `at` its place there. `count` is told what came of each of its
    verdicts; `limit` is in seconds and holds for guards that are awaited."""

    guard: Guard
    at: str
    phase: str
    name: str
    body: str
    status: int
    headers: tuple[tuple[str, str], ...]
    count: Callable[[str], object]
    fails_open: bool
    limit: float
    breaker: Breaker
    awaits: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "awaits", iscoroutinefunction(self.guard.check))

    @property
    def parallel(self) -> bool:
        """Whether it may be asked while others are: it waits for something, and changes nothing."""
        return self.awaits and not self.guard.masks

    def screen(self, segments: Sequence[Segment], exchange: Exchange) -> None:
        """Ask a guard that needs no awaiting, and do what it says. Raises `GuardRejected`, `GuardFailed`."""
        try:
            verdict = self._ask(segments, exchange)
        except GuardFailed as error:
            self._unseen(error)
        else:
            self.apply(verdict, segments)

    async def judge(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        """Ask any guard. Raises `GuardFailed`, unless it fails open."""
        try:
            verdict = self._ask(segments, exchange)
            return self._checked(await self._awaited(verdict) if self.awaits else verdict)
        except GuardFailed as error:
            return self._unseen(error)

    def apply(self, verdict: Verdict, segments: Sequence[Segment]) -> None:
        """Mask, or refuse. Raises `GuardRejected`, `GuardFailed` for what is no verdict on these segments."""
        verdict = self._checked(verdict)
        if verdict.rejected:
            self.count("Reject")
            raise self._refusal(verdict)
        for index, text in verdict.masks.items():
            if not 0 <= index < len(segments) or not isinstance(text, str):
                raise self._failed("masked what it was not shown")
            segments[index].replace(text)
        self.count("Mask" if verdict.masks else "Allow")

    def _refusal(self, verdict: Verdict) -> GuardRejected:
        """What the client gets: the guard's own status and message, where it has any that can be sent."""
        status, body = verdict.status, verdict.body
        return GuardRejected(
            body if isinstance(body, str) and body else self.body,
            status=status if isinstance(status, int) and 400 <= status <= 599 else self.status,
            headers=self.headers,
            detail=f"{self.name}: {verdict.reason}",
        )

    def _ask(self, segments: Sequence[Segment], exchange: Exchange) -> Any:
        if self.breaker.open:
            raise GuardFailed(detail=f"{self.name}: not asked, it failed too often")
        try:
            verdict = self.guard.check(segments, exchange)
        except Exception as error:  # a plugin's border
            self.breaker.failed()
            raise self._failed(described(error)) from error
        if not self.awaits:
            self.breaker.succeeded()
        return verdict

    async def _awaited(self, verdict: Any) -> Any:
        try:
            async with asyncio.timeout(self.limit):
                found = await verdict
        except TimeoutError as error:
            self.breaker.failed()
            raise self._failed(f"no verdict in {self.limit:g} s") from error
        except Exception as error:  # a plugin's border
            self.breaker.failed()
            raise self._failed(described(error)) from error
        self.breaker.succeeded()
        return found

    def _checked(self, verdict: Any) -> Verdict:
        if isinstance(verdict, Verdict):
            return verdict
        getattr(verdict, "close", lambda: None)()
        raise self._failed(f"returned {type(verdict).__name__}, not a Verdict")

    def _unseen(self, error: GuardFailed) -> Verdict:
        """What a failure means: `failClosed` raises it, `failOpen` lets the message pass and says so in the log."""
        if not self.fails_open:
            self.count("Fail")
            raise error
        self.count("FailOpen")
        logger.warning("a message passed unseen: %s", error.detail)
        return PASS

    def _failed(self, why: str) -> GuardFailed:
        return GuardFailed(detail=f"{self.name}: {why}")


class Guarding:
    """A part of the gateway that asks guards."""

    def placed_guards(self) -> Sequence[PlacedGuard]:
        raise NotImplementedError


def described(error: Exception) -> str:
    """What went wrong in a plugin, without the words of the exception, which may quote what it was given."""
    if isinstance(error, GatewayError):
        return error.detail or error.message
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{at}"
