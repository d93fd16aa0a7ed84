"""How many tokens a call has, where its vendor does not tell: an estimate, and what it learns from the vendor's own
numbers.

A model is learnt from once somebody has asked to count for it; until then nothing is weighed. What is learnt is how
much more or fewer tokens the vendor counted than the estimate says, so that a model's tokenizer, its prices for
pictures and its hidden prompts come out on average. It lives as long as the process.

Where the operator has a model's published encoding, texts are counted by that, and nothing is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentgateway.llm.documents import dump
from agentgateway.llm.encodings import ENCODINGS, Measure
from agentgateway.llm.usage import estimate

SAID = ("system", "instructions", "systemInstruction", "system_instruction", "messages", "contents", "input")
"""Where the dialects of chat have what is said."""
TOKENS_A_TURN = 4
TOKENS_A_PICTURE = 1000
TOKENS_A_MESSAGE = 3
TOKENS_OF_REPLY = 3
"""What OpenAI puts around a message, and in front of its reply
(https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken)."""
UNSAID = frozenset(("type", "id", "tool_use_id", "tool_call_id", "call_id", "cache_control"))
"""Keys of messages whose values no model reads."""
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
        if (measure := ENCODINGS.of(model)) is not None:
            return exact(document, measure)
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
    texts, pictures = said_in(document)
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    turns = sum(len(document[key]) for key in SAID if isinstance(document.get(key), list))
    return estimate(size) + TOKENS_A_TURN * turns + TOKENS_A_PICTURE * pictures


def exact(document: Mapping[str, Any], measure: Measure) -> int:
    """Tokens of a chat call whose model's encoding is known. How definitions of tools are written is not published:
    they count as the JSON they are; pictures and files as a number that is usual."""
    texts, pictures = said_in(document, UNSAID)
    messages = sum(len(one) if isinstance(one := document[key], list) else 1 for key in SAID if key in document)
    tokens = sum(map(measure, texts)) + sum(isinstance(document.get(key), str) for key in SAID)  # each has a role
    return tokens + TOKENS_A_MESSAGE * messages + TOKENS_OF_REPLY + TOKENS_A_PICTURE * pictures


def said_in(document: Mapping[str, Any], unsaid: frozenset[str] = frozenset()) -> tuple[list[str], int]:
    """The texts of a chat call, definitions of tools among them, and the number of its pictures and files."""
    texts: list[str] = []
    pictures = 0
    waiting = [document[key] for key in SAID if key in document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            for key, one in value.items():
                if is_picture(one):
                    pictures += 1
                elif key not in unsaid:
                    waiting.append(one)
    if tools := document.get("tools"):
        texts.append(dump(tools).decode())
    return texts, pictures


def is_picture(value: Any) -> bool:
    """Whether a text is a file: a data URL, or base64 that goes on without a space."""
    if not isinstance(value, str) or len(value) < SHORTEST_PICTURE:
        return False
    beginning = value[:SHORTEST_PICTURE]
    return value.startswith("data:") or (beginning.isascii() and not any(sign in beginning for sign in " .,{<\n"))
