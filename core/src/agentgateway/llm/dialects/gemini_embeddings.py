"""The dialects `geminiEmbedding` and `geminiEmbeddings`: Google's embedContent and batchEmbedContents.

https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, ErrorFacts, Fate, Head, Json, Untranslatable, nothing
from agentgateway.llm.dialects import gemini_errors
from agentgateway.llm.dialects.gemini import check_model, model_at, path_of
from agentgateway.llm.dialects.gemini_shapes import Level, levels, tidy
from agentgateway.llm.dialects.gemini_texts import content_segments
from agentgateway.llm.dialects.outbound import no_embeddings, vector
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply, Purpose
from agentgateway.llm.texts import Texts
from agentgateway.llm.wire import amount, check_fields, join, mapping, objects, optional_count, optional_text, wrong

FIELDS: Mapping[str, Fate] = {
    "model": "dropped",
    "content": "carried",
    "content.role": "dropped",
    "content.parts": "carried",
    "content.parts[].text": "carried",
    "taskType": "carried",
    "title": "dropped",
    "outputDimensionality": "carried",
    "embedContentConfig": "carried",
    "embedContentConfig.taskType": "carried",
    "embedContentConfig.title": "dropped",
    "embedContentConfig.outputDimensionality": "carried",
    "embedContentConfig.autoTruncate": "dropped",
    "embedContentConfig.documentOcr": "refused",
    "embedContentConfig.audioTrackExtraction": "refused",
}
"""The model stands in the path; it may stand here once more."""
CONFIG = "embedContentConfig"
"""Where the vendor has its options since 2026; those beside it are the older place."""
PURPOSES: Mapping[str, Purpose] = {
    "RETRIEVAL_QUERY": "search_query",
    "RETRIEVAL_DOCUMENT": "search_document",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
}
"""Other types of tasks are hints that nobody else has a word for."""
FILES = frozenset(("inlineData", "inline_data", "fileData", "file_data"))
"""Parts that models for more than text embed, in both spellings that the vendor takes."""


class GeminiEmbedding(Dialect):
    """One content, one vector."""

    name = "geminiEmbedding"
    operation: ClassVar[str] = "embeddings"
    paths: ClassVar[tuple[str, ...]] = (":embedContent",)
    model_in_path: ClassVar[bool] = True
    usage_key: ClassVar[bytes] = b"usageMetadata"
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = {"embedding": "carried", "usageMetadata": "carried"}
    level: ClassVar[Level] = levels(FIELDS)

    def asked(self, document: Json) -> list[tuple[Json, str]]:
        """What is to be embedded, each with its path in the document. Raises `InvalidRequest`."""
        return [(document, "")]

    def path(self, model: str, *, stream: bool = False) -> str:
        return path_of(model, self.paths[0][1:])

    def read(self, document: Json, path: str) -> Head:
        model = model_at(path, self.paths)
        tidy(document, self.level)
        for one, at in self.asked(document):
            check_model(one, model, join(at, "model"))
            content = join(at, "content")
            if not objects(mapping(one.get("content"), content).get("parts"), f"{content}.parts"):
                raise wrong(f"{content}.parts", "an array that is not empty")
        return Head(model, False)

    def write_model(self, document: Json, model: str) -> None:
        """The model stands in the path."""

    def decode_call(self, document: Json) -> Any:
        found = [(embedded(one, at), at) for one, at in self.asked(document)]
        _, dimensions, purpose = found[0][0]
        for (_, *options), at in found:
            if options != [dimensions, purpose]:
                raise Untranslatable(at, "an option of its own")
        return EmbeddingCall("", tuple(text for (text, *_), _ in found), dimensions, purpose=purpose)

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        if len(call.inputs) > 1:
            raise Untranslatable("input", "more than one text")
        return request(call, call.inputs[0])

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Contents to embed have no conversation to put messages around."""

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        texts = Texts("user", "messages", edited)
        found: list[Segment] = []
        for one, at in self.asked(document):
            found.extend(content_segments(one["content"], join(at, "content"), "user", edited))
            found.extend(texts.one(one, "title", join(at, "title")))
            found.extend(texts.one(one.get(CONFIG) or {}, "title", join(at, f"{CONFIG}.title")))
        return found

    def unreadable(self, document: Json) -> str:
        found = (files_in(one["content"], join(at, "content")) for one, at in self.asked(document))
        return next(filter(None, found), "")

    def decode_reply(self, document: Json) -> Any:
        return EmbeddingReply("", (values(document.get("embedding")),), self.usage(document))

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        assert isinstance(reply, EmbeddingReply)
        if len(reply.vectors) != 1:
            raise no_embeddings()
        return {"embedding": {"values": list(reply.vectors[0])}} | counted(reply)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def reply_model(self, document: Json) -> str | None:
        return None

    def usage_fields(self, document: Json) -> Json | None:
        usage = document.get("usageMetadata")
        return usage if isinstance(usage, dict) else None

    def read_usage(self, fields: Json) -> Usage:
        return Usage(amount(fields, "promptTokenCount"))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return gemini_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return gemini_errors.encode_error(facts)


def files_in(content: Json, at: str) -> str:
    """The first of its parts that is a file; empty when none is."""
    parts = objects(content["parts"], f"{at}.parts")
    return next((join(place, key) for part, place in parts for key in part if key in FILES), "")


REQUESTS = "requests"
BATCH_FIELDS: Mapping[str, Fate] = {
    REQUESTS: "carried",
    **{f"{REQUESTS}[].{name}": fate for name, fate in FIELDS.items()},
}


class GeminiEmbeddings(GeminiEmbedding):
    """Several contents at once: what Google's SDKs send, also for a single one."""

    name = "geminiEmbeddings"
    paths: ClassVar[tuple[str, ...]] = (":batchEmbedContents",)
    fields: ClassVar[Mapping[str, Fate]] = BATCH_FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = {"embeddings": "carried", "usageMetadata": "carried"}
    level: ClassVar[Level] = levels(BATCH_FIELDS)

    def asked(self, document: Json) -> list[tuple[Json, str]]:
        found = objects(document.get(REQUESTS), REQUESTS)
        if not found:
            raise wrong(REQUESTS, "an array that is not empty")
        return found

    def decode_call(self, document: Json) -> Any:
        check_fields(BATCH_FIELDS, document)
        return super().decode_call(document)

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, EmbeddingCall)
        named = {"model": f"models/{call.model}"}
        return {REQUESTS: [named | request(call, text) for text in call.inputs]}

    def decode_reply(self, document: Json) -> Any:
        rows = document.get("embeddings")
        if type(rows) is not list or not rows:
            raise no_embeddings()
        return EmbeddingReply("", tuple(map(values, rows)), self.usage(document))

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        assert isinstance(reply, EmbeddingReply)
        return {"embeddings": [{"values": list(one)} for one in reply.vectors]} | counted(reply)


def embedded(one: Json, at: str) -> tuple[str, int | None, Purpose | None]:
    """The text, how long its vector is to be, and what for. Raises `Untranslatable`, `InvalidRequest`."""
    check_fields(FIELDS, one, at)
    config = mapping(one.get(CONFIG) or {}, join(at, CONFIG))
    check_fields(FIELDS, config, join(at, CONFIG), f"{CONFIG}.")
    content = join(at, "content")
    check_fields(FIELDS, one["content"], content, "content.")
    parts = objects(one["content"]["parts"], f"{content}.parts")
    for part, place in parts:
        check_fields(FIELDS, part, place, "content.parts[].")
        if optional_text(part, "text", place) is None:
            raise wrong(f"{place}.text", "a string")
    options = one | {key: value for key, value in config.items() if value is not None}
    dimensions = optional_count(options, "outputDimensionality", at)
    purpose = PURPOSES.get(optional_text(options, "taskType", at) or "")
    return "\n".join(part["text"] for part, _ in parts), dimensions, purpose


def request(call: EmbeddingCall, text: str) -> Json:
    words = {name: word for word, name in PURPOSES.items()}
    document: Json = {"content": {"parts": [{"text": text}]}}
    if call.purpose is not None:
        document["taskType"] = words[call.purpose]
    if call.dimensions is not None:
        document["outputDimensionality"] = call.dimensions
    return document


def values(embedding: Any) -> tuple[float, ...]:
    """Raises `UpstreamError`."""
    return vector(embedding.get("values") if type(embedding) is dict else None)


def counted(reply: EmbeddingReply) -> Json:
    return {} if reply.usage is None else {"usageMetadata": {"promptTokenCount": reply.usage.input_tokens}}
