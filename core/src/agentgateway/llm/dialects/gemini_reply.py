"""A reply in Google's generateContent format, to and from the canonical reply.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ChatReply, Part, Refusal, StopReason, Thinking, ToolUse
from agentgateway.llm.dialects.gemini_contents import encode_said
from agentgateway.llm.dialects.gemini_parts import ToolIds, decode_model
from agentgateway.llm.dialects.gemini_thoughts import withheld
from agentgateway.llm.wire import amount, error_word, objects

_STOP_REASONS: Mapping[object, StopReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "IMAGE_SAFETY": "refusal",
    "IMAGE_PROHIBITED_CONTENT": "refusal",
    "IMAGE_RECITATION": "refusal",
    "MODEL_ARMOR": "refusal",
}
_FINISH_REASONS: Mapping[StopReason | None, str] = {"length": "MAX_TOKENS", "refusal": "SAFETY"}
_FAILED = frozenset(
    (
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        "MISSING_THOUGHT_SIGNATURE",
    )
)
MEDIA = ("inlineData", "fileData")
_HIDDEN = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_SAID = ("text", "thought", "thoughtSignature", "functionCall")


def decode_reply(document: Json) -> ChatReply:
    """Parts of tools that ran at the vendor are left out. Raises `UpstreamError`, also for an answer of the model's
    that went wrong."""
    try:
        candidates = objects(document.get("candidates"), "candidates")
        candidate = candidates[0][0] if candidates else {}
        parts = tuple(decode_model({"parts": list(said(candidate))}, "candidates[0].content", NewIds()))
    except InvalidRequest as error:
        raise UpstreamError("the upstream's reply is not a generated content", detail=str(error)) from None
    refusal = blocked(document)
    if not candidates and refusal is None:
        raise UpstreamError("the upstream's reply is not a generated content", detail="it has no candidates")
    reason = candidate.get("finishReason")
    if not parts and went_wrong(reason):
        raise UpstreamError(failure(candidate))
    usage = document.get("usageMetadata")
    identity, model = document.get("responseId"), document.get("modelVersion")
    return ChatReply(
        id=identity if isinstance(identity, str) else "",
        model=model if isinstance(model, str) else "",
        parts=parts if refusal is None else (*parts, Refusal(refusal)),
        stop_reason="refusal"
        if refusal is not None
        else decode_stop(reason, called=any(isinstance(part, ToolUse) for part in parts)),
        usage=read_usage(usage) if isinstance(usage, dict) else None,
    )


class NewIds(ToolIds):
    """Ids of calls in a reply: those that have none get one that no other reply has."""

    def of_call(self, name: str, told: str | None) -> str:
        return told or new_call_id()


def new_call_id() -> str:
    return f"call_{uuid4().hex[:24]}"


def said(candidate: Json) -> Iterator[Json]:
    """The parts of a candidate that a model said, without what only the vendor adds to them. Raises `UpstreamError` for
    pictures and files, which no other dialect's answers have."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    for part, _ in objects(parts, "candidates[0].content.parts"):
        if any(part.get(kind) is not None for kind in MEDIA):
            raise UpstreamError("the upstream answered with content that cannot be expressed for this client")
        if not any(part.get(kind) is not None for kind in _HIDDEN):
            yield {key: value for key, value in part.items() if key in _SAID}


def blocked(document: Json) -> str | None:
    """Why the vendor did not let a prompt through to the model."""
    feedback = document.get("promptFeedback")
    if not isinstance(feedback, dict) or not (reason := error_word(feedback, "blockReason")):
        return None
    return error_word(feedback, "blockReasonMessage") or f"The prompt was blocked: {reason}."


def went_wrong(reason: object) -> bool:
    """Whether a model that said nothing ended because it did not get its answer right."""
    return isinstance(reason, str) and reason in _FAILED


def failure(candidate: Json) -> str:
    reason = error_word(candidate, "finishReason")
    return error_word(candidate, "finishMessage") or f"the upstream's model ended with {reason}"


def decode_stop(reason: object, *, called: bool) -> StopReason | None:
    """A turn that calls tools ends with `STOP` here."""
    if reason is None:
        return None
    decoded = _STOP_REASONS.get(reason if isinstance(reason, str) else "", "stop")
    return "tool_use" if decoded == "stop" and called else decoded


def encode_stop(reason: StopReason | None) -> str:
    return _FINISH_REASONS.get(reason, "STOP")


def encode_reply(reply: ChatReply) -> Json:
    content = {"parts": list(_encode_parts(reply.parts)), "role": "model"}
    document: Json = {
        "candidates": [{"content": content, "finishReason": encode_stop(reply.stop_reason), "index": 0}],
        "usageMetadata": write_usage(reply.usage or Usage()),
        "modelVersion": reply.model,
        "responseId": reply.id or new_id(),
    }
    return document


def new_id() -> str:
    return uuid4().hex[:24]


def _encode_parts(parts: Sequence[Part]) -> Iterator[Json]:
    """What was withheld stands alone: nothing else of the format could carry it back."""
    start = 0
    for i, part in enumerate(parts):
        if isinstance(part, Thinking) and part.redacted is not None:
            yield from encode_said(parts[start:i])
            yield withheld(part.redacted)
            start = i + 1
    yield from encode_said(parts[start:])


def read_usage(fields: Json) -> Usage:
    """`promptTokenCount` includes cached tokens, but not what tools at the vendor added; `candidatesTokenCount` leaves
    thoughts out, unless the total says that they are in it."""
    entered, tools = amount(fields, "promptTokenCount"), amount(fields, "toolUsePromptTokenCount")
    left, thought = amount(fields, "candidatesTokenCount"), amount(fields, "thoughtsTokenCount")
    if thought > left or amount(fields, "totalTokenCount") != entered + tools + left:
        left += thought
    heard = sound(fields.get("promptTokensDetails")) - sound(fields.get("cacheTokensDetails"))
    voiced = sound(fields.get("candidatesTokensDetails"))
    return Usage(
        entered + tools, left, amount(fields, "cachedContentTokenCount"), 0, thought, False, max(0, heard), voiced
    )


def sound(details: Any) -> int:
    """The tokens of audio in a list of `{modality, tokenCount}`."""
    if not isinstance(details, list):
        return 0
    spoken = [one for one in details if isinstance(one, dict) and one.get("modality") == "AUDIO"]
    return sum(amount(one, "tokenCount") for one in spoken)


def write_usage(usage: Usage) -> Json:
    fields: Json = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cached_input_tokens:
        fields["cachedContentTokenCount"] = usage.cached_input_tokens
    if usage.reasoning_tokens:
        fields["thoughtsTokenCount"] = usage.reasoning_tokens
    return fields
