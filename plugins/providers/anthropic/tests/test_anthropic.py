"""The provider `anthropic`: what leaves for api.anthropic.com."""

from __future__ import annotations

from typing import Any

import pytest

from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import ProviderContract, chat, make

GROUP = "agentgateway.providers"


class TestAnthropicContract(ProviderContract):
    name = "anthropic"
    config = {"model": "claude-opus-4-5"}


@pytest.fixture
def provider() -> Provider:
    return make(GROUP, "anthropic", {})


def sent(headers: dict[str, str], pinned: set[str] | None = None, call: LlmCall | None = None) -> dict[str, str]:
    """The header fields that leave, without the version."""
    provider = make(GROUP, "anthropic", {})
    call = call or chat(speaks="messages").call
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of(headers), pinned=pinned or set())
    provider.finish(outgoing, call)
    assert outgoing.headers.all("anthropic-version") == ["2023-06-01"]
    return {name: value for name, value in outgoing.headers if name != "anthropic-version"}


def test_it_is_where_the_vendor_says(provider: Provider) -> None:
    assert (provider.url, provider.system, provider.key_variable) == (
        "https://api.anthropic.com",
        "anthropic",
        "ANTHROPIC_API_KEY",
    )
    assert provider.path(chat(speaks="messages").call) == "/v1/messages"


def test_it_takes_chat_and_nothing_else_yet(provider: Provider) -> None:
    assert tuple(provider.dialects("chat")) == ("messages",)
    assert tuple(provider.dialects("embeddings")) == ()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_bearer_key_moves_to_where_the_vendor_looks(scheme: str) -> None:
    assert sent({"authorization": f"{scheme} sk-ant-api03-1"}) == {"x-api-key": "sk-ant-api03-1"}


def test_an_oauth_token_stays_a_bearer_token() -> None:
    headers = {"authorization": "Bearer sk-ant-oat01-1", "anthropic-beta": "oauth-2025-04-20"}
    assert sent(headers) == headers


def test_a_credential_that_was_put_into_authorization_stays_there() -> None:
    assert sent({"authorization": "Bearer k"}, {"authorization"}) == {"authorization": "Bearer k"}


def test_the_older_clients_key_stays() -> None:
    assert sent({"x-api-key": "sk-ant-api03-1"}) == {"x-api-key": "sk-ant-api03-1"}


@pytest.mark.parametrize(
    ("headers", "pinned", "leaves"),
    [
        ({"authorization": "Bearer ours", "x-api-key": "client"}, set(), {"x-api-key": "ours"}),
        ({"authorization": "Bearer client", "x-api-key": "ours"}, {"x-api-key"}, {"x-api-key": "ours"}),
        ({"authorization": "Bearer ours", "x-api-key": "client"}, {"authorization"}, {"authorization": "Bearer ours"}),
        ({"authorization": "Bearer sk-ant-oat1", "x-api-key": "c"}, set(), {"authorization": "Bearer sk-ant-oat1"}),
    ],
)
def test_one_credential_leaves(headers: dict[str, str], pinned: set[str], leaves: dict[str, str]) -> None:
    assert sent(headers, pinned) == leaves


@pytest.mark.parametrize("version", ["2023-01-01", "2026-10-21"])
def test_the_version_is_the_one_the_gateway_reads_whatever_the_client_says(version: str) -> None:
    assert sent({"anthropic-version": version, "anthropic-beta": "b1,b2"}) == {"anthropic-beta": "b1,b2"}


def test_what_openais_clients_add_stays_here(provider: Provider) -> None:
    assert {b"openai-organization", b"openai-project", b"openai-beta"} == provider.unwanted


def test_a_messages_call_leaves_byte_for_byte() -> None:
    raw = b'{ "model": "claude", "max_tokens": 5, "messages": [{"role":"user","content":"hi"}], "x_new": {"a": 1} }'
    call = LlmCall.read(dialect("messages"), raw, "/v1/messages")
    sent({}, call=call)
    assert call.body() == raw


COMPLETIONS_CALL: dict[str, Any] = {
    "model": "gpt-5",
    "max_tokens": 100,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "18 C"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Weather of a city",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ],
    "tool_choice": "auto",
    "temperature": 0.5,
    "stop": ["END"],
}


def test_a_completions_call_leaves_in_anthropics_published_format() -> None:
    """https://docs.anthropic.com/en/api/messages"""
    call = chat(COMPLETIONS_CALL).call.translated(dialect("messages"))
    sent({}, call=call)
    document = call.document
    assert document["system"] in ("Be brief.", [{"type": "text", "text": "Be brief."}])
    assert {name: value for name, value in document.items() if name not in ("system", "messages")} == {
        "model": "gpt-5",
        "max_tokens": 100,
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
    first, second, third = document["messages"]
    assert first["role"] == "user"
    assert first["content"] in ("Weather in Paris?", [{"type": "text", "text": "Weather in Paris?"}])
    assert second == {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}}],
    }
    assert third["role"] == "user"
    (result,) = third["content"]
    assert (result["type"], result["tool_use_id"]) == ("tool_result", "call_1")
    assert result["content"] in ("18 C", [{"type": "text", "text": "18 C"}])
