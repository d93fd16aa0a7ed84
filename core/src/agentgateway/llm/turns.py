"""Whose turn it is, in formats where the user answers for tools: Anthropic's messages, Bedrock's Converse."""

from __future__ import annotations

from collections.abc import Iterator

from agentgateway.llm.calls import Untranslatable
from agentgateway.llm.chat import Message, Part, ToolResult


def turned(role: str, parts: tuple[Part, ...], at: str) -> Iterator[Message]:
    """A user's turn that answers tools becomes two: the results, and what the user says after them. `at` is where the
    turn stands. Raises `Untranslatable` for roles that nobody knows."""
    match role:
        case "user":
            results = tuple(part for part in parts if isinstance(part, ToolResult))
            others = tuple(part for part in parts if not isinstance(part, ToolResult))
            if results:
                yield Message("tool", results)
            if others or not results:
                yield Message("user", others)
        case "assistant" | "system":
            yield Message(role, parts)
        case other:
            raise Untranslatable(f"{at}.role", f"the role `{other}`")
