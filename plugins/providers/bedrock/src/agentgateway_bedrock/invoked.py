"""What calls of InvokeModel have in common: the path, where tokens are counted, and errors.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
"""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote, unquote

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Headers, Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects.outbound import Outbound
from agentgateway.llm.wire import amount, wrong
from agentgateway_bedrock import converse_errors
from agentgateway_bedrock.converse import LONGEST_MODEL, Converse

COUNT = "inputTextTokenCount"
"""Titan's own field; what the header says is put there for the others."""
COUNT_HEADER = "x-amzn-bedrock-input-token-count"
LONGEST_COUNT = 12
"""Digits."""


_PATH = re.compile(r"/model/([^/]+)/invoke(-with-response-stream)?$")


def path_of(model: str, *, stream: bool) -> str:
    return f"/model/{quote(model, safe='')}/invoke{'-with-response-stream' if stream else ''}"


def asked(path: str) -> tuple[str, bool]:
    """The model in a path, and whether its answer is streamed. Raises `InvalidRequest`."""
    found = _PATH.search(path)
    if found is None:
        raise InvalidRequest("modelId: is missing in the path", code="missing_model", param="modelId")
    model = unquote(found[1])
    if not model.isprintable() or not model.strip(". ") or len(model) > LONGEST_MODEL:
        raise wrong("modelId", "the name of a model")
    return model, found[2] is not None


class Invoked(Outbound):
    """Calls that have one answer, which is not streamed."""

    model_in_path: ClassVar[bool] = True
    error_header: ClassVar[str] = Converse.error_header

    def path(self, model: str, *, stream: bool = False) -> str:
        return path_of(model, stream=False)

    def model_at(self, path: str) -> str:
        """Raises `InvalidRequest`."""
        model, stream = asked(path)
        if stream:
            raise InvalidRequest("embeddings are not streamed: ask with `invoke`", param="modelId")
        return model

    def read_headers(self, document: Json, headers: Headers) -> None:
        told = headers.get(COUNT_HEADER) or ""
        if COUNT not in document and told.isdecimal() and len(told) <= LONGEST_COUNT:
            document[COUNT] = int(told)

    def usage_fields(self, document: Json) -> Json | None:
        return document if COUNT in document else None

    def read_usage(self, fields: Json) -> Usage:
        return Usage(amount(fields, COUNT))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return converse_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return converse_errors.encode_error(facts)
