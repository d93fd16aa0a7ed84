"""Canonical messages as content blocks of Bedrock's Converse, by the rules that the vendor checks.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import (
    CacheMark,
    ChatCall,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from agentgateway.llm.texts import arguments
from agentgateway_bedrock.converse_content import DOCUMENT_TYPES, UNNAMED

MOST_CACHE_POINTS = 4
"""https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"""
LONGEST_NAME = 64
_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_FORMATS = {media_type: name for name, media_type in DOCUMENT_TYPES.items()}
_STRANGE_IN_TOOL_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_STRANGE_IN_IDS = re.compile(r"[^a-zA-Z0-9_.:-]")
_STRANGE_IN_TITLES = re.compile(r"[^a-zA-Z0-9 ()\[\]-]+")
_LONG_TTLS = frozenset(("30m", "1h", "12h", "24h"))


def tool_name(name: str) -> str:
    """A name as the vendor takes it: letters, digits, `_` and `-`, at most 64. Two that differ stay different."""
    tidy = _STRANGE_IN_TOOL_NAMES.sub("_", name)
    if tidy == name and len(name) <= LONGEST_NAME:
        return name
    return f"{tidy[: LONGEST_NAME - 9]}_{sha256(name.encode()).hexdigest()[:8]}"


def tool_id(identity: str) -> str:
    """Ids of other vendors may be longer, or hold characters that this one refuses; call and result change alike."""
    tidy = _STRANGE_IN_IDS.sub("_", identity)
    return tidy if len(tidy) <= LONGEST_NAME else f"{tidy[: LONGEST_NAME - 9]}_{sha256(tidy.encode()).hexdigest()[:8]}"


def encode_messages(call: ChatCall) -> list[Json]:
    """User and assistant in turn, as the vendor wants them: turns of one speaker become one. Results of tools are the
    user's; instructions from the middle are not here but with the system prompt (`encode_system`)."""
    encoded: list[Json] = []
    titles = Titles()
    for message in call.messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = list(encode_parts(message, titles))
        if encoded and encoded[-1]["role"] == role:
            encoded[-1]["content"].extend(blocks)
        elif blocks:
            encoded.append({"role": role, "content": blocks})
    if call.cache is not None and encoded:
        encoded[-1]["content"].append(cache_point(call.cache))
    return encoded


def encode_system(call: ChatCall) -> list[Json]:
    """The system prompt in its blocks. Instructions from the middle of a conversation are hoisted to its end: most
    models take no others."""
    later = (part for message in call.messages if message.role == "system" for part in message.parts)
    return list(with_cache_points((*call.system, *later), Titles()))


def encode_parts(message: Message, titles: Titles) -> Iterator[Json]:
    return with_cache_points(message.parts, titles)


def with_cache_points(parts: Iterable[Part], titles: Titles) -> Iterator[Json]:
    for part in parts:
        if not says_nothing(part):
            yield encode_block(part, titles)
            mark = getattr(part, "cache", None)
            if mark is not None:
                yield cache_point(mark)


def says_nothing(part: Part) -> bool:
    """The vendor refuses blank texts, and thinking without its signature."""
    if isinstance(part, Text | Refusal):
        return not part.text.strip()
    return isinstance(part, Thinking) and part.redacted is None and not part.signature


def cache_point(mark: CacheMark) -> Json:
    """Two lifetimes exist, five minutes (the default) and an hour; longer ones of other vendors become an hour."""
    return {"cachePoint": {"type": "default", "ttl": "1h"} if mark.ttl in _LONG_TTLS else {"type": "default"}}


def keep_last_cache_points(document: Json) -> None:
    """Leave the last four, in the order in which a prompt is put together: tools, system, messages."""
    tools = (document.get("toolConfig") or {}).get("tools") or []
    lists = [tools, document.get("system") or [], *(message["content"] for message in document["messages"])]
    places = [(blocks, block) for blocks in lists for block in blocks if "cachePoint" in block]
    for blocks, block in places[:-MOST_CACHE_POINTS]:
        blocks[:] = [one for one in blocks if one is not block]


class Titles:
    """Names of documents as the vendor takes them, each once in a conversation."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, document: Document) -> str:
        tidy = " ".join(_STRANGE_IN_TITLES.sub(" ", document.title or "").split())[:190] or UNNAMED
        name, number = tidy, 1
        while name in self._taken:
            number += 1
            name = f"{tidy} {number}"
        self._taken.add(name)
        return name


def encode_block(part: Part, titles: Titles) -> Json:
    match part:
        case Text() | Refusal():
            return {"text": part.text}
        case Image():
            return {"image": _encode_image(part)}
        case Document():
            return {"document": _encode_document(part, titles)}
        case ToolUse():
            name, told = tool_name(part.name), arguments(part.arguments)
            return {"toolUse": {"toolUseId": tool_id(part.id), "name": name, "input": told}}
        case ToolResult():
            return {"toolResult": _encode_tool_result(part, titles)}
        case Thinking():
            return {"reasoningContent": encode_thinking(part)}


def encode_thinking(part: Thinking) -> Json:
    if part.redacted is not None:
        return {"redactedContent": part.redacted}
    words = {"text": part.text}
    return {"reasoningText": words | {"signature": part.signature} if part.signature else words}


def _encode_tool_result(part: ToolResult, titles: Titles) -> Json:
    content = [encode_block(each, titles) for each in part.parts if not says_nothing(each)]
    encoded: Json = {"toolUseId": tool_id(part.id), "content": content}
    if part.is_error:
        encoded["status"] = "error"
    return encoded


def _encode_image(image: Image) -> Json:
    if image.data is None:
        raise Untranslatable(image.at, "an image that lies elsewhere")
    kind = _IMAGES.get(image.media_type or "")
    if kind is None:
        raise Untranslatable(image.at, f"an image of type `{(image.media_type or 'unknown')[:80]}`")
    return {"format": kind, "source": {"bytes": image.data}}


def _encode_document(document: Document, titles: Titles) -> Json:
    encoded: Json = {"format": _format(document), "name": titles.of(document)}
    if document.url is not None:
        raise Untranslatable(document.at, "a document that lies elsewhere")
    if document.text is None:
        encoded["source"] = {"bytes": document.data}
    elif document.citations:
        encoded["source"] = {"text": document.text}
    else:
        encoded["source"] = {"bytes": b64encode(document.text.encode()).decode()}
    if document.context is not None:
        encoded["context"] = document.context
    if document.citations:
        encoded["citations"] = {"enabled": True}
    return encoded


def _format(document: Document) -> str:
    media_type = document.media_type or ("application/pdf" if document.text is None else "text/plain")
    found = _FORMATS.get(media_type.partition(";")[0].strip())
    if found is None and media_type.startswith("text/"):
        return "txt"
    if found is None:
        raise Untranslatable(document.at, f"a file of type `{media_type[:80]}`")
    return found
