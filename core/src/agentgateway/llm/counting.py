"""How many tokens a call has, where its vendor does not tell: an estimate, and what it learns from the vendor's own
numbers.

A model is learnt from once somebody has asked to count for it; until then nothing is weighed. What is learnt is how
much more or fewer tokens the vendor counted than the estimate says, so that a model's tokenizer, its prices for
pictures and its hidden prompts come out on average. It lives as long as the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentgateway.llm.documents import dump
from agentgateway.llm.usage import estimate

SAID = ("system", "instructions", "systemInstruction", "system_instruction", "messages", "contents", "input")
"""Where the dialects of chat have what is said."""
TOKENS_A_TURN = 4
TOKENS_A_PICTURE = 1000
SHORTEST_PICTURE = 256
"""Characters of base64; shorter texts are texts."""
SHARE = 0.2
"""Of a new observation in what is known."""
BOUNDS = (0.25, 4.0)
ROOM = 1024
"""Models that are learnt from. Clients choose names, so there has to be an end."""


class Counting:
    """Estimates by provider and model. `watched` is empty until somebody asks."""

    def __init__(self) -> None:
        self.watched: dict[tuple[str, str], float | None] = {}

    def count(self, provider: str, model: str, document: Mapping[str, Any]) -> int:
        """The tokens of a chat call's document, whatever its dialect; at least 1."""
        key = (provider, model)
        if key not in self.watched:
            if len(self.watched) >= ROOM:
                self.watched.clear()
            self.watched[key] = None
        return max(1, round(weight(document) * (self.watched[key] or 1.0)))

    def learn(self, provider: str, model: str, document: Mapping[str, Any], tokens: int) -> None:
        """That is what the vendor counted for it. Nothing happens for models that nobody asks for."""
        key = (provider, model)
        if key not in self.watched or tokens <= 0:
            return
        known, seen = self.watched[key], tokens / max(1, weight(document))
        seen = min(max(seen, BOUNDS[0]), BOUNDS[1])
        self.watched[key] = seen if known is None else known + (seen - known) * SHARE


COUNTING = Counting()
"""The process's own."""


def weight(document: Mapping[str, Any]) -> int:
    """Tokens of a chat call before anything was learnt: texts and definitions of tools by their length, pictures
    and files as a number that is usual."""
    size = turns = pictures = 0
    waiting = [document[key] for key in SAID if key in document]
    turns = sum(len(one) for one in waiting if isinstance(one, list))
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            size += len(value.encode("utf-8", "replace"))
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            for one in value.values():
                if is_picture(one):
                    pictures += 1
                else:
                    waiting.append(one)
    if tools := document.get("tools"):
        size += len(dump(tools))
    return estimate(size) + TOKENS_A_TURN * turns + TOKENS_A_PICTURE * pictures


def is_picture(value: Any) -> bool:
    """Whether a text is a file: a data URL, or base64 that goes on without a space."""
    if not isinstance(value, str) or len(value) < SHORTEST_PICTURE:
        return False
    return value.startswith("data:") or not any(sign in value[:SHORTEST_PICTURE] for sign in " .,{<\n")
