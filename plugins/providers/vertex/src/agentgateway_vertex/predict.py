"""The dialect `vertex_predict`: Vertex AI's text embeddings.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Fate, Head, Json, nothing
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import dialect
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply
from agentgateway.llm.wire import amount, wrong


class Predict(Dialect):
    """Of providers only: no client is recognised as speaking it."""

    name = "vertex_predict"
    operation: ClassVar[str] = "embeddings"
    model_in_path: ClassVar[bool] = True
    fields: ClassVar[Mapping[str, Fate]] = {"instances": "carried", "parameters": "carried"}
    reply_fields: ClassVar[Mapping[str, Fate]] = {"predictions": "carried", "metadata": "dropped"}

    def path(self, model: str, *, stream: bool = False) -> str:
        return f"/v1/publishers/google/models/{quote(model, safe='')}:predict"

    def read(self, document: Json, path: str) -> Head:
        raise wrong("instances", "a call of a known format")

    def write_model(self, document: Json, model: str) -> None:
        """The model stands in the path."""

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        document: Json = {"instances": [{"content": text} for text in call.inputs]}
        if call.dimensions is not None:
            document["parameters"] = {"outputDimensionality": call.dimensions}
        return document

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Texts to embed have no conversation to put messages around."""

    def decode_reply(self, document: Json) -> Any:
        try:
            found = [prediction["embeddings"] for prediction in document["predictions"]]
            vectors = tuple(tuple(float(number) for number in one["values"]) for one in found)
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError("the upstream's reply has no embeddings", detail=type(error).__name__) from None
        return EmbeddingReply(self.reply_model(document) or "", vectors, self.usage(document))

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def usage_fields(self, document: Json) -> Json | None:
        """Each prediction counts its own tokens."""
        predictions = document.get("predictions")
        counted = [counts(one) for one in predictions] if isinstance(predictions, list) else []
        return {"token_count": sum(counted)} if counted else None

    def read_usage(self, fields: Json) -> Usage:
        return Usage(amount(fields, "token_count"))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return dialect("gemini").decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return dialect("gemini").encode_error(facts)


def counts(prediction: Any) -> int:
    """The tokens of one text; 0 when it was not told. The vendor counts in numbers with a point."""
    try:
        told = prediction["embeddings"]["statistics"]["token_count"]
    except (KeyError, TypeError):
        return 0
    return int(told) if type(told) in (int, float) and 0 <= told < 2**53 else 0
