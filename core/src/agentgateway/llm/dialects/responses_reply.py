"""A reply in OpenAI's responses format, to and from the canonical reply.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ChatReply, ErrorFacts, Part, Refusal, StopReason, Text, Thinking, ToolUse
from agentgateway.llm.dialects.completions_reply import dicts, new_call_id, words
from agentgateway.llm.dialects.responses_items import decode_thought
from agentgateway.llm.dialects.responses_thoughts import ciphertext, from_vendor, summary
from agentgateway.llm.documents import dump
from agentgateway.llm.wire import amount, error_word, objects

_STATUSES = {"rate_limit_exceeded": 429, "too_many_requests": 429, "invalid_prompt": 400}
_FAILED = ("failed", "cancelled")


def decode_reply(document: Json) -> ChatReply:
    """Items of tools that ran at the vendor are left out. Raises `UpstreamError`, also for a response that failed."""
    if document.get("status") in _FAILED:
        facts = failure(document)
        raise UpstreamError(facts.message, status=facts.status, code=facts.code)
    try:
        items = objects(document["output"], "output")
        parts = tuple(part for item, at in items for part in _decode_item(item, at))
    except (InvalidRequest, KeyError) as error:
        raise UpstreamError("the upstream's reply is not a response", detail=str(error)) from None
    created, usage, tier = document.get("created_at"), document.get("usage"), document.get("service_tier")
    return ChatReply(
        id=words(document.get("id")),
        model=words(document.get("model")),
        parts=parts,
        stop_reason=decode_stop(
            document,
            called=any(isinstance(part, ToolUse) for part in parts),
            refused=any(isinstance(part, Refusal) for part in parts),
        ),
        usage=read_usage(usage) if isinstance(usage, dict) else None,
        created=int(created) if isinstance(created, int | float) else None,
        service_tier=tier if isinstance(tier, str) else None,
    )


def _decode_item(item: Json, at: str) -> Iterator[Part]:
    match item.get("type"):
        case "message":
            for part in dicts(item.get("content")):
                if part.get("type") == "refusal":
                    yield Refusal(words(part.get("refusal")))
                elif part.get("type") == "output_text":
                    yield Text(words(part.get("text")))
        case "function_call":
            yield decode_call(item)
        case "reasoning":
            thought = from_vendor(decode_thought(item, at), words(item.get("id")), words(item.get("encrypted_content")))
            if thought != Thinking():
                yield thought


def decode_call(item: Json) -> ToolUse:
    told = item.get("arguments")
    arguments = told if isinstance(told, str) else dump(told).decode() if told is not None else ""
    return ToolUse(words(item.get("call_id")) or new_call_id(), words(item.get("name")), arguments or "{}")


def decode_stop(response: Json, *, called: bool, refused: bool) -> StopReason:
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "refusal" if reason == "content_filter" else "length"
    return "tool_use" if called else "refusal" if refused else "stop"


def failure(response: Json) -> ErrorFacts:
    """Why a response failed."""
    return facts_of(response.get("error"))


def facts_of(error: Any) -> ErrorFacts:
    """Errors inside a response have no status; their code tells it."""
    error = error if isinstance(error, dict) else {}
    code = error_word(error, "code")
    message = error_word(error, "message") or "the upstream's response failed"
    kind, param = error_word(error, "type"), error_word(error, "param")
    status = int(code) if code is not None and code.isdecimal() and 400 <= int(code) < 600 else 502
    return ErrorFacts(_STATUSES.get(code or "", status), message, kind if kind != "error" else None, code, param)


def encode_reply(reply: ChatReply) -> Json:
    parts = reply.parts
    refused = any(isinstance(part, Refusal) for part in parts)
    document = new_response(reply.id, reply.model, reply.created) | {"output": list(_encode_items(parts))}
    if reply.service_tier is not None:
        document["service_tier"] = reply.service_tier
    return document | outcome(reply.stop_reason, reply.usage, refused=refused)


def new_response(identity: str, model: str, created: int | None = None) -> Json:
    """A response that has just begun. The call is not repeated in it: what the format requires says what is usual."""
    return {
        "id": identity or f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": created if created is not None else int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
    }


def outcome(reason: StopReason | None, usage: Usage | None, *, refused: bool) -> Json:
    """How a response ended. A refusal that says something is a complete answer."""
    why = (
        "max_output_tokens" if reason == "length" else "content_filter" if reason == "refusal" and not refused else None
    )
    return {
        "status": "completed" if why is None else "incomplete",
        "incomplete_details": None if why is None else {"reason": why},
        "usage": None if usage is None else write_usage(usage),
    }


def _encode_items(parts: Iterable[Part]) -> Iterator[Json]:
    """Neighbouring texts are the content of one message."""
    message: Json | None = None
    for part in parts:
        if isinstance(part, Text | Refusal):
            content = text_part(part.text) if isinstance(part, Text) else refusal_part(part.text)
            if message is None:
                message = new_message("completed")
            message["content"].append(content)
            continue
        if message is not None:
            yield message
            message = None
        yield _encode_item(part)
    if message is not None:
        yield message


def _encode_item(part: Part) -> Json:
    match part:
        case ToolUse():
            return new_call(part.id, part.name, "completed") | {"arguments": part.arguments}
        case Thinking():
            return (
                new_thought("completed") | {"summary": summary(part.text)} | ciphertext(part.signature, part.redacted)
            )
        case _:
            raise UpstreamError("the upstream's reply cannot be expressed", detail=type(part).__name__)


def new_message(status: str) -> Json:
    return {"id": f"msg_{uuid4().hex}", "type": "message", "status": status, "role": "assistant", "content": []}


def new_call(call_id: str, name: str, status: str) -> Json:
    return {
        "id": f"fc_{uuid4().hex}",
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": "",
    }


def new_thought(status: str) -> Json:
    return {"id": f"rs_{uuid4().hex}", "type": "reasoning", "status": status, "summary": []}


def text_part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def read_usage(fields: Json) -> Usage:
    """Counts include cached tokens and reasoning."""
    cached = written = reasoning = 0
    if type(details := fields.get("input_tokens_details")) is dict:
        cached, written = amount(details, "cached_tokens"), amount(details, "cache_write_tokens")
    if type(details := fields.get("output_tokens_details")) is dict:
        reasoning = amount(details, "reasoning_tokens")
    return Usage(amount(fields, "input_tokens"), amount(fields, "output_tokens"), cached, written, reasoning)


def write_usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_creation_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
