"""The dialect `messages`: Anthropic's messages.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.caching import CacheRule
from agentgateway.llm.calls import Dialect, Fate, Head, Json, ModelEntry, nothing
from agentgateway.llm.chat import ChatCall, ChatReply, ErrorFacts
from agentgateway.llm.dialects import (
    messages_caching,
    messages_call,
    messages_errors,
    messages_reply,
    messages_vertex,
)
from agentgateway.llm.dialects.messages_fields import FIELDS, INEXPRESSIBLE, REPLY_FIELDS
from agentgateway.llm.dialects.messages_stream import Decoder, Encoder
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event
from agentgateway.llm.texts import Texts, Told, objects_in
from agentgateway.llm.wire import check_head, check_messages, check_spelling, known_keys, objects

_KEYS = known_keys(FIELDS)
_MESSAGE_KEYS = known_keys(FIELDS, "messages[].")
_BLOCK_KEYS = known_keys(FIELDS, "messages[].content[")
_STREAMED = ("text", "thinking")
_TEXTS = ("title", "context", "thinking", "text", "content", "stdout", "stderr")


class Messages(Dialect):
    name = "messages"
    paths: ClassVar[tuple[str, ...]] = ("/v1/messages", *messages_vertex.PATHS)
    client_header: ClassVar[str] = "anthropic-version"
    end_marker: ClassVar[bytes] = b'"message_stop"'
    text_keys: ClassVar[tuple[bytes, ...]] = (b"text", b"thinking", b"partial_json")
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS
    inexpressible: ClassVar[Mapping[str, Fate]] = INEXPRESSIBLE

    # calls

    def read(self, document: Json, path: str) -> Head:
        rewritten = path.endswith(messages_vertex.PATHS) and messages_vertex.name_model(document, path)
        head = check_head(document, _KEYS, ("max_tokens",))
        head.rewritten = rewritten
        head.flat = check_messages(document, _MESSAGE_KEYS, _BLOCK_KEYS)
        if type(system := document.get("system")) is not str:
            for block, at in objects(system, "system"):
                check_spelling(_BLOCK_KEYS, block, at)
        return head

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> ChatCall:
        return messages_call.decode_call(document)

    def encode_call(self, call: ChatCall) -> Json:
        return messages_call.encode_call(call)

    def mark_cache(self, document: Json, rule: CacheRule, model: str) -> bool:
        return messages_caching.mark_cache(document, rule)

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Instructions go to the system prompt: there is no other place for them in every model."""
        before = [message["content"] for message in prepend if message["role"] == "system"]
        after = [message["content"] for message in append if message["role"] == "system"]
        if before or after:
            own = document.get("system") or []
            own = [{"type": "text", "text": own}] if isinstance(own, str) else own
            document["system"] = [*map(_text_block, before), *own, *map(_text_block, after)]
        said = [[dict(one) for one in messages if one["role"] != "system"] for messages in (prepend, append)]
        document["messages"] = [*said[0], *document["messages"], *said[1]]

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        found: list[Segment] = []
        if document.get("system"):
            found.extend(Texts("system", "systemPrompt", edited).all(document, "system", "system"))
        for i, message in enumerate(document["messages"]):
            found.extend(_message_segments(message, f"messages[{i}].content", edited))
        return found

    # replies

    def decode_reply(self, document: Json) -> ChatReply:
        return messages_reply.decode_reply(document)

    def encode_reply(self, reply: ChatReply, call: ChatCall | None = None) -> Json:
        return messages_reply.encode_reply(reply)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        texts = Texts("assistant", "messages", edited)
        found: list[Segment] = []
        for i, block in objects_in(document.get("content")):
            found.extend(_block_segments(block, f"content[{i}]", texts, edited))
        return found

    def reply_model(self, document: Json) -> str | None:
        message = document.get("message")
        model = (message if isinstance(message, dict) else document).get("model")
        return model if isinstance(model, str) else None

    def usage_fields(self, document: Json) -> Json | None:
        message = document.get("message")
        return super().usage_fields(message if isinstance(message, dict) else document)

    def usage_complete(self, document: Json) -> bool:
        return document.get("type") != "message_start"

    def read_usage(self, fields: Json) -> Usage:
        return messages_reply.read_usage(fields)

    # streams

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        return Encoder()

    def event_segments(self, event: Event) -> list[Segment]:
        """Channels: `content[2].text`, `content[0].thinking`, `content[1].input`."""
        document = event.document or {}
        at = f"content[{document.get('index')}]"
        texts = Texts("assistant", "messages", event.mark_changed)
        if isinstance(delta := document.get("delta"), dict):
            told = Texts("assistant", "toolInput", event.mark_changed)
            spoken = [segment for key in _STREAMED for segment in texts.one(delta, key, f"{at}.{key}")]
            return [*spoken, *told.one(delta, "partial_json", f"{at}.input")]
        if isinstance(block := document.get("content_block"), dict):
            return list(_block_segments(block, at, texts, event.mark_changed, empty=False))
        return []

    def ends(self, event: Event) -> bool:
        return event.document is not None and event.document.get("type") == "message_stop"

    # errors and listings

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return messages_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return messages_errors.encode_error(facts)

    def models(self, entries: Sequence[ModelEntry]) -> Json:
        """https://docs.anthropic.com/en/api/models-list"""
        return {
            "data": [_model(entry) for entry in entries],
            "has_more": False,
            "first_id": entries[0].id if entries else None,
            "last_id": entries[-1].id if entries else None,
        }


def _model(entry: ModelEntry) -> Json:
    created = datetime.fromtimestamp(entry.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    display_name = entry.display_name or entry.id
    return {
        "type": "model",
        "id": entry.id,
        "display_name": display_name,
        "created_at": created,
        "lifecycle": "active",
    }


def _text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def _message_segments(message: Json, at: str, edited: Callable[[], object]) -> Iterator[Segment]:
    role = message["role"]
    texts = Texts(role, "systemPrompt" if role == "system" else "messages", edited)
    if type(message.get("content")) is str:
        yield from texts.one(message, "content", at)
    for i, block in objects_in(message.get("content")):
        yield from _block_segments(block, f"{at}[{i}]", texts, edited)


def _block_segments(
    block: Json, at: str, texts: Texts, edited: Callable[[], object], *, empty: bool = True
) -> Iterator[Segment]:
    """The texts of a block of any type, and of those inside it; what tools are told is one text, their JSON."""
    if "input" in block:
        if empty or block["input"]:
            told = dump(block["input"]).decode()
            yield Segment("assistant", "toolInput", f"{at}.input", told, Told(block, "input", edited))
        return
    if str(block.get("type")).endswith("tool_result"):
        texts = Texts("tool", "toolOutput", edited)
    for key in _TEXTS:
        yield from texts.one(block, key, f"{at}.{key}")
    for key in ("content", "source"):
        inner = block.get(key)
        if isinstance(inner, dict):
            if inner.get("type") == "text":  # the source of a document
                yield from texts.one(inner, "data", f"{at}.{key}.data")
            yield from _block_segments(inner, f"{at}.{key}", texts, edited)
        for i, nested in objects_in(inner):
            yield from _block_segments(nested, f"{at}.{key}[{i}]", texts, edited)
