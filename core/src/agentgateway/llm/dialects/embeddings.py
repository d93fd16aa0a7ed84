"""The dialect `embeddings`: OpenAI's, which most vendors speak.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Fate, Head, Json, Untranslatable, nothing
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import completions_errors
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply, Purpose
from agentgateway.llm.texts import Texts
from agentgateway.llm.wire import amount, check_fields, check_head, known_keys, optional_count, optional_text, wrong

FIELDS: Mapping[str, Fate] = {
    "model": "carried",
    "input": "carried",
    "dimensions": "carried",
    "encoding_format": "carried",
    "input_type": "carried",
    "user": "dropped",
}
REPLY_FIELDS: Mapping[str, Fate] = {"object": "dropped", "data": "carried", "model": "carried", "usage": "carried"}
PURPOSES: Sequence[Purpose] = ("search_document", "search_query", "classification", "clustering")
_KEYS = known_keys(FIELDS)


class Embeddings(Dialect):
    """`input` is a text, several, or tokens, which only the vendor can read."""

    name = "embeddings"
    operation: ClassVar[str] = "embeddings"
    paths: ClassVar[tuple[str, ...]] = ("/v1/embeddings", "/embeddings")
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS

    def read(self, document: Json, path: str) -> Head:
        head = check_head(document, _KEYS, ("dimensions",))
        given = document.get("input")
        if type(given) is not str and not (type(given) is list and given):
            raise wrong("input", "a string, or an array that is not empty")
        if not texts_of(given) and not tokens_of(given):
            raise wrong("input", "texts, or tokens")
        return head

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> Any:
        check_fields(FIELDS, document)
        given = document["input"]
        inputs = texts_of(given)
        if not inputs:
            raise Untranslatable("input", "a list of tokens")
        encoding = optional_text(document, "encoding_format", "") or "float"
        if encoding not in ("float", "base64"):
            raise wrong("encoding_format", "`float` or `base64`")
        dimensions = optional_count(document, "dimensions", "")
        packing: Literal["float", "base64"] = "base64" if encoding == "base64" else "float"
        return EmbeddingCall(document["model"], inputs, dimensions, packing, purpose_of(document))

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        document: Json = {"model": call.model, "input": list(call.inputs), "encoding_format": call.encoding}
        more = {"dimensions": call.dimensions, "input_type": call.purpose}
        return document | {key: value for key, value in more.items() if value is not None}

    def plain(self, document: Json) -> bool:
        """What vectors are for is a word of Cohere's and of compatible servers."""
        return document.pop("input_type", None) is not None

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Texts to embed have no conversation to put messages around."""

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(Texts("user", "messages", edited).all(document, "input", "input"))

    def unreadable(self, document: Json) -> str:
        return "" if texts_of(document["input"]) else "input"

    def decode_reply(self, document: Json) -> Any:
        try:
            rows = sorted(document["data"], key=lambda row: row["index"])
            vectors = tuple(vector_of(row["embedding"]) for row in rows)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise UpstreamError("the upstream's reply has no embeddings", detail=type(error).__name__) from None
        return EmbeddingReply(self.reply_model(document) or "", vectors, self.usage(document))

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        assert isinstance(reply, EmbeddingReply)
        short = isinstance(call, EmbeddingCall) and call.encoding == "base64"
        rows = [
            {"object": "embedding", "index": i, "embedding": packed(vector) if short else list(vector)}
            for i, vector in enumerate(reply.vectors)
        ]
        tokens = reply.usage.input_tokens if reply.usage is not None else 0
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": rows, "model": reply.model, "usage": usage}

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def read_usage(self, fields: Json) -> Usage:
        return Usage(amount(fields, "prompt_tokens") or amount(fields, "total_tokens"))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return completions_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return completions_errors.encode_error(facts)


def purpose_of(document: Json) -> Purpose | None:
    """What the vectors are for: a field of Cohere's and others'. Raises `InvalidRequest`."""
    told = optional_text(document, "input_type", "")
    found = next((one for one in PURPOSES if one == told), None)
    if told is not None and found is None:
        raise wrong("input_type", "one of " + ", ".join(f"`{one}`" for one in PURPOSES))
    return found


def texts_of(given: Any) -> tuple[str, ...]:
    """The texts of an `input`; empty when it has something else in it."""
    if type(given) is str:
        return (given,)
    return tuple(given) if all(type(one) is str for one in given) else ()


def tokens_of(given: Any) -> bool:
    """Whether it is a list of tokens, or several of them."""
    lists = given if type(given[0]) is list else [given]
    return all(type(one) is list and one and all(type(token) is int for token in one) for one in lists)


def vector_of(given: Any) -> tuple[float, ...]:
    """A vector as numbers, or as base64 of little-endian 32-bit floats. Raises ValueError, TypeError, struct.error."""
    if type(given) is str:
        try:
            raw = base64.b64decode(given, validate=True)
        except binascii.Error as error:
            raise ValueError("no base64") from error
        return struct.unpack(f"<{len(raw) // 4}f", raw)
    return tuple(float(number) for number in given)


def packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
