"""A script as bytes of a vendor's format."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator

from pydantic_core import to_json

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Headers
from agentgateway.llm.calls import (
    ChatCall,
    ChatReply,
    Delta,
    Dialect,
    Ended,
    ErrorFacts,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolArgumentsDelta,
    ToolUse,
)
from agentgateway_simulator.script import Failure, Script
from agentgateway_simulator.words import json_pieces, pieces

CUT = "the upstream's answer was cut short"
BROKEN = "the simulated connection broke"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_SPOKEN = (TextDelta, ThinkingDelta, ToolArgumentsDelta)
_CODES = {
    ("completions", 401): ("invalid_request_error", "invalid_api_key"),
    ("completions", 404): ("invalid_request_error", "model_not_found"),
    ("completions", 429): ("requests", "rate_limit_exceeded"),
}


def whole(script: Script, dialect: Dialect, call: ChatCall) -> bytes:
    """The reply in one piece."""
    assert script.reply is not None
    return to_json(dialect.encode_reply(script.reply, call))


async def stream(script: Script, dialect: Dialect, call: ChatCall) -> AsyncIterator[bytes]:
    """The reply event by event, at the script's pace. Raises `UpstreamError` where the script breaks off."""
    assert script.reply is not None
    encoder = dialect.encoder(include_usage=call.include_usage)
    said = 0
    for delta in deltas(script.reply):
        if isinstance(delta, _SPOKEN):
            if script.breaks_after == said:
                raise UpstreamError(CUT, detail=BROKEN)
            if script.failure is not None and script.failure.after == said:
                yield encoder.fail(facts(script.failure, dialect))
                return
            if said and script.pace:
                await asyncio.sleep(script.pace)
            said += 1
        if data := encoder.feed(delta):
            yield data
        if isinstance(delta, Started) and dialect.name == "messages":
            yield PING  # as the vendor does: https://docs.anthropic.com/en/docs/build-with-claude/streaming
    if script.breaks_after is not None:
        raise UpstreamError(CUT, detail=BROKEN)
    if data := encoder.end():
        yield data


def deltas(reply: ChatReply) -> Iterator[Delta]:
    """The reply as a stream tells it: usage of the input first, one part after the other, the rest of usage last."""
    usage = reply.usage
    yield Started(
        reply.id, reply.model, usage._replace(output_tokens=1, reasoning_tokens=0) if usage else None, reply.created
    )
    for index, part in enumerate(reply.parts):
        match part:
            case Thinking():
                yield PartStarted(index, "thinking")
                yield from (ThinkingDelta(index, piece) for piece in pieces(part.text))
                yield SignatureDelta(index, part.signature or "")
            case Text():
                yield PartStarted(index, "text")
                yield from (TextDelta(index, piece) for piece in pieces(part.text))
            case ToolUse():
                yield PartStarted(index, "tool_use", part.id, part.name)
                yield from (ToolArgumentsDelta(index, piece) for piece in json_pieces(part.arguments))
        yield PartEnded(index)
    yield Ended(reply.stop_reason, reply.stop_sequence, usage)


def facts(failure: Failure, dialect: Dialect) -> ErrorFacts:
    """The failure in the vendor's own words, where it has some for that status."""
    kind, code = _CODES.get((dialect.name, failure.status), (None, None))
    return ErrorFacts(failure.status, failure.message, kind, code)


def error(failure: Failure, dialect: Dialect) -> bytes:
    """The body of a failure's reply."""
    return to_json(dialect.encode_error(facts(failure, dialect)))


def headers(script: Script, dialect: Dialect, *, streaming: bool) -> Headers:
    """The head of a reply, with the fields that the vendors' clients read."""
    fields = {"content-type": dialect.stream_content_type if streaming else "application/json"}
    if streaming:
        fields["cache-control"] = "no-cache"
    identity = f"req_{script.reply.id.rpartition('_')[2].rpartition('-')[2]}" if script.reply else "req_simulated"
    fields["request-id" if dialect.name == "messages" else "x-request-id"] = identity
    failure = script.failure
    if failure is not None and failure.retry_after is not None:
        fields["retry-after"] = str(math.ceil(failure.retry_after))
    if failure is not None and failure.status == 429:
        prefix = "anthropic-ratelimit-requests-" if dialect.name == "messages" else "x-ratelimit-"
        fields |= _limits(prefix, dialect)
    return Headers.of(fields)


def _limits(prefix: str, dialect: Dialect) -> dict[str, str]:
    """https://docs.anthropic.com/en/api/rate-limits#response-headers,
    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers"""
    if dialect.name == "messages":
        return {f"{prefix}limit": "60", f"{prefix}remaining": "0", f"{prefix}reset": "2026-01-01T00:00:01Z"}
    return {f"{prefix}limit-requests": "60", f"{prefix}remaining-requests": "0", f"{prefix}reset-requests": "1s"}
