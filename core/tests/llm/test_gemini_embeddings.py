"""Google's embedContent and batchEmbedContents: to and from the canonical call, and what stands where something else
should."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall, LlmReply, Untranslatable
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects import dialect
from agentgateway.llm.documents import dump
from agentgateway.llm.operations import EmbeddingCall, EmbeddingReply
from agentgateway.testing.hostile import spoil

Json = dict[str, Any]
ONE, SEVERAL, OPENAIS = dialect("geminiEmbedding"), dialect("geminiEmbeddings"), dialect("embeddings")
PATHS = {"geminiEmbedding": "/v1/models/m:embedContent", "geminiEmbeddings": "/v1/models/m:batchEmbedContents"}
ASKED: Json = {
    "model": "models/m",
    "content": {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
    "taskType": "CLUSTERING",
    "title": "t",
    "embedContentConfig": {"outputDimensionality": 5, "title": "u"},
}
CALLS = {"geminiEmbedding": ASKED, "geminiEmbeddings": {"requests": [ASKED, ASKED]}}
REPLIES: dict[str, Json] = {
    "geminiEmbedding": {"embedding": {"values": [1, 0.5]}, "usageMetadata": {"promptTokenCount": 3}},
    "geminiEmbeddings": {"embeddings": [{"values": [1, 0.5]}], "usageMetadata": {"promptTokenCount": 3}},
}
both = pytest.mark.parametrize("spoken", [ONE, SEVERAL], ids=lambda one: one.name)


def read(spoken: Dialect, document: Any) -> LlmCall:
    return LlmCall.read(spoken, dump(document), PATHS[spoken.name])


def test_options_stand_in_either_place_and_in_either_spelling() -> None:
    told = {"content": {"parts": [{"text": "a"}]}, "task_type": "CLASSIFICATION", "output_dimensionality": 5}
    inside = {"content": told["content"], "embed_content_config": {"task_type": "CLASSIFICATION"}}
    assert ONE.decode_call(read(ONE, told).document) == EmbeddingCall("", ("a",), 5, purpose="classification")
    assert ONE.decode_call(read(ONE, inside).document).purpose == "classification"


def test_the_options_that_came_later_win() -> None:
    document = ASKED | {"outputDimensionality": 7}
    assert ONE.decode_call(read(ONE, document).document).dimensions == 5


@both
def test_a_call_survives_the_canonical_one(spoken: Dialect) -> None:
    inputs = ("a", "b")[: 1 if spoken is ONE else 2]
    call = EmbeddingCall("m", inputs, 5, purpose="search_query")
    decoded = spoken.decode_call(read(spoken, spoken.encode_call(call)).document)
    assert decoded == EmbeddingCall("", inputs, 5, purpose="search_query")


@both
def test_a_reply_survives_the_canonical_one(spoken: Dialect) -> None:
    reply = LlmReply.read(spoken, dump(REPLIES[spoken.name]))
    assert reply.usage() == Usage(3)
    decoded: Any = spoken.decode_reply(reply.document)
    assert decoded == EmbeddingReply("", ((1.0, 0.5),), Usage(3))
    assert spoken.encode_reply(decoded) == REPLIES[spoken.name]


def test_one_content_has_one_vector() -> None:
    with pytest.raises(Untranslatable, match="more than one text"):
        ONE.encode_call(EmbeddingCall("m", ("a", "b")))  # type: ignore[arg-type]
    with pytest.raises(UpstreamError, match="no embeddings"):
        ONE.encode_reply(EmbeddingReply("m", ()))  # type: ignore[arg-type]


@both
def test_a_path_without_a_model_is_refused(spoken: Dialect) -> None:
    with pytest.raises(InvalidRequest, match="missing in the path"):
        LlmCall.read(spoken, dump(CALLS[spoken.name]), f"/v1/nothing{spoken.paths[0]}")


@both
def test_every_text_is_a_segment(spoken: Dialect) -> None:
    call = read(spoken, CALLS[spoken.name])
    for segment in call.segments():
        segment.replace("x")
    assert call.changed
    assert not {"a", "b", "t", "u"} & {segment.text for segment in call.segments()}


@both
@pytest.mark.parametrize("kind", ["inlineData", "inline_data", "fileData", "file_data"])
def test_what_no_guard_can_read_is_told(spoken: Dialect, kind: str) -> None:
    told = {"content": {"parts": [{"text": "a"}, {kind: {"mimeType": "text/plain", "data": "YQ=="}}]}}
    call = read(spoken, told if spoken is ONE else {"requests": [ASKED, told]})
    assert call.unreadable() == ("" if spoken is ONE else "requests[1].") + f"content.parts[1].{kind}"
    assert read(spoken, CALLS[spoken.name]).unreadable() == ""


@both
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spoilt_call_is_refused_or_read(spoken: Dialect, data: st.DataObject) -> None:
    document = spoil(CALLS[spoken.name], lambda n: data.draw(st.integers(0, n - 1)))
    with suppress(InvalidRequest):
        call = read(spoken, document)
        call.segments()
        call.translated(OPENAIS)


@both
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spoilt_reply_is_refused_or_read(spoken: Dialect, data: st.DataObject) -> None:
    document = spoil(REPLIES[spoken.name], lambda n: data.draw(st.integers(0, n - 1)))
    with suppress(UpstreamError):
        reply = LlmReply.read(spoken, dump(document))
        reply.usage()
        reply.translated(OPENAIS)


@both
def test_errors_are_googles(spoken: Dialect) -> None:
    facts = spoken.decode_error(429, dump(spoken.encode_error(ErrorFacts(429, "Slow down."))))
    assert (facts.message, facts.type) == ("Slow down.", "RESOURCE_EXHAUSTED")
