"""Errors in OpenAI's format: https://platform.openai.com/docs/guides/error-codes"""

from __future__ import annotations

from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.wire import error_object, error_word

_TYPES = frozenset({"invalid_request_error", "requests", "tokens", "insufficient_quota", "server_error"})
_GENERAL = ("", "unauthenticated")
"""Codes for which OpenAI has a word of its own."""
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def decode_error(status: int, body: bytes) -> ErrorFacts:
    error = error_object(body)
    message = error_word(error, "message") or f"the upstream answered with status {status}"
    return ErrorFacts(status, message, error_word(error, "type"), error_word(error, "code"), error_word(error, "param"))


def encode_error(facts: ErrorFacts) -> Json:
    """`facts.type` is written where it is a word of this format; else the status says which is."""
    error = {
        "message": facts.message,
        "type": facts.type if facts.type in _TYPES else _type(facts.status),
        "param": facts.param,
        "code": _CODES.get(facts.status) if facts.code in (None, *_GENERAL) else facts.code,
    }
    return {"error": error}


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
