"""Messages and content blocks of Bedrock's Converse, to and from canonical ones.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import (
    CacheMark,
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
from agentgateway.llm.documents import dump
from agentgateway.llm.turns import turned
from agentgateway.llm.wire import check_fields, mapping, objects, optional_flag, optional_mapping, optional_text, text
from agentgateway_bedrock.converse_fields import FIELDS

DOCUMENT_TYPES: Mapping[str, str] = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
UNNAMED = "document"
"""The name of documents that have none: the vendor wants one."""
_BLOCK = "messages[].content[{}]."


def decode_messages(messages: Sequence[tuple[Json, str]]) -> tuple[Message, ...]:
    turns: list[Message] = []
    for message, at in messages:
        check_fields(FIELDS, message, at, "messages[].")
        parts = decode_blocks(message.get("content"), f"{at}.content")
        turns.extend(turned(text(message, "role", at), parts, at))
    return tuple(turns)


def decode_blocks(blocks: Any, at: str) -> tuple[Part, ...]:
    """A cache point is a block of its own here, and a mark on the part before it elsewhere."""
    parts: list[Part] = []
    for block, place in objects(blocks, at):
        kind, value = member(block, place)
        if kind == "cachePoint":
            if parts:
                parts[-1] = marked(parts[-1], decode_cache(value, f"{place}.cachePoint"))
        else:
            parts.append(decode_block(kind, value, place))
    return tuple(parts)


def member(block: Json, at: str) -> tuple[str, Any]:
    """The one member of a union. Raises `Untranslatable`."""
    said = [(key, value) for key, value in block.items() if value is not None]
    if len(said) != 1:
        raise Untranslatable(at, "a block with another number of members than one")
    return said[0]


def marked(part: Part, mark: CacheMark) -> Part:
    """Thinking carries no mark."""
    return part if isinstance(part, Thinking | Refusal) else replace(part, cache=mark)


def decode_cache(point: Any, at: str) -> CacheMark:
    fields = mapping(point, at)
    check_fields(FIELDS, fields, at, _BLOCK.format("cachePoint"))
    return CacheMark(optional_text(fields, "ttl", at))


def decode_block(kind: str, value: Any, at: str) -> Part:
    if kind == "text":
        return Text(text({"text": value}, "text", at))
    place, prefix = f"{at}.{kind}", _BLOCK.format(kind)
    if not any(name.startswith(prefix) for name in FIELDS):
        raise Untranslatable(place, f"a block of type `{kind}`")
    block = mapping(value, place)
    check_fields(FIELDS, block, place, prefix)
    match kind:
        case "image":
            return _decode_image(block, place)
        case "document":
            return _decode_document(block, place)
        case "toolUse":
            told = dump(mapping(block.get("input"), f"{place}.input")).decode()
            return ToolUse(text(block, "toolUseId", place), text(block, "name", place), told)
        case "toolResult":
            return _decode_tool_result(block, place)
        case "reasoningContent":
            return _decode_thinking(block, place)
        case "guardContent":
            return _decode_guarded(block, place)
        case "citationsContent":
            return Text(_texts(block.get("content"), f"{place}.content"))
        case _:
            return _decode_search_result(block, place)


def _decode_image(block: Json, at: str) -> Image:
    source = mapping(block.get("source"), f"{at}.source")
    check_fields(FIELDS, source, f"{at}.source", "messages[].content[image].source.")
    kind = text(block, "format", at)
    return Image(data=text(source, "bytes", f"{at}.source"), media_type=f"image/{kind}", at=at)


def _decode_document(block: Json, at: str) -> Document:
    source = mapping(block.get("source"), f"{at}.source")
    check_fields(FIELDS, source, f"{at}.source", "messages[].content[document].source.")
    kind = optional_text(block, "format", at) or "txt"
    if kind not in DOCUMENT_TYPES:
        raise Untranslatable(f"{at}.format", f"a document of format `{kind[:20]}`")
    words = optional_text(source, "text", f"{at}.source")
    if words is None and source.get("content") is not None:
        words = _texts(source["content"], f"{at}.source.content")
    name = optional_text(block, "name", at)
    return Document(
        data=text(source, "bytes", f"{at}.source") if words is None else None,
        text=words,
        media_type=DOCUMENT_TYPES[kind],
        title=None if name == UNNAMED else name,
        context=optional_text(block, "context", at),
        citations=_cites(block, at),
        at=at,
    )


def _cites(block: Json, at: str) -> bool:
    citations = optional_mapping(block, "citations", at) or {}
    return bool(optional_flag(citations, "enabled", f"{at}.citations"))


def _decode_search_result(block: Json, at: str) -> Document:
    """A search result is a text with a title and a source."""
    return Document(
        text=_texts(block.get("content"), f"{at}.content"),
        media_type="text/plain",
        title=text(block, "title", at),
        context=text(block, "source", at),
        citations=_cites(block, at),
        at=at,
    )


def _decode_tool_result(block: Json, at: str) -> ToolResult:
    parts: list[Text | Image | Document] = []
    for one, place in objects(block.get("content"), f"{at}.content"):
        kind, value = member(one, place)
        part = Text(dump(value).decode()) if kind == "json" else decode_block(kind, value, place)
        if not isinstance(part, Text | Image | Document):
            raise Untranslatable(place, f"`{kind}` in a tool's answer")
        parts.append(part)
    return ToolResult(text(block, "toolUseId", at), tuple(parts), optional_text(block, "status", at) == "error")


def _decode_thinking(block: Json, at: str) -> Thinking:
    if block.get("redactedContent") is not None:
        return Thinking(redacted=text(block, "redactedContent", at))
    words, at = mapping(block.get("reasoningText"), f"{at}.reasoningText"), f"{at}.reasoningText"
    check_fields(FIELDS, words, at, _BLOCK.format("reasoningContent") + "reasoningText.")
    return Thinking(text(words, "text", at), optional_text(words, "signature", at))


def _decode_guarded(block: Json, at: str) -> Part:
    """What a Bedrock guardrail would look at is part of the message like any other."""
    kind, value = member(block, at)
    if kind == "image":
        return _decode_image(mapping(value, f"{at}.image"), f"{at}.image")
    return Text(text(mapping(value, f"{at}.text"), "text", f"{at}.text"))


def _texts(items: Any, at: str) -> str:
    return "\n".join(text(item, "text", place) for item, place in objects(items, at))


def text_of(parts: Iterable[Part], at: str) -> Iterator[Text]:
    """Parts that may be nothing but texts. Raises `Untranslatable`."""
    for part in parts:
        if not isinstance(part, Text):
            raise Untranslatable(at, f"{type(part).__name__.lower()} in a system prompt")
        yield part
