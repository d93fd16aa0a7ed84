"""The dialect `vertex_predict`: Vertex AI's text embeddings.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from agentgateway.exchange import Usage
from agentgateway.llm.calls import Fate, Json
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import dialect
from agentgateway.llm.dialects.outbound import Outbound, no_embeddings, vector
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply
from agentgateway.llm.wire import amount

TASKS = {
    "search_query": "RETRIEVAL_QUERY",
    "search_document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class Predict(Outbound):
    name = "vertex_predict"
    operation: ClassVar[str] = "embeddings"
    model_in_path: ClassVar[bool] = True
    fields: ClassVar[Mapping[str, Fate]] = {"instances": "carried", "parameters": "carried"}
    reply_fields: ClassVar[Mapping[str, Fate]] = {"predictions": "carried", "metadata": "dropped"}

    def path(self, model: str, *, stream: bool = False) -> str:
        return f"/v1/publishers/google/models/{quote(model, safe='')}:predict"

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        task = {} if call.purpose is None else {"task_type": TASKS[call.purpose]}
        document: Json = {"instances": [{"content": text, **task} for text in call.inputs]}
        if call.dimensions is not None:
            document["parameters"] = {"outputDimensionality": call.dimensions}
        return document

    def decode_reply(self, document: Json) -> Any:
        try:
            vectors = tuple(vector(prediction["embeddings"]["values"]) for prediction in document["predictions"])
        except (KeyError, TypeError):
            raise no_embeddings() from None
        return EmbeddingReply(self.reply_model(document) or "", vectors, self.usage(document))

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
