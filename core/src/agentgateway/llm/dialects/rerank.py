"""The dialect `rerank`: Cohere's, version 2, which most vendors speak; version 1 is the same where both are used.

https://docs.cohere.com/reference/rerank
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Fate, Head, Json, nothing
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import completions_errors
from agentgateway.llm.operations import Ranked, RerankCall, RerankReply
from agentgateway.llm.texts import Texts
from agentgateway.llm.wire import (
    amount,
    check_fields,
    check_head,
    error_object,
    error_word,
    known_keys,
    optional_count,
    optional_flag,
    text,
    wrong,
)

FIELDS: Mapping[str, Fate] = {
    "model": "carried",
    "query": "carried",
    "documents": "carried",
    "top_n": "carried",
    "return_documents": "carried",
    "max_tokens_per_doc": "dropped",
    "max_chunks_per_doc": "dropped",
    "rank_fields": "refused",
    "priority": "dropped",
}
REPLY_FIELDS: Mapping[str, Fate] = {"id": "carried", "results": "carried", "meta": "dropped", "usage": "carried"}
_KEYS = known_keys(FIELDS)


class Rerank(Dialect):
    name = "rerank"
    operation: ClassVar[str] = "rerank"
    paths: ClassVar[tuple[str, ...]] = ("/v2/rerank", "/v1/rerank", "/rerank")
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS

    def read(self, document: Json, path: str) -> Head:
        head = check_head(document, _KEYS, ("top_n",))
        text(document, "query", "")
        documents = document.get("documents")
        if type(documents) is not list or not documents or not all(type(one) in (str, dict) for one in documents):
            raise wrong("documents", "an array of texts that is not empty")
        return head

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> Any:
        check_fields(FIELDS, document)
        documents = tuple(told(one, f"documents[{i}]") for i, one in enumerate(document["documents"]))
        repeats = optional_flag(document, "return_documents", "") or False
        top = optional_count(document, "top_n", "")
        return RerankCall(document["model"], document["query"], documents, top, repeats)

    def encode_call(self, call: Any) -> Json:
        assert isinstance(call, RerankCall)
        document: Json = {"model": call.model, "query": call.query, "documents": list(call.documents)}
        if call.repeats:
            document["return_documents"] = True
        return document if call.top is None else {**document, "top_n": call.top}

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """A search has no conversation to put messages around."""

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        texts = Texts("user", "messages", edited)
        return [*texts.one(document, "query", "query"), *texts.all(document, "documents", "documents")]

    def decode_reply(self, document: Json) -> Any:
        try:
            results = [Ranked(int(one["index"]), float(one["relevance_score"])) for one in document["results"]]
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamError("the upstream's reply has no ranking", detail=type(error).__name__) from None
        ranked = tuple(sorted(results, key=lambda one: -one.score))
        return RerankReply(
            self.reply_model(document) or "", ranked, str(document.get("id") or ""), self.usage(document)
        )

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        assert isinstance(reply, RerankReply)
        results: list[Json] = [{"index": one.index, "relevance_score": one.score} for one in reply.ranked]
        if isinstance(call, RerankCall) and call.repeats:
            for one in results:
                if not 0 <= one["index"] < len(call.documents):
                    raise UpstreamError("the upstream's reply ranks a document that there is not")
                one["document"] = {"text": call.documents[one["index"]]}
        return {"id": reply.id, "results": results, "meta": {"api_version": {"version": "2"}}}

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        """The documents, where the vendor repeats them."""
        results = document.get("results")
        return list(Texts("assistant", "messages", edited).all({"results": spoken(results)}, "results", "results"))

    def usage_fields(self, document: Json) -> Json | None:
        """`usage` of compatible servers, `meta.tokens` or `meta.billed_units` of Cohere's."""
        meta = document.get("meta")
        places = [document.get("usage"), *(meta.get(key) for key in ("tokens", "billed_units") if type(meta) is dict)]
        return next((place for place in places if type(place) is dict), None)

    def read_usage(self, fields: Json) -> Usage:
        tokens = amount(fields, "input_tokens") or amount(fields, "prompt_tokens") or amount(fields, "total_tokens")
        return Usage(tokens, amount(fields, "output_tokens"))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        """Cohere writes `{"message": …}`."""
        error = error_object(body)
        return ErrorFacts(status, error_word(error, "message") or f"the upstream answered with status {status}")

    def encode_error(self, facts: ErrorFacts) -> Json:
        """Both forms: the message where Cohere's clients look for it, and the rest where everybody else does."""
        return {"message": facts.message, **completions_errors.encode_error(facts)}


def told(document: Any, at: str) -> str:
    """The text of a document: itself, or what it has under `text`."""
    found = document if type(document) is str else document.get("text")
    if type(found) is not str:
        raise wrong(at, "a text, or an object with a `text`")
    return found


def spoken(results: Any) -> list[Any]:
    return (
        [one["document"] for one in results if type(one) is dict and "document" in one] if type(results) is list else []
    )
