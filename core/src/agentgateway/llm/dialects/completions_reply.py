"""A reply in OpenAI's chat completions format, to and from the canonical reply.

Source: https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ChatReply, Part, Refusal, StopReason, ToolUse
from agentgateway.llm.dialects.completions_messages import decode_assistant, encode_assistant
from agentgateway.llm.documents import dump
from agentgateway.llm.wire import amount, mapping, objects

_STOP_REASONS: Mapping[object, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_FINISH_REASONS: Mapping[StopReason | None, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "length": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def decode_reply(document: Json) -> ChatReply:
    """Raises `UpstreamError`."""
    try:
        choices = objects(document.get("choices"), "choices")
        message = mapping(choices[0][0].get("message"), "choices[0].message")
        parts = tuple(decode_assistant(known(message), "choices[0].message"))
    except (InvalidRequest, IndexError) as error:
        raise UpstreamError("the upstream's reply is not a chat completion", detail=str(error)) from None
    created, model, tier = document.get("created"), document.get("model"), document.get("service_tier")
    usage = document.get("usage")
    return ChatReply(
        id=str(document.get("id") or ""),
        model=model if isinstance(model, str) else "",
        parts=parts,
        stop_reason=decode_stop(
            choices[0][0].get("finish_reason"),
            called=any(isinstance(part, ToolUse) for part in parts),
            refused=any(isinstance(part, Refusal) for part in parts),
        ),
        usage=read_usage(usage) if isinstance(usage, dict) else None,
        created=created if isinstance(created, int) else None,
        service_tier=tier if isinstance(tier, str) else None,
    )


def known(message: Json) -> Json:
    """An upstream's message as strictly as our decoder wants it: content one text, calls of functions with an id."""
    tidy: Json = {}
    if isinstance(content := message.get("content"), list):
        tidy = {"content": words(content), "reasoning_content": thoughts(content) or message.get("reasoning_content")}
    calls = [call for call in dicts(message.get("tool_calls")) if isinstance(call.get("function"), dict)]
    return message | tidy | {"tool_calls": [_call(call) for call in calls]}


def _call(call: Json) -> Json:
    function = call["function"]
    told = function.get("arguments")
    told = told if isinstance(told, str) or told is None else dump(told).decode()
    return {"id": call.get("id") or new_call_id(), "function": {"name": function.get("name"), "arguments": told}}


def words(value: Any) -> str:
    """A text as vendors write it: a string, or parts that hold some."""
    return value if isinstance(value, str) else "".join(words(part.get("text")) for part in dicts(value))


def thoughts(content: Any) -> str:
    """The thinking among the parts of a content, where one vendor (Mistral) puts it."""
    return "".join(words(part.get("thinking")) for part in dicts(content))


def dicts(items: Any) -> list[Json]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def new_call_id() -> str:
    return f"call_{uuid4().hex[:24]}"


def decode_stop(reason: object, *, called: bool, refused: bool) -> StopReason | None:
    """A forced tool ends with `stop`, and so does a refusal; agents of other dialects go by the reason alone."""
    if reason is None:
        return None
    decoded = _STOP_REASONS.get(reason if isinstance(reason, str) else "", "stop")
    if decoded == "stop":
        return "tool_use" if called else "refusal" if refused else "stop"
    return decoded


def encode_stop(reason: StopReason | None) -> str:
    return _FINISH_REASONS.get(reason, "stop")


def encode_reply(reply: ChatReply) -> Json:
    document: Json = {
        "id": reply.id or f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": reply.created if reply.created is not None else int(time.time()),
        "model": reply.model,
        "choices": [_encode_choice(reply.parts, reply.stop_reason)],
    }
    if reply.usage is not None:
        document["usage"] = write_usage(reply.usage)
    if reply.service_tier is not None:
        document["service_tier"] = reply.service_tier
    return document


def _encode_choice(parts: tuple[Part, ...], reason: StopReason | None) -> Json:
    message = {"refusal": None} | encode_assistant(parts)
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": encode_stop(reason)}


def read_usage(fields: Json) -> Usage:
    """Counts include cached tokens and reasoning; some vendors leave reasoning out of `completion_tokens`, which
    their total shows."""
    entered, left = amount(fields, "prompt_tokens"), amount(fields, "completion_tokens")
    cached = written = reasoning = heard = voiced = 0
    if type(details := fields.get("prompt_tokens_details")) is dict:
        cached, written = amount(details, "cached_tokens"), amount(details, "cache_write_tokens")
        heard = amount(details, "audio_tokens")
    if type(details := fields.get("completion_tokens_details")) is dict:
        reasoning, voiced = amount(details, "reasoning_tokens"), amount(details, "audio_tokens")
        if reasoning and amount(fields, "total_tokens") == entered + left + reasoning:
            left += reasoning
    if not cached and "prompt_cache_hit_tokens" in fields:
        cached = amount(fields, "prompt_cache_hit_tokens")
    return Usage(entered, left, cached, written, reasoning, False, heard, voiced)


def write_usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_creation_input_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
