"""Messages and content blocks of Anthropic's messages, to and from canonical ones."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence

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
from agentgateway.llm.dialects.messages_fields import FIELDS
from agentgateway.llm.documents import dump
from agentgateway.llm.texts import arguments
from agentgateway.llm.turns import turned
from agentgateway.llm.wire import check_fields, mapping, objects, optional_flag, optional_mapping, optional_text, text

_BLOCK = "messages[].content[{}]."
_STRANGE_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_LONG_TTLS = frozenset(("30m", "1h", "12h", "24h"))


def decode_messages(messages: Sequence[tuple[Json, str]]) -> tuple[Message, ...]:
    turns: list[Message] = []
    for message, at in messages:
        check_fields(FIELDS, message, at, "messages[].")
        parts = tuple(decode_content(message.get("content"), f"{at}.content"))
        turns.extend(turned(text(message, "role", at), parts, at))
    return tuple(turns)


def decode_content(content: object, at: str) -> Iterator[Part]:
    if isinstance(content, str):
        yield Text(content)
        return
    for block, place in objects(content, at):
        yield decode_block(block, place)


def decode_block(block: Json, at: str) -> Part:
    kind = text(block, "type", at)
    prefix = _BLOCK.format(kind)
    if f"{prefix}type" not in FIELDS:
        raise Untranslatable(at, f"a block of type `{kind}`")
    check_fields(FIELDS, block, at, prefix)
    cache = decode_cache(block, at)
    match kind:
        case "text":
            return Text(text(block, "text", at), cache)
        case "image":
            return _decode_image(block, at, cache)
        case "document":
            return _decode_document(block, at, cache)
        case "search_result":
            return _decode_search_result(block, at, cache)
        case "tool_use":
            arguments = mapping(block.get("input"), f"{at}.input")
            return ToolUse(text(block, "id", at), text(block, "name", at), dump(arguments).decode(), cache)
        case "tool_result":
            return _decode_tool_result(block, at, cache)
        case "thinking":
            return Thinking(text(block, "thinking", at), optional_text(block, "signature", at))
        case _:
            return Thinking(redacted=text(block, "data", at))


def _decode_image(block: Json, at: str, cache: CacheMark | None) -> Image:
    source = mapping(block.get("source"), f"{at}.source")
    check_fields(FIELDS, source, f"{at}.source", "messages[].content[image].source.")
    match source.get("type"):
        case "base64":
            data, media_type = text(source, "data", f"{at}.source"), text(source, "media_type", f"{at}.source")
            return Image(data=data, media_type=media_type, cache=cache, at=at)
        case "url":
            return Image(url=text(source, "url", f"{at}.source"), cache=cache, at=at)
        case other:
            raise Untranslatable(f"{at}.source", f"an image from a `{other}`")


def _decode_document(block: Json, at: str, cache: CacheMark | None) -> Document:
    source = mapping(block.get("source"), f"{at}.source")
    check_fields(FIELDS, source, f"{at}.source", "messages[].content[document].source.")
    citations = optional_mapping(block, "citations", at) or {}
    data = url = words = None
    match source.get("type"):
        case "base64":
            data = text(source, "data", f"{at}.source")
        case "url":
            url = text(source, "url", f"{at}.source")
        case "text":
            words = text(source, "data", f"{at}.source")
        case "content":
            words = _only_text(decode_content(source.get("content"), f"{at}.source.content"), f"{at}.source.content")
        case other:
            raise Untranslatable(f"{at}.source", f"a document from a `{other}`")
    return Document(
        data=data,
        url=url,
        text=words,
        media_type=optional_text(source, "media_type", f"{at}.source"),
        title=optional_text(block, "title", at),
        context=optional_text(block, "context", at),
        citations=bool(optional_flag(citations, "enabled", f"{at}.citations")),
        cache=cache,
        at=at,
    )


def _decode_search_result(block: Json, at: str, cache: CacheMark | None) -> Document:
    """A search result is a text with a title and a source."""
    citations = optional_mapping(block, "citations", at) or {}
    return Document(
        text=_only_text(decode_content(block.get("content"), f"{at}.content"), f"{at}.content"),
        media_type="text/plain",
        title=text(block, "title", at),
        context=text(block, "source", at),
        citations=bool(optional_flag(citations, "enabled", f"{at}.citations")),
        cache=cache,
        at=at,
    )


def _only_text(parts: Iterable[Part], at: str) -> str:
    words: list[str] = []
    for part in parts:
        if not isinstance(part, Text):
            raise Untranslatable(at, f"{type(part).__name__.lower()} in place of text")
        words.append(part.text)
    return "\n".join(words)


def _decode_tool_result(block: Json, at: str, cache: CacheMark | None) -> ToolResult:
    parts: list[Text | Image | Document] = []
    for part in decode_content(block.get("content"), f"{at}.content"):
        if not isinstance(part, Text | Image | Document):
            raise Untranslatable(f"{at}.content", f"{type(part).__name__.lower()} in a tool's answer")
        parts.append(part)
    return ToolResult(text(block, "tool_use_id", at), tuple(parts), bool(optional_flag(block, "is_error", at)), cache)


def decode_cache(holder: Json, at: str) -> CacheMark | None:
    mark = optional_mapping(holder, "cache_control", at)
    return None if mark is None else CacheMark(optional_text(mark, "ttl", f"{at}.cache_control"))


def encode_cache(mark: CacheMark) -> Json:
    """Two lifetimes exist, five minutes (the default) and an hour; longer ones of other vendors become an hour."""
    return {"type": "ephemeral", "ttl": "1h"} if mark.ttl in _LONG_TTLS else {"type": "ephemeral"}


def encode_messages(call: ChatCall) -> list[Json]:
    """User and assistant in turn. Tool results go to the front of the user's message that follows them. Instructions
    from the middle are not here but with the system prompt (`encode_system`)."""
    encoded: list[Json] = []
    results: list[Json] = []
    for message in call.messages:
        blocks = [encode_block(part) for part in message.parts if not _says_nothing(part)]
        if message.role == "tool":
            results += blocks
        elif message.role == "user":
            encoded.append({"role": "user", "content": results + (blocks or [{"type": "text", "text": ""}])})
            results = []
        elif message.role == "assistant":
            if results:
                encoded.append({"role": "user", "content": results})
                results = []
            if blocks:
                encoded.append({"role": "assistant", "content": blocks})
    if results:
        encoded.append({"role": "user", "content": results})
    return encoded


def encode_system(call: ChatCall) -> list[Json]:
    """The system prompt in its blocks. Instructions from the middle of a conversation are hoisted to its end, as the
    vendor's own compatibility layer does (https://docs.anthropic.com/en/api/openai-sdk): most models take no others."""
    later = (part for message in call.messages if message.role == "system" for part in message.parts)
    return [encode_block(part) for part in (*call.system, *later) if not _says_nothing(part)]


def _says_nothing(part: Part) -> bool:
    """The vendor refuses empty texts, and thinking that it did not sign."""
    if isinstance(part, Text | Refusal):
        return not part.text
    return isinstance(part, Thinking) and part.redacted is None and not part.signature


def encode_block(part: Part) -> Json:
    match part:
        case Text() | Refusal():
            block: Json = {"type": "text", "text": part.text}
        case Image():
            block = {"type": "image", "source": _encode_image_source(part)}
        case Document():
            block = _encode_document(part)
        case ToolUse():
            block = {
                "type": "tool_use",
                "id": encode_id(part.id),
                "name": part.name,
                "input": arguments(part.arguments),
            }
        case ToolResult():
            block = {"type": "tool_result", "tool_use_id": encode_id(part.id)}
            if content := [encode_block(each) for each in part.parts if not _says_nothing(each)]:
                block["content"] = content
            if part.is_error:
                block["is_error"] = True
        case Thinking():
            return encode_thinking(part)
    if not isinstance(part, Refusal) and part.cache is not None:
        block["cache_control"] = encode_cache(part.cache)
    return block


def encode_thinking(part: Thinking) -> Json:
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}


def _encode_image_source(image: Image) -> Json:
    if image.url is not None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _encode_document(document: Document) -> Json:
    block: Json = {"type": "document", "source": _encode_document_source(document)}
    if document.title is not None:
        block["title"] = document.title
    if document.context is not None:
        block["context"] = document.context
    if document.citations:
        block["citations"] = {"enabled": True}
    return block


def _encode_document_source(document: Document) -> Json:
    if document.url is not None:
        return {"type": "url", "url": document.url}
    media_type, words = document.media_type or "application/pdf", document.text
    if words is None and media_type.startswith("text/"):
        try:
            words = b64decode(document.data or "", validate=True).decode()
        except ValueError:
            raise Untranslatable(document.at, "a text file that is not base64 of UTF-8") from None
    if words is not None:
        return {"type": "text", "media_type": "text/plain", "data": words}
    if media_type != "application/pdf":
        raise Untranslatable(document.at, f"a file of type `{media_type[:80]}`")
    return {"type": "base64", "media_type": media_type, "data": document.data}


def encode_id(identity: str) -> str:
    """Ids of other vendors may hold characters that this one refuses; call and result change alike."""
    return _STRANGE_IN_IDS.sub("_", identity)
