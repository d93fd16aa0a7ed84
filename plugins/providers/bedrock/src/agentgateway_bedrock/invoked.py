"""What calls of InvokeModel have in common: the path, where tokens are counted, and errors.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from agentgateway.exchange import Headers, Usage
from agentgateway.llm.calls import Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects.outbound import Outbound
from agentgateway.llm.wire import amount
from agentgateway_bedrock import converse_errors
from agentgateway_bedrock.converse import Converse

COUNT = "inputTextTokenCount"
"""Titan's own field; what the header says is put there for the others."""
COUNT_HEADER = "x-amzn-bedrock-input-token-count"
LONGEST_COUNT = 12
"""Digits."""


class Invoked(Outbound):
    model_in_path: ClassVar[bool] = True
    error_header: ClassVar[str] = Converse.error_header

    def path(self, model: str, *, stream: bool = False) -> str:
        return f"/model/{quote(model, safe='')}/invoke"

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
