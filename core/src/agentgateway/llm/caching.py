"""Prompt caching: which beginnings of a prompt a vendor is asked to keep for the calls that follow."""

from __future__ import annotations

from dataclasses import dataclass

LEAST = 1024
"""Tokens below which most models cache nothing."""


@dataclass(frozen=True, slots=True)
class CacheRule:
    """Where marks go: behind the instructions when they are estimated at `least` tokens, behind the message before the
    last (`offset` more towards the beginning), behind the tools."""

    system: bool = True
    messages: bool = True
    tools: bool = False
    least: int = LEAST
    offset: int = 0

    def message(self, count: int) -> int | None:
        """Which of so many messages gets a mark. Never the last: what it says is new with each call."""
        return max(0, count - 2 - self.offset) if self.messages and count > 1 else None
