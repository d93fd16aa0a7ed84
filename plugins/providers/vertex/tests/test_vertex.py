"""The provider `vertex`: what leaves for aiplatform.googleapis.com."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest

from agentgateway.errors import ConfigError, UpstreamError
from agentgateway.exchange import Headers, Outgoing, Usage
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall, LlmReply
from agentgateway.llm.dialects import dialect
from agentgateway.testing import ProviderContract, chat, make

GROUP = "agentgateway.providers"
KEY, TOKEN = "AIzaSyA-key", "ya29.token"
BASE = "/v1/projects/mine/locations/global"
MODELS = f"{BASE}/publishers"


class TestVertexContract(ProviderContract):
    name = "vertex"
    config = {"projectId": "mine"}
    operations = ("chat", "embeddings")


def vertex(**config: Any) -> Provider:
    made: Provider = make(GROUP, "vertex", {"projectId": "mine", **config})
    return made


def call(model: str, *, stream: bool = False, speaks: str = "completions") -> LlmCall:
    """As the gateway makes it for an attempt."""
    made = chat(model=model, stream=stream, speaks=speaks).call
    assert isinstance(made, LlmCall)
    made.ask(model)
    return made.outbound(dialect(vertex().speaks("chat", model)[0]))


def finished(outbound: LlmCall, headers: dict[str, str] | None = None, pinned: set[str] | None = None) -> Outgoing:
    provider = vertex()
    sent = Headers.of(headers or {})
    outgoing = Outgoing("POST", provider.url, provider.path(outbound), sent, pinned=pinned or set())
    provider.finish(outgoing, outbound)
    return outgoing


@pytest.mark.parametrize(
    ("region", "host"),
    [
        (None, "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_a_region_has_its_own_host(region: str | None, host: str) -> None:
    provider = vertex() if region is None else vertex(region=region)
    assert provider.url == f"https://{host}/v1/projects/mine/locations/{region or 'global'}"


def test_it_shows_googles_own_credentials_unless_told_otherwise() -> None:
    provider = vertex()
    assert (provider.system, provider.credential, provider.key_variable) == ("gcp.vertex_ai", ("gcp", {}), None)


@pytest.mark.parametrize(
    ("model", "stream", "target"),
    [
        ("gemini-2.5-flash", False, f"{MODELS}/google/models/gemini-2.5-flash:generateContent"),
        ("gemini-2.5-flash", True, f"{MODELS}/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
        ("google/gemini-3-pro", False, f"{MODELS}/google/models/gemini-3-pro:generateContent"),
        ("models/gemini-3-pro", False, f"{MODELS}/google/models/gemini-3-pro:generateContent"),
        (
            "projects/p/locations/l/publishers/google/models/gemini-3-pro",
            False,
            f"{MODELS}/google/models/gemini-3-pro:generateContent",
        ),
        ("claude-opus-4-6", False, f"{MODELS}/anthropic/models/claude-opus-4-6:rawPredict"),
        ("claude-opus-4-6", True, f"{MODELS}/anthropic/models/claude-opus-4-6:streamRawPredict"),
        (
            "claude-sonnet-4-5-20250929",
            False,
            f"{MODELS}/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
        ),
        (
            "publishers/anthropic/models/claude-haiku-4-5@20251001",
            False,
            f"{MODELS}/anthropic/models/claude-haiku-4-5@20251001:rawPredict",
        ),
        ("meta/llama-4-maverick-17b-128e-instruct-maas", True, f"{BASE}/endpoints/openapi/chat/completions"),
        ("google/gemma-3-27b-it", False, f"{BASE}/endpoints/openapi/chat/completions"),
        ("some-model", False, f"{BASE}/endpoints/openapi/chat/completions"),
    ],
)
def test_each_family_of_models_has_its_own_place(model: str, stream: bool, target: str) -> None:
    assert finished(call(model, stream=stream)).target == target


def test_a_models_name_says_nothing_else_in_a_path() -> None:
    target = finished(call("gemini-?a#b:predict;c")).target
    assert target == f"{MODELS}/google/models/gemini-%3Fa%23b%3Apredict%3Bc:generateContent"
    assert finished(call("publishers/google/models/gemini-/../../x")).target.count("/..") == 0


@pytest.mark.parametrize("speaks", ["completions", "messages"])
def test_a_call_to_claude_names_its_version_and_not_its_model(speaks: str) -> None:
    outbound = call("claude-opus-4-6", stream=speaks == "messages", speaks=speaks)
    outgoing = finished(outbound, {"anthropic-beta": "context-1m-2025-08-07"})
    assert outbound.document["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in outbound.document
    assert outgoing.headers.get("anthropic-beta") == "context-1m-2025-08-07"
    assert b'"anthropic_version":"vertex-2023-10-16"' in outbound.body()


def test_the_clients_own_call_stays_as_it_is_for_the_next_attempt() -> None:
    made = chat(model="claude-opus-4-6", speaks="messages").call
    assert isinstance(made, LlmCall)
    before = made.body()
    finished(made.outbound(dialect("messages")))
    assert made.body() == before
    assert made.document["model"] == "claude-opus-4-6"


def test_other_publishers_models_are_named_in_the_body() -> None:
    outbound = call("publishers/meta/models/llama-4")
    outgoing = finished(outbound, {"anthropic-beta": "x"})
    assert outbound.document["model"] == "meta/llama-4"
    assert "anthropic-beta" not in outgoing.headers


@pytest.mark.parametrize(
    ("headers", "pinned", "leaves"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, set(), {"authorization": f"Bearer {TOKEN}"}),
        ({"authorization": f"bearer {KEY}"}, set(), {"x-goog-api-key": KEY}),
        ({"authorization": "Bearer AQ.key"}, set(), {"x-goog-api-key": "AQ.key"}),
        ({"authorization": f"Bearer {KEY}"}, {"authorization"}, {"authorization": f"Bearer {KEY}"}),
        ({"authorization": "Bearer x", "x-goog-api-key": KEY}, {"x-goog-api-key"}, {"x-goog-api-key": KEY}),
        ({"authorization": f"Bearer {TOKEN}", "x-goog-api-key": "c"}, set(), {"authorization": f"Bearer {TOKEN}"}),
    ],
)
def test_one_credential_leaves(headers: dict[str, str], pinned: set[str], leaves: dict[str, str]) -> None:
    assert dict(finished(call("gemini-2.5-flash"), headers, pinned).headers) == leaves


def test_a_gemini_call_leaves_byte_for_byte() -> None:
    body = b'{ "contents": {"parts": {"text": "hi"}}, "labels": {"no_such": "1"} }'
    read = LlmCall.read(dialect("gemini"), body, "/v1beta/models/gemini-2.5-flash:generateContent")
    outbound = read.outbound(dialect("gemini"))
    finished(outbound)
    assert outbound.body() == body


@pytest.mark.parametrize(
    "config", [{"projectId": None}, {"projectId": "a/b"}, {"region": "a.b"}, {"region": "x/y"}, {"model": ""}]
)
def test_wrong_configurations_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises((pydantic.ValidationError, ConfigError)):
        vertex(**config)


# embeddings


def embedding(**more: Any) -> LlmCall:
    document = {"model": "gemini-embedding-001", "input": ["a", "b"], **more}
    return LlmCall.read(dialect("embeddings"), json.dumps(document).encode(), "/v1/embeddings")


def test_texts_become_instances() -> None:
    outbound = embedding(dimensions=64).outbound(dialect("vertex_predict"))
    assert vertex().path(outbound) == f"{MODELS}/google/models/gemini-embedding-001:predict"
    assert outbound.document == {
        "instances": [{"content": "a"}, {"content": "b"}],
        "parameters": {"outputDimensionality": 64},
    }
    assert embedding().outbound(dialect("vertex_predict")).document.keys() == {"instances"}


def prediction(*values: float, tokens: Any = 2.0) -> dict[str, Any]:
    return {"embeddings": {"values": list(values), "statistics": {"truncated": False, "token_count": tokens}}}


def test_predictions_become_embeddings() -> None:
    reply = LlmReply(dialect("vertex_predict"), {"predictions": [prediction(0.5, 1), prediction(0.25, 2, tokens=3)]})
    assert reply.usage() == Usage(5)
    document = reply.translated(dialect("embeddings"), embedding().canonical()).document
    assert [row["embedding"] for row in document["data"]] == [[0.5, 1.0], [0.25, 2.0]]
    assert (document["model"], document["usage"]["prompt_tokens"]) == ("gemini-embedding-001", 5)


@pytest.mark.parametrize(
    "document",
    [{}, {"predictions": 7}, {"predictions": [1]}, {"predictions": [{}]}, {"predictions": [prediction(tokens="x"), 1]}]
    + [{"predictions": [{"embeddings": {"values": ["x"]}}]}, {"predictions": [{"embeddings": {"values": None}}]}],
)
def test_a_reply_without_predictions_is_the_upstreams_error(document: dict[str, Any]) -> None:
    reply = LlmReply(dialect("vertex_predict"), document)
    reply.usage()
    with pytest.raises(UpstreamError):
        reply.translated(dialect("embeddings"))


def test_counts_that_are_none_count_nothing() -> None:
    odd = [prediction(1, tokens=value) for value in (None, "3", True, -1, float("inf"), 4)]
    assert LlmReply(dialect("vertex_predict"), {"predictions": odd}).usage() == Usage(4)


def test_errors_are_googles() -> None:
    body = b'{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED"}}'
    facts = dialect("vertex_predict").decode_error(429, body)
    assert (facts.status, facts.message) == (429, "Quota exceeded.")
