"""Cache points in a call of Bedrock's Converse.

https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentgateway.llm.caching import CacheRule
from agentgateway.llm.calls import Json
from agentgateway.llm.texts import objects_in
from agentgateway.llm.usage import estimate
from agentgateway_bedrock.thinking import family

KEY = "cachePoint"
_CACHING = frozenset(("claude", "nova"))
"""Families with models that have a cache; the others refuse calls with cache points."""
_OLD = (
    "claude-v2",
    "claude-instant",
    "claude-3-sonnet",
    "claude-3-haiku",
    "claude-3-opus",
    "claude-3-5-sonnet-20240620",
)
"""Models of those families that have none."""


def mark_cache(document: Json, rule: CacheRule, model: str) -> bool:
    """Put cache points into a document of its own, for models that take them. What it holds may be shared, so it is
    replaced and never edited. A client that set any itself is left to it."""
    if family(model) not in _CACHING or any(word in model for word in _OLD):
        return False
    if any(KEY in block for blocks in _lists(document) for _, block in objects_in(blocks)):
        return False
    changes: Json = {}
    config = document.get("toolConfig")
    if rule.tools and family(model) == "claude" and isinstance(config, dict) and config.get("tools"):
        changes["toolConfig"] = config | {"tools": [*config["tools"], point()]}
    system = document.get("system")
    if rule.system and system and _size(system) >= rule.least:
        changes["system"] = [*system, point()]
    messages: list[Any] = document.get("messages") or []
    at = rule.message(len(messages))
    if at is not None and (content := _pointed(messages[at].get("content") or [])):
        changes["messages"] = [*messages[:at], messages[at] | {"content": content}, *messages[at + 1 :]]
    document.update(changes)
    return bool(changes)


def point() -> Json:
    return {KEY: {"type": "default"}}


def _pointed(blocks: list[Any]) -> list[Any] | None:
    """The blocks with a cache point behind the last one that is no thinking, which takes none; None without one."""
    for i, block in reversed(list(objects_in(blocks))):
        if "reasoningContent" not in block:
            return [*blocks[: i + 1], point(), *blocks[i + 1 :]]
    return None


def _lists(document: Json) -> Iterator[Any]:
    """Where cache points may stand."""
    config = document.get("toolConfig")
    yield config.get("tools") if isinstance(config, dict) else None
    yield document.get("system")
    yield from (message.get("content") for _, message in objects_in(document.get("messages")))


def _size(system: Any) -> int:
    """Tokens of the instructions, about."""
    texts = (block.get("text") for _, block in objects_in(system))
    return estimate(sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str)))
