"""The dialects `bedrock_titan` and `bedrock_cohere`: embeddings by InvokeModel, in each maker's own words.

Titan: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
Cohere: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.llm.calls import Fate, Json, Untranslatable
from agentgateway.llm.dialects.outbound import no_embeddings, vector
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply
from agentgateway_bedrock.invoked import COUNT, Invoked

PLAIN = ("titan-embed-text-v1", "titan-embed-g1-text")
"""Titan's first models take a text and nothing else."""
PICTURES = "titan-embed-image"
FLOATS = "float"


def speaks(model: str) -> Sequence[str]:
    """The dialect of an embedding model, by its id; empty when it is none, or an ARN that does not tell."""
    if "titan-embed" in model:
        return (Titan.name,)
    return (Cohere.name,) if "cohere.embed" in model else ()


class Titan(Invoked):
    """One text in a call. Vectors have the length 1, as OpenAI's have."""

    name = "bedrock_titan"
    operation: ClassVar[str] = "embeddings"
    fields: ClassVar[Mapping[str, Fate]] = dict.fromkeys(
        ("inputText", "dimensions", "normalize", "embeddingConfig"), "carried"
    )
    reply_fields: ClassVar[Mapping[str, Fate]] = {
        "embedding": "carried",
        COUNT: "carried",
        "embeddingsByType": "dropped",
    }

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        if len(call.inputs) > 1:
            raise Untranslatable("input", "more than one text")
        document: Json = {"inputText": call.inputs[0]}
        if any(name in call.model for name in PLAIN):
            if call.dimensions is not None:
                raise Untranslatable("dimensions")
        elif PICTURES in call.model:
            if call.dimensions is not None:
                document["embeddingConfig"] = {"outputEmbeddingLength": call.dimensions}
        else:
            document["normalize"] = True
            if call.dimensions is not None:
                document["dimensions"] = call.dimensions
        return document

    def decode_reply(self, document: Json) -> Any:
        return EmbeddingReply("", (vector(document.get("embedding")),), self.usage(document))


class Cohere(Invoked):
    """Up to 96 texts in a call. `input_type` has to be said: texts are taken for documents to be found."""

    name = "bedrock_cohere"
    operation: ClassVar[str] = "embeddings"
    fields: ClassVar[Mapping[str, Fate]] = dict.fromkeys(
        ("texts", "input_type", "embedding_types", "output_dimension"), "carried"
    )
    reply_fields: ClassVar[Mapping[str, Fate]] = {
        "embeddings": "carried",
        "id": "dropped",
        "texts": "dropped",
        "response_type": "dropped",
    }

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        document: Json = {
            "texts": list(call.inputs),
            "input_type": call.purpose or "search_document",
            "embedding_types": [FLOATS],
        }
        if call.dimensions is not None:
            if "embed-v4" not in call.model:
                raise Untranslatable("dimensions")
            document["output_dimension"] = call.dimensions
        return document

    def decode_reply(self, document: Json) -> Any:
        """`embeddings` are vectors, or vectors by type."""
        found = document.get("embeddings")
        rows = found.get(FLOATS) if type(found) is dict else found
        if type(rows) is not list:
            raise no_embeddings()
        return EmbeddingReply("", tuple(map(vector, rows)), self.usage(document))
