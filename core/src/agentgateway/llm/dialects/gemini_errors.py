"""Errors in Google's format: https://cloud.google.com/apis/design/errors"""

from __future__ import annotations

from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.wire import error_object, error_word

_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def decode_error(status: int | None, body: bytes) -> ErrorFacts:
    """Errors in a stream come without a status (None): their `code` tells it, or their word."""
    error = error_object(body)
    kind = error_word(error, "status")
    if status is None:
        told = error.get("code")
        status = told if type(told) is int and 400 <= told < 600 else _STATUSES.get(kind or "", 502)
    message = error_word(error, "message") or f"the upstream answered with status {status}"
    return ErrorFacts(status, message, kind, param=_field(error))


def encode_error(facts: ErrorFacts) -> Json:
    """`facts.type` is written where it is a word of this format; else the status says which is."""
    kind = facts.type if facts.type in _STATUSES else _WORDS.get(facts.status)
    if kind is None:
        kind = "INVALID_ARGUMENT" if facts.status < 500 else "INTERNAL"
    error: Json = {"code": facts.status, "message": facts.message, "status": kind}
    if facts.param is not None:
        violation = {"field": facts.param, "description": facts.message}
        error["details"] = [{"@type": _REQUEST, "fieldViolations": [violation]}]
    return {"error": error}


def _field(error: Json) -> str | None:
    """The field that a detail of the error names."""
    details = error.get("details")
    for detail in details if type(details) is list else ():
        violations = detail.get("fieldViolations") if type(detail) is dict else None
        for violation in violations if type(violations) is list else ():
            if type(violation) is dict and (name := error_word(violation, "field")):
                return name
    return None
