"""Marks of prompt caching in a call of Anthropic's messages.

https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentgateway.llm.caching import CacheRule
from agentgateway.llm.calls import Json
from agentgateway.llm.texts import objects_in
from agentgateway.llm.usage import estimate

KEY = "cache_control"
_NEVER = frozenset(("thinking", "redacted_thinking"))


def mark_cache(document: Json, rule: CacheRule) -> bool:
    """Put marks into a document of its own. What it holds may be shared, so it is replaced and never edited. A client
    that marked anything itself is left to it: marks of several lifetimes must stand in an order."""
    if any(KEY in holder for holder in _holders(document)):
        return False
    changes: Json = {}
    tools = document.get("tools")
    if rule.tools and isinstance(tools, list) and (ending := marked(tools)):
        changes["tools"] = ending
    system = document.get("system")
    if rule.system and _size(system) >= rule.least and (blocks := marked(system)):
        changes["system"] = blocks
    messages: list[Any] = document.get("messages") or []
    at = rule.message(len(messages))
    if at is not None and (content := marked(messages[at].get("content"))):
        changes["messages"] = [*messages[:at], messages[at] | {"content": content}, *messages[at + 1 :]]
    document.update(changes)
    return bool(changes)


def marked(content: Any) -> list[Json] | None:
    """Blocks or tools, the last that may carry a mark having one; None when there is none."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for i, block in reversed(list(objects_in(blocks))):
        if _may_carry(block):
            return [*blocks[:i], block | {KEY: {"type": "ephemeral"}}, *blocks[i + 1 :]]
    return None


def _may_carry(block: Json) -> bool:
    """The vendor refuses marks on thinking, on empty texts, and on tools that are looked for later."""
    if block.get("type") == "text":
        return bool(block.get("text"))
    return block.get("type") not in _NEVER and not block.get("defer_loading")


def _holders(document: Json) -> Iterator[Json]:
    """Whatever may have a mark."""
    yield document
    for key in ("tools", "system"):
        yield from (block for _, block in objects_in(document.get(key)))
    for _, message in objects_in(document.get("messages")):
        for _, block in objects_in(message.get("content")):
            yield block
            yield from (inner for _, inner in objects_in(block.get("content")))


def _size(system: Any) -> int:
    """Tokens of the instructions, about."""
    if isinstance(system, str):
        return estimate(len(system.encode("utf-8", "replace")))
    texts = (block.get("text") for _, block in objects_in(system))
    return estimate(sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)))
