"""What a call costs in simulated tokens: words of its texts, and a flat price for what is no text."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import to_json

from agentgateway.exchange import Usage
from agentgateway.llm.calls import (
    ChatCall,
    Document,
    Image,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from agentgateway_simulator.words import count, json_pieces

IMAGE = 85
"""What OpenAI takes for an image at low detail."""
FILE = 250


def usage(call: ChatCall, answer: tuple[Part, ...], cached: int | None = None) -> Usage:
    """Cache marks: a conversation's first call writes everything up to its last mark, a later one reads it.

    `cached`, when given, is what was read from the cache, whatever the marks say.
    """
    total, marked = _input(call)
    later = any(message.role == "assistant" for message in call.messages)
    return Usage(
        input_tokens=total,
        output_tokens=sum(part_tokens(part) for part in answer),
        cached_input_tokens=min(cached, total) if cached is not None else marked if later else 0,
        cache_creation_input_tokens=0 if later or cached is not None else marked,
        reasoning_tokens=sum(part_tokens(part) for part in answer if isinstance(part, Thinking)),
    )


def _input(call: ChatCall) -> tuple[int, int]:
    """All tokens of the call, and those up to its last cache mark."""
    total = marked = 0
    for tokens, is_marked in _weighed(call):
        total += tokens
        marked = total if is_marked else marked
    return total, total if call.cache is not None else marked


def _weighed(call: ChatCall) -> Iterator[tuple[int, bool]]:
    """Tokens and cache mark of each part, in the order in which prompts are cached: tools, system, messages."""
    for tool in call.tools:
        yield tool_tokens(tool), tool.cache is not None
    for part in call.system:
        yield part_tokens(part), part.cache is not None
    for message in call.messages:
        for each in message.parts:
            yield part_tokens(each), getattr(each, "cache", None) is not None


def tool_tokens(tool: Tool) -> int:
    return 1 + count(tool.description or "") + len(to_json(tool.schema or {})) // 8


def part_tokens(part: Part) -> int:
    match part:
        case Text() | Refusal():
            return count(part.text)
        case Thinking():
            return count(part.text) or 1
        case ToolUse():
            return 1 + len(json_pieces(part.arguments))
        case ToolResult():
            return sum(part_tokens(each) for each in part.parts)
        case Image():
            return IMAGE
        case Document():
            return count(part.text) if part.text is not None else FILE
