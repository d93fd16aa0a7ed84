"""The dialect `converse`: Bedrock's Converse and ConverseStream.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.caching import CacheRule
from agentgateway.llm.calls import Dialect, Fate, Head, Json, ModelEntry, nothing
from agentgateway.llm.chat import ChatCall, ChatReply, ErrorFacts
from agentgateway.llm.sse import EVENT_LIMIT, Event
from agentgateway.llm.wire import join, optional_count, optional_mapping, wrong
from agentgateway_bedrock import converse_caching, converse_call, converse_errors, converse_reply
from agentgateway_bedrock.converse_blocks import tool_name
from agentgateway_bedrock.converse_fields import FIELDS, INEXPRESSIBLE, REPLY_FIELDS
from agentgateway_bedrock.converse_stream import Decoder, Encoder
from agentgateway_bedrock.converse_texts import all_texts, block_segments, message_segments
from agentgateway_bedrock.frames import CONTENT_TYPE, FrameParser

LONGEST_MODEL = 2048
_PATH = re.compile(r"/model/([^/]+)/converse(-stream)?$")
_KEYS = frozenset(part for name in FIELDS for part in re.split(r"[.\[\]]+", name) if part)
_SPELLED = {key.lower(): key for key in _KEYS}
_EXTRAS = ("additionalModelRequestFields", "promptVariables")
_REPLY_EXTRAS = ("additionalModelResponseFields", "trace")


class Converse(Dialect):
    name = "converse"
    paths: ClassVar[tuple[str, ...]] = ("/converse", "/converse-stream")
    model_in_path: ClassVar[bool] = True
    stream_content_type: ClassVar[str] = CONTENT_TYPE
    error_header: ClassVar[str] = "x-amzn-errortype"
    text_keys: ClassVar[tuple[bytes, ...]] = (b"text", b"input")
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS
    inexpressible: ClassVar[Mapping[str, Fate]] = INEXPRESSIBLE

    # calls

    def path(self, model: str, *, stream: bool = False) -> str:
        return f"/model/{quote(model, safe='')}/converse{'-stream' if stream else ''}"

    def read(self, document: Json, path: str) -> Head:
        found = _PATH.search(path)
        if found is None:
            raise InvalidRequest("modelId: is missing in the path", code="missing_model", param="modelId")
        model = unquote(found[1])
        if not model.isprintable() or not model.strip(". ") or len(model) > LONGEST_MODEL:
            raise wrong("modelId", "the name of a model")
        _check_spelling(document, "")
        _check_turns(document.get("messages"))
        _check_blocks(document.get("system"), "system")
        optional_count(optional_mapping(document, "inferenceConfig", "") or {}, "maxTokens", "inferenceConfig")
        return Head(model, found[2] is not None)

    def write_model(self, document: Json, model: str) -> None:
        """The model stands in the path."""

    def decode_call(self, document: Json) -> ChatCall:
        return converse_call.decode_call(document)

    def encode_call(self, call: ChatCall) -> Json:
        return converse_call.encode_call(call)

    def mark_cache(self, document: Json, rule: CacheRule, model: str) -> bool:
        return converse_caching.mark_cache(document, rule, model)

    def tool_name(self, name: str) -> str:
        return tool_name(name)

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Instructions go to the system prompt. Turns of one speaker become one: the vendor wants them to alternate."""
        own = document.get("system") or []
        system = [[_text(one) for one in messages if one["role"] == "system"] for messages in (prepend, append)]
        if any(system):
            document["system"] = [*system[0], *own, *system[1]]
        said = [[_turn(one) for one in messages if one["role"] != "system"] for messages in (prepend, append)]
        document["messages"] = _alternating([*said[0], *document["messages"], *said[1]])

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        found: list[Segment] = []
        for i, block in enumerate(document.get("system") or []):
            found.extend(block_segments(block, f"system[{i}]", "system", edited))
        for i, message in enumerate(document.get("messages") or []):
            found.extend(message_segments(message, f"messages[{i}]", edited))
        for key in _EXTRAS:
            if key in document:
                found.extend(all_texts(document, key, key, "user", "messages", edited))
        return found

    # replies

    def decode_reply(self, document: Json) -> ChatReply:
        return converse_reply.decode_reply(document)

    def encode_reply(self, reply: ChatReply, call: ChatCall | None = None) -> Json:
        return converse_reply.encode_reply(reply)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        found: list[Segment] = []
        message = _object(_object(document.get("output")).get("message"))
        found.extend(message_segments({**message, "role": "assistant"}, "output.message", edited))
        for key in _REPLY_EXTRAS:
            if key in document:
                found.extend(all_texts(document, key, key, "assistant", "messages", edited))
        return found

    def reply_model(self, document: Json) -> str | None:
        return converse_reply.model_of(document)

    def read_usage(self, fields: Json) -> Usage:
        return converse_reply.read_usage(fields)

    # streams

    def parser(self, limit: int = EVENT_LIMIT) -> FrameParser:
        return FrameParser(limit)

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        return Encoder()

    def event_segments(self, event: Event) -> list[Segment]:
        """Channels: `content[2].text`, `content[0].reasoningContent.text`, `content[1].toolUse.input`."""
        document = event.document or {}
        found: list[Segment] = []
        at = f"content[{document.get('contentBlockIndex')}]"
        delta = _object(document.get("delta"))
        for kind in delta:
            scope = {"toolUse": "toolInput", "toolResult": "toolOutput"}.get(kind, "messages")
            role = "tool" if kind == "toolResult" else "assistant"
            found.extend(all_texts(delta, kind, f"{at}.{kind}", role, scope, event.mark_changed))
        for key in _REPLY_EXTRAS:
            if key in document:
                found.extend(all_texts(document, key, key, "assistant", "messages", event.mark_changed))
        return found

    def ends(self, event: Event) -> bool:
        return event.name == "metadata"

    def concludes(self, event: Event) -> bool:
        """What follows the reason to stop is usage."""
        return event.name in ("messageStop", "metadata")

    # errors and listings

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return converse_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return converse_errors.encode_error(facts)

    def models(self, entries: Sequence[ModelEntry]) -> Json:
        """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html"""
        return {"modelSummaries": [_summary(entry) for entry in entries]}

    def model(self, entry: ModelEntry) -> Json:
        """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetFoundationModel.html"""
        return {"modelDetails": _summary(entry)}


def _summary(entry: ModelEntry) -> Json:
    return {
        "modelId": entry.id,
        "modelName": entry.display_name or entry.id,
        "providerName": entry.owned_by,
        "responseStreamingSupported": True,
    }


def _text(message: Mapping[str, str]) -> Json:
    return {"text": message["content"]}


def _turn(message: Mapping[str, str]) -> Json:
    return {"role": message["role"], "content": [_text(message)]}


def _alternating(messages: Sequence[Json]) -> list[Json]:
    turns: list[Json] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = turns[-1] | {"content": [*turns[-1]["content"], *message["content"]]}
        else:
            turns.append(message)
    return turns


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _check_turns(messages: Any) -> None:
    """The shapes that guards rely on: who speaks, and content that is a list of objects."""
    if type(messages) is not list:
        raise wrong("messages", "an array")
    for i, message in enumerate(messages):
        at = f"messages[{i}]"
        if type(message) is not dict or type(message.get("role")) is not str:
            raise wrong(at, "an object with a role")
        _check_spelling(message, at)
        _check_blocks(message.get("content"), f"{at}.content")


def _check_blocks(blocks: Any, at: str) -> None:
    if blocks is not None and type(blocks) is not list:
        raise wrong(at, "an array")
    for i, block in enumerate(blocks or ()):
        if type(block) is not dict:
            raise wrong(f"{at}[{i}]", "an object")
        _check_spelling(block, f"{at}[{i}]")


def _check_spelling(holder: Json, at: str) -> None:
    """Refuse a key that differs from a known one only in case: some parsers take them for the same."""
    for key in holder:
        if key not in _KEYS and (known := _SPELLED.get(key.lower())) is not None:
            raise InvalidRequest(f"{join(at, key)}: is spelled `{known}`", param=join(at, key))
