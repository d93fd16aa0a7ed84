"""Errors of Bedrock's runtime: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html"""

from __future__ import annotations

from collections.abc import Mapping

from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.wire import error_object, error_word

GENERAL = "ValidationException"
_STATUSES: Mapping[str, int] = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 400,
    "ConflictException": 400,
    "UnrecognizedClientException": 403,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ModelStreamErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
_TYPES: Mapping[int, str] = {
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
    529: "ServiceUnavailableException",
}
_STREAMED: Mapping[int, str] = {
    424: "modelStreamErrorException",
    429: "throttlingException",
    503: "serviceUnavailableException",
    529: "serviceUnavailableException",
}


def decode_error(status: int | None, body: bytes, kind: str | None = None) -> ErrorFacts:
    """Exceptions in a stream come without a status (None) and with their type in a header."""
    error = error_object(body)
    kind = type_of(kind or error_word(error, "__type") or error_word(error, "code"))
    if status is None:
        status = _STATUSES.get((kind or "")[:1].upper() + (kind or "")[1:], 502)
    message = error_word(error, "message") or error_word(error, "Message")
    return ErrorFacts(status, message or f"the upstream answered with status {status}", kind)


def type_of(word: str | None) -> str | None:
    """The bare type of `ns#Type:http://…`, as some of the vendor's services write it."""
    return None if word is None else word.rpartition("#")[2].partition(":")[0] or None


def encode_error(facts: ErrorFacts) -> Json:
    """`facts.type` is written where it is a word of this format; else the status says which is."""
    kind = type_of(facts.type)
    if kind not in _STATUSES:
        kind = _TYPES.get(facts.status, GENERAL if facts.status < 500 else "InternalServerException")
    return {"__type": kind, "message": facts.message}


def exception_type(facts: ErrorFacts) -> str:
    """The exception that ends a stream; there are five of them."""
    kind = _STREAMED.get(facts.status)
    return kind or ("validationException" if facts.status < 500 else "internalServerException")
