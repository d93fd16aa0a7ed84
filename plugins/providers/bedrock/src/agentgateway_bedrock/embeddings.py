"""The dialects `bedrock_titan` and `bedrock_cohere`: embeddings by InvokeModel, in each maker's own words.

Titan: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
Cohere: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import uuid4

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Fate, Head, Json, Untranslatable, nothing
from agentgateway.llm.dialects.embeddings import purpose_of
from agentgateway.llm.dialects.outbound import no_embeddings, vector
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply
from agentgateway.llm.texts import Texts
from agentgateway.llm.wire import check_fields, optional_count, optional_flag, optional_mapping, text, texts, wrong
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


@dataclass(frozen=True, slots=True)
class CohereCall(EmbeddingCall):
    """With `by_type` the client named types, and wants its vectors under theirs."""

    by_type: bool = False


def only_floats(document: Json, key: str) -> bool:
    """Whether the client named types of vectors. Raises `Untranslatable` for any but floats."""
    named = texts(document.get(key) or [], key)
    if set(named) - {FLOATS}:
        raise Untranslatable(key, "vectors of numbers other than floats")
    return bool(named)


class Titan(Invoked):
    """One text in a call. Vectors have the length 1, as OpenAI's have."""

    name = "bedrock_titan"
    operation: ClassVar[str] = "embeddings"
    fields: ClassVar[Mapping[str, Fate]] = {
        "inputText": "carried",
        "inputImage": "refused",
        "dimensions": "carried",
        "normalize": "carried",
        "embeddingTypes": "carried",
        "embeddingConfig": "carried",
    }
    reply_fields: ClassVar[Mapping[str, Fate]] = {
        "embedding": "carried",
        COUNT: "carried",
        "embeddingsByType": "dropped",
    }

    def read(self, document: Json, path: str) -> Head:
        text(document, "inputText", "")
        return Head(self.model_at(path), False)

    def decode_call(self, document: Json) -> Any:
        check_fields(self.fields, document)
        if optional_flag(document, "normalize", "") is False:
            raise Untranslatable("normalize", "vectors that are not of the length 1")
        only_floats(document, "embeddingTypes")
        config = optional_mapping(document, "embeddingConfig", "") or {}
        dimensions = optional_count(document, "dimensions", "")
        return EmbeddingCall(
            "",
            (document["inputText"],),
            dimensions or optional_count(config, "outputEmbeddingLength", "embeddingConfig"),
        )

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(Texts("user", "messages", edited).one(document, "inputText", "inputText"))

    def unreadable(self, document: Json) -> str:
        return "inputImage" if "inputImage" in document else ""

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        assert isinstance(reply, EmbeddingReply)
        if len(reply.vectors) != 1:
            raise no_embeddings()
        numbers, tokens = list(reply.vectors[0]), reply.usage.input_tokens if reply.usage is not None else 0
        return {"embedding": numbers, "embeddingsByType": {FLOATS: numbers}, COUNT: tokens}

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
    fields: ClassVar[Mapping[str, Fate]] = {
        **dict.fromkeys(("texts", "input_type", "embedding_types", "output_dimension"), "carried"),
        **dict.fromkeys(("images", "inputs"), "refused"),
        "truncate": "dropped",
    }
    reply_fields: ClassVar[Mapping[str, Fate]] = {
        "embeddings": "carried",
        "id": "dropped",
        "texts": "dropped",
        "response_type": "dropped",
    }

    def read(self, document: Json, path: str) -> Head:
        if not texts(document.get("texts"), "texts"):
            raise wrong("texts", "an array that is not empty")
        return Head(self.model_at(path), False)

    def decode_call(self, document: Json) -> Any:
        check_fields(self.fields, document)
        by_type = only_floats(document, "embedding_types")
        dimensions = optional_count(document, "output_dimension", "")
        return CohereCall("", tuple(document["texts"]), dimensions, purpose=purpose_of(document), by_type=by_type)

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(Texts("user", "messages", edited).all(document, "texts", "texts"))

    def unreadable(self, document: Json) -> str:
        return next((name for name in ("images", "inputs") if name in document), "")

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        """Vectors by type where the client asked for types."""
        assert isinstance(reply, EmbeddingReply)
        by_type = isinstance(call, CohereCall) and call.by_type
        rows = [list(one) for one in reply.vectors]
        return {
            "id": str(uuid4()),
            "texts": list(call.inputs) if isinstance(call, EmbeddingCall) else [],
            "embeddings": {FLOATS: rows} if by_type else rows,
            "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
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
