"""A reply in the format of Bedrock's Converse, to and from the canonical reply.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ChatReply, Part, Refusal, StopReason, Text, Thinking, ToolUse
from agentgateway.llm.documents import dump
from agentgateway.llm.texts import arguments
from agentgateway.llm.wire import amount, mapping, objects, optional_text, text
from agentgateway_bedrock.converse_blocks import encode_thinking

_KNOWN = frozenset(("toolUse", "reasoningContent", "citationsContent"))
_STOP_REASONS: Mapping[object, StopReason] = {
    "end_turn": "stop",
    "tool_use": "tool_use",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
}
_NAMES: Mapping[StopReason, str] = {
    "stop": "end_turn",
    "tool_use": "tool_use",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "content_filtered",
    "pause": "end_turn",
}
METRICS = {"latencyMs": 0}
"""The format wants a latency; nobody measured one."""


def decode_reply(document: Json) -> ChatReply:
    """Blocks of tools that ran at the vendor are left out. Raises `UpstreamError`."""
    try:
        message = mapping(mapping(document.get("output"), "output").get("message"), "output.message")
        parts = tuple(_decode_parts(message))
    except InvalidRequest as error:
        raise UpstreamError("the upstream's reply is not one of Converse", detail=str(error)) from None
    usage, tier = document.get("usage"), document.get("serviceTier")
    kind = tier.get("type") if isinstance(tier, dict) else None
    return ChatReply(
        id="",
        model=model_of(document) or "",
        parts=parts,
        stop_reason=decode_stop(document.get("stopReason")),
        usage=read_usage(usage) if isinstance(usage, dict) else None,
        service_tier=kind if isinstance(kind, str) else None,
    )


def _decode_parts(message: Json) -> Iterator[Part]:
    for block, at in objects(message.get("content"), "output.message.content"):
        for kind, value in block.items():
            if kind == "text" and isinstance(value, str):
                yield Text(value)
            elif kind in _KNOWN:
                yield from _decode_part(kind, mapping(value, f"{at}.{kind}"), f"{at}.{kind}")


def _decode_part(kind: str, value: Json, at: str) -> Iterator[Part]:
    """What a vendor adds to its blocks, later or elsewhere, is left out."""
    match kind:
        case "toolUse" if "type" not in value:
            told = dump(value.get("input") or {}).decode()
            yield ToolUse(text(value, "toolUseId", at), text(value, "name", at), told)
        case "reasoningContent" if value.get("redactedContent") is not None:
            yield Thinking(redacted=text(value, "redactedContent", at))
        case "reasoningContent":
            words = mapping(value.get("reasoningText"), f"{at}.reasoningText")
            yield Thinking(text(words, "text", at), optional_text(words, "signature", at))
        case "citationsContent":
            yield Text("".join(text(one, "text", place) for one, place in objects(value.get("content"), at)))


def model_of(document: Json) -> str | None:
    """The model that a prompt router chose; otherwise nobody says."""
    trace = document.get("trace")
    router = trace.get("promptRouter") if isinstance(trace, dict) else None
    model = router.get("invokedModelId") if isinstance(router, dict) else None
    return model if isinstance(model, str) else None


def decode_stop(reason: object) -> StopReason | None:
    return None if reason is None else _STOP_REASONS.get(reason if isinstance(reason, str) else "", "stop")


def encode_stop(reason: StopReason | None) -> str:
    return _NAMES[reason or "stop"]


def encode_reply(reply: ChatReply) -> Json:
    document: Json = {
        "output": {"message": {"role": "assistant", "content": [_encode_part(part) for part in reply.parts]}},
        "stopReason": encode_stop(reply.stop_reason),
        "usage": write_usage(reply.usage or Usage()),
        "metrics": dict(METRICS),
    }
    if reply.service_tier in ("priority", "default", "flex"):
        document["serviceTier"] = {"type": reply.service_tier}
    return document


def _encode_part(part: Part) -> Json:
    match part:
        case Text() | Refusal():
            return {"text": part.text}
        case Thinking():
            return {"reasoningContent": encode_thinking(part)}
        case ToolUse():
            return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": arguments(part.arguments)}}
        case _:
            raise UpstreamError("the upstream's reply cannot be expressed", detail=type(part).__name__)


def read_usage(fields: Json) -> Usage:
    """`inputTokens` leaves cached tokens out, both read and written; thinking is in `outputTokens`."""
    read, written = amount(fields, "cacheReadInputTokens"), amount(fields, "cacheWriteInputTokens")
    return Usage(amount(fields, "inputTokens") + read + written, amount(fields, "outputTokens"), read, written)


def write_usage(usage: Usage) -> Json:
    return {
        "inputTokens": max(0, usage.provider_input_tokens),
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokens": usage.cached_input_tokens,
        "cacheWriteInputTokens": usage.cache_creation_input_tokens,
    }
