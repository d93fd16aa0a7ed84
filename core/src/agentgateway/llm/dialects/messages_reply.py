"""A reply in Anthropic's messages format, to and from the canonical reply.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ChatReply, Part, Refusal, StopReason, Text, Thinking, ToolUse
from agentgateway.llm.dialects.messages_content import decode_block
from agentgateway.llm.texts import arguments
from agentgateway.llm.wire import amount, objects

_KNOWN = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))
_STOP_REASONS: Mapping[object, StopReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause_turn": "pause",
    "refusal": "refusal",
}
_NAMES: Mapping[StopReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause": "pause_turn",
    "refusal": "refusal",
}
_TIERS = {"standard": "default", "priority": "priority"}
_TIER_NAMES = {"default": "standard", "priority": "priority"}


def decode_reply(document: Json) -> ChatReply:
    """Blocks of tools that ran at the vendor are left out. Raises `UpstreamError`."""
    try:
        blocks = objects(document["content"], "content")
        parts = tuple(decode_block(known(block), at) for block, at in blocks if str(block.get("type")) in _KNOWN)
    except (InvalidRequest, KeyError) as error:
        raise UpstreamError("the upstream's reply is not a message", detail=str(error)) from None
    fields = document.get("usage")
    fields = fields if isinstance(fields, dict) else None
    model, sequence = document.get("model"), document.get("stop_sequence")
    return ChatReply(
        id=str(document.get("id") or ""),
        model=model if isinstance(model, str) else "",
        parts=parts,
        stop_reason=decode_stop(document.get("stop_reason")),
        stop_sequence=sequence if isinstance(sequence, str) else None,
        usage=None if fields is None else read_usage(fields),
        service_tier=_TIERS.get(str(fields.get("service_tier"))) if fields else None,
    )


def known(block: Json) -> Json:
    """A reply's block without what only the vendor adds to it."""
    return {key: value for key, value in block.items() if key not in ("citations", "caller", "toolset_name")}


def decode_stop(reason: object) -> StopReason | None:
    return None if reason is None else _STOP_REASONS.get(reason if isinstance(reason, str) else "", "stop")


def encode_stop(reason: StopReason | None) -> str:
    return _NAMES[reason or "stop"]


def encode_reply(reply: ChatReply) -> Json:
    usage = write_usage(reply.usage or Usage())
    if reply.service_tier in _TIER_NAMES:
        usage["service_tier"] = _TIER_NAMES[reply.service_tier]
    return {
        "id": reply.id or new_id(),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [_encode_part(part) for part in reply.parts],
        "stop_reason": encode_stop(reply.stop_reason),
        "stop_sequence": reply.stop_sequence,
        "usage": usage,
    }


def new_id() -> str:
    return f"msg_{uuid4().hex[:24]}"


def _encode_part(part: Part) -> Json:
    """Thinking of other vendors has no signature; the format wants one, and an empty one says so."""
    match part:
        case Text() | Refusal():
            return {"type": "text", "text": part.text}
        case Thinking(redacted=None):
            return {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}
        case Thinking():
            return {"type": "redacted_thinking", "data": part.redacted}
        case ToolUse():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments(part.arguments)}
        case _:
            raise UpstreamError("the upstream's reply cannot be expressed", detail=type(part).__name__)


def read_usage(fields: Json) -> Usage:
    """`input_tokens` leaves cached tokens out, both read and written; `output_tokens` includes thinking."""
    read, written = amount(fields, "cache_read_input_tokens"), amount(fields, "cache_creation_input_tokens")
    entered, left = amount(fields, "input_tokens"), amount(fields, "output_tokens")
    details = fields.get("output_tokens_details")
    thinking = amount(details, "thinking_tokens") if type(details) is dict else 0
    return Usage(entered + read + written, left, read, written, thinking)


def write_usage(usage: Usage) -> Json:
    fields: Json = {
        "input_tokens": max(0, usage.provider_input_tokens),
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        fields["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return fields
