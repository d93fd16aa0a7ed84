"""Errors in Anthropic's format: https://docs.anthropic.com/en/api/errors"""

from __future__ import annotations

from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.wire import error_object, error_word

GENERAL = "invalid_request_error"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def decode_error(status: int | None, body: bytes) -> ErrorFacts:
    """Errors in a stream come without a status (None): their type tells it."""
    error = error_object(body)
    kind = error_word(error, "type")
    status = status if status is not None else _STATUSES.get(kind or "", 502)
    message = error_word(error, "message") or f"the upstream answered with status {status}"
    return ErrorFacts(status, message, kind, error_word(error, "code"), error_word(error, "param"))


def encode_error(facts: ErrorFacts) -> Json:
    """`facts.type` is written where it is a word of this format; else the status says which is. The most general word
    is another vendor's for 401, 403 and 404 as well, so that it says nothing."""
    kind = facts.type if facts.type in _STATUSES and facts.type != GENERAL else _TYPES.get(facts.status)
    if kind is None:
        kind = GENERAL if facts.status < 500 else "api_error"
    return {"type": "error", "error": {"type": kind, "message": facts.message}}
