"""The provider `gemini`: what leaves for generativelanguage.googleapis.com."""

from __future__ import annotations

from typing import Any

import pytest

from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import ProviderContract, chat, make

GROUP = "agentgateway.providers"
KEY, TOKEN = "AIzaSyA-key", "ya29.token"


class TestGeminiContract(ProviderContract):
    name = "gemini"
    config = {"model": "gemini-2.5-flash"}
    operations = ("chat", "embeddings")


@pytest.fixture
def provider() -> Provider:
    return make(GROUP, "gemini", {})


def sent(headers: dict[str, str], pinned: set[str] | None = None, **call: Any) -> Outgoing:
    """The request as it leaves."""
    provider = make(GROUP, "gemini", {})
    made = reading(**call)
    outgoing = Outgoing("POST", provider.url, provider.path(made), Headers.of(headers), pinned=pinned or set())
    provider.finish(outgoing, made)
    return outgoing


def reading(
    model: str = "gemini-2.5-flash", method: str = "generateContent", body: bytes = b'{"contents":[]}'
) -> LlmCall:
    return LlmCall.read(dialect("gemini"), body, f"/v1beta/models/{model}:{method}")


def test_it_is_where_the_vendor_says(provider: Provider) -> None:
    assert (provider.url, provider.system, provider.key_variable) == (
        "https://generativelanguage.googleapis.com/v1beta",
        "gcp.gemini",
        "GEMINI_API_KEY",
    )


def test_it_takes_chat_and_embeddings(provider: Provider) -> None:
    assert tuple(provider.dialects("chat")) == ("gemini",)
    assert tuple(provider.dialects("embeddings")) == ("embeddings", "geminiEmbedding", "geminiEmbeddings")
    assert tuple(provider.dialects("rerank")) == ()


def test_embeddings_are_asked_for_in_openais_format(provider: Provider) -> None:
    body = b'{"model":"gemini-embedding-001","input":"a", "dimensions": 64}'
    call = LlmCall.read(dialect("embeddings"), body, "/v1/embeddings").outbound(dialect("embeddings"))
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of({"authorization": f"Bearer {KEY}"}))
    provider.finish(outgoing, call)
    assert (outgoing.target, call.body()) == ("/v1beta/openai/embeddings", body)
    assert dict(outgoing.headers) == {"x-goog-api-key": KEY}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("models/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("tunedModels/mine-1", "/v1beta/tunedModels/mine-1:generateContent"),
        ("a/../b?c#d", "/v1beta/models/a%2F..%2Fb%3Fc%23d:generateContent"),
    ],
)
def test_the_path_names_the_model_and_nothing_else_can_be_said_by_it(provider: Provider, model: str, path: str) -> None:
    call = reading()
    call.ask(model)
    assert provider.path(call) == path


def test_a_stream_is_asked_for_as_server_sent_events() -> None:
    assert sent({}, method="streamGenerateContent").target == (
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    )
    assert sent({}).target == "/v1beta/models/gemini-2.5-flash:generateContent"


def test_a_stream_is_asked_for_so_at_a_path_of_the_operators_too(provider: Provider) -> None:
    call = reading(method="streamGenerateContent")
    for target, leaves in (("/own", "/own?alt=sse"), ("/own?a=b", "/own?a=b&alt=sse")):
        outgoing = Outgoing("POST", provider.url, target, Headers())
        provider.finish(outgoing, call)
        assert outgoing.target == leaves


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
@pytest.mark.parametrize("key", [KEY, "AQ.Ab8-key"])
def test_an_api_key_moves_to_where_the_vendor_looks(scheme: str, key: str) -> None:
    assert list(sent({"authorization": f"{scheme} {key}"}).headers) == [("x-goog-api-key", key)]


def test_an_oauth_token_stays_a_bearer_token() -> None:
    assert list(sent({"authorization": f"Bearer {TOKEN}"}).headers) == [("authorization", f"Bearer {TOKEN}")]


@pytest.mark.parametrize(
    ("headers", "pinned", "leaves"),
    [
        ({"authorization": f"Bearer {KEY}", "x-goog-api-key": "client"}, set(), {"x-goog-api-key": KEY}),
        ({"authorization": "Bearer client", "x-goog-api-key": KEY}, {"x-goog-api-key"}, {"x-goog-api-key": KEY}),
        ({"authorization": f"Bearer {KEY}"}, {"authorization"}, {"authorization": f"Bearer {KEY}"}),
        ({"authorization": f"Bearer {TOKEN}", "x-goog-api-key": "c"}, set(), {"authorization": f"Bearer {TOKEN}"}),
        ({"x-goog-api-key": "client"}, set(), {"x-goog-api-key": "client"}),
    ],
)
def test_one_credential_leaves(headers: dict[str, str], pinned: set[str], leaves: dict[str, str]) -> None:
    assert dict(sent(headers, pinned).headers) == leaves


def test_what_other_vendors_clients_add_stays_here(provider: Provider) -> None:
    assert {b"openai-organization", b"anthropic-version", b"anthropic-beta"} <= provider.unwanted


def test_a_call_in_the_vendors_format_leaves_byte_for_byte(provider: Provider) -> None:
    body = b'{ "contents": {"parts": {"text": "hi"}}, "generation_config": {"no_such_thing": 1} }'
    call = reading(body=body).outbound(dialect("gemini"), "gemini-3-pro")
    provider.finish(Outgoing("POST", provider.url, provider.path(call), Headers()), call)
    assert call.body() == body
    assert "gemini-3-pro" in provider.path(call)


def test_a_model_in_the_body_does_not_contradict_the_path() -> None:
    call = reading(body=b'{"model":"models/gemini-2.5-flash","contents":[]}')
    assert call.outbound(dialect("gemini"), "gemini-3-pro").body() == b'{"contents":[]}'


def test_a_call_of_another_dialect_becomes_the_vendors() -> None:
    call = chat(model="gemini-2.5-flash").call
    assert isinstance(call, LlmCall)
    asked = call.outbound(dialect("gemini")).document
    assert asked == {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
        "generationConfig": {"maxOutputTokens": 64},
    }
