"""The provider `openAI`: what leaves for api.openai.com."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import from_json

from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import Head, LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import ProviderContract, chat, make

GROUP = "agentgateway.providers"


class TestOpenAIContract(ProviderContract):
    name = "openAI"
    config = {"model": "gpt-5"}


class TestLowerCaseAlias(ProviderContract):
    name = "openai"


@pytest.fixture
def provider() -> Provider:
    return make(GROUP, "openAI", {})


def sent(
    provider: Provider, call: LlmCall, headers: dict[str, str] | None = None, pinned: set[str] | None = None
) -> Outgoing:
    """The outgoing request as the gateway leaves it for the network."""
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of(headers or {}), pinned=pinned or set())
    provider.finish(outgoing, call)
    outgoing.body = call.body()
    return outgoing


def test_it_is_where_the_vendor_says() -> None:
    provider = make(GROUP, "openAI", {})
    assert (provider.url, provider.system, provider.key_variable) == (
        "https://api.openai.com/v1",
        "openai",
        "OPENAI_API_KEY",
    )
    assert provider.path(chat().call) == "/v1/chat/completions"


def test_it_takes_what_openai_offers(provider: Provider) -> None:
    assert provider.dialects("chat") == ("completions", "responses")
    assert provider.path(chat(speaks="responses").call) == "/v1/responses"
    for operation in ("embeddings", "text_completions", "images", "speech", "moderations"):
        assert tuple(provider.dialects(operation)) == (operation,)
    assert tuple(provider.dialects("count_tokens")) == ()


def test_the_key_stays_a_bearer_token(provider: Provider) -> None:
    outgoing = sent(provider, chat().call, {"authorization": "Bearer sk-1"})
    assert outgoing.headers.all("authorization") == ["Bearer sk-1"]


def test_a_limit_on_tokens_leaves_under_its_modern_name(provider: Provider) -> None:
    call = chat(max_tokens=64).call
    sent(provider, call)
    assert call.document["max_completion_tokens"] == 64
    assert "max_tokens" not in call.document
    assert b'"max_completion_tokens":64' in call.body()


def test_a_call_with_the_modern_name_leaves_byte_for_byte() -> None:
    raw = b'{ "model": "gpt-5", "messages": [{"role":"user","content":"hi"}], "max_completion_tokens": 5, "x-new": 1 }'
    call = LlmCall.read(dialect("completions"), raw, "/v1/chat/completions")
    assert sent(make(GROUP, "openAI", {}), call).body == raw


def test_both_names_at_once_are_the_vendors_to_judge(provider: Provider) -> None:
    call = chat(max_tokens=64, max_completion_tokens=32).call
    before = call.body()
    assert sent(provider, call).body == before


def test_what_anthropics_clients_add_stays_here(provider: Provider) -> None:
    assert {b"anthropic-version", b"anthropic-beta"} <= provider.unwanted
    assert not {b"openai-organization", b"user-agent"} & provider.unwanted


def test_a_credential_that_was_put_into_x_api_key_stays_there(provider: Provider) -> None:
    headers = {"authorization": "Bearer a", "x-api-key": "b"}
    assert dict(sent(provider, chat().call, headers, {"x-api-key"}).headers) == headers


BLOCKS = {"input": {"mode": "block"}, "output": {"mode": "score"}}


@pytest.mark.parametrize("speaks", ["completions", "responses"])
@pytest.mark.parametrize(
    ("moderation", "field"),
    [
        ({}, {"model": "omni-moderation-latest"}),
        (
            {"policy": {"input": {"mode": "block"}}},
            {"model": "omni-moderation-latest", "policy": {"input": {"mode": "block"}}},
        ),
        ({"model": "m", "policy": BLOCKS}, {"model": "m", "policy": BLOCKS}),
    ],
)
def test_the_operators_moderation_takes_the_place_of_the_clients(speaks: str, moderation: Any, field: Any) -> None:
    call = chat(speaks=speaks, moderation={"model": "none", "policy": None}).call
    body = sent(make(GROUP, "openAI", {"moderation": moderation}), call).body
    assert isinstance(body, bytes)
    assert from_json(body)["moderation"] == field


def test_the_clients_own_moderation_is_left_where_the_operator_says_nothing(provider: Provider) -> None:
    call = chat(moderation={"model": "mine"}).call
    sent(provider, call)
    assert call.document["moderation"] == {"model": "mine"}


def test_translated_calls_are_moderated_too() -> None:
    call = LlmCall(dialect("messages"), deepcopy(MESSAGES_CALL), Head("claude", False)).translated(
        dialect("completions")
    )
    sent(make(GROUP, "openAI", {"moderation": {}}), call)
    assert call.document["moderation"] == {"model": "omni-moderation-latest"}


def test_operations_that_have_no_moderation_get_none() -> None:
    call = LlmCall(dialect("embeddings"), {"model": "m", "input": "hi"}, Head("m", False))
    sent(make(GROUP, "openAI", {"moderation": {}}), call)
    assert "moderation" not in call.document


@pytest.mark.parametrize(
    "moderation", [{"policy": {"input": {"mode": "loud"}}}, {"policy": {"input": {}}}, {"mode": "block"}, {"model": ""}]
)
def test_moderation_that_openai_would_refuse_is_refused_at_once(moderation: Any) -> None:
    with pytest.raises(ValidationError):
        make(GROUP, "openAI", {"moderation": moderation})


MESSAGES_CALL: dict[str, Any] = {
    "model": "claude-opus-4-5",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 C"}]},
    ],
    "tools": [
        {
            "name": "weather",
            "description": "Weather of a city",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ],
    "tool_choice": {"type": "auto"},
    "temperature": 0.5,
    "stop_sequences": ["END"],
}


def test_a_messages_call_leaves_in_openais_published_format(provider: Provider) -> None:
    """https://platform.openai.com/docs/api-reference/chat/create"""
    call = chat(MESSAGES_CALL, speaks="messages").call.translated(dialect("completions"))
    sent(provider, call)
    assert call.document == {
        "model": "claude-opus-4-5",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Paris?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "18 C"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Weather of a city",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                },
            }
        ],
        "tool_choice": "auto",
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "stop": ["END"],
    }
