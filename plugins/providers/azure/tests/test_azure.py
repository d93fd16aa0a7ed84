"""The provider `azure`: where calls go, and with which credential."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.llm.realtime import RealtimeCall
from agentgateway.testing import ProviderContract, chat, make

GROUP = "agentgateway.providers"
JWT = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln"


class TestAzureContract(ProviderContract):
    name = "azure"
    config = {"resourceName": "mine"}
    operations = ("chat", "embeddings", "text_completions", "images", "speech")


class TestFoundryContract(ProviderContract):
    name = "azure"
    config = {"resourceName": "mine", "resourceType": "foundry", "projectName": "ours"}


def azure(**config: Any) -> Provider:
    made: Provider = make(GROUP, "azure", {"resourceName": "mine", **config})
    return made


def path(provider: Provider, spoken: str, model: str = "gpt-5") -> str:
    return provider.path(chat(speaks=spoken, model=model).call)


@pytest.mark.parametrize(
    ("config", "spoken", "expected"),
    [
        ({}, "completions", "/openai/v1/chat/completions"),
        ({}, "responses", "/openai/v1/responses"),
        ({"apiVersion": "preview"}, "completions", "/openai/v1/chat/completions?api-version=preview"),
        ({"apiVersion": "preview"}, "responses", "/openai/v1/responses?api-version=preview"),
        (
            {"apiVersion": "2024-10-21"},
            "completions",
            "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
        ),
        (
            {"apiVersion": "2025-04-01-preview"},
            "responses",
            "/openai/responses?api-version=2025-04-01-preview",
        ),
        ({"resourceType": "foundry"}, "completions", "/api/projects/mine/openai/v1/chat/completions"),
        ({"resourceType": "aiServices", "projectName": "p"}, "responses", "/api/projects/p/openai/v1/responses"),
        ({"resourceType": "foundry"}, "messages", "/anthropic/v1/messages"),
    ],
)
def test_paths(config: dict[str, Any], spoken: str, expected: str) -> None:
    assert path(azure(**config), spoken) == expected


def test_a_deployments_name_is_one_segment() -> None:
    called = path(azure(apiVersion="2024-10-21"), "completions", "../evil?x=/#y")
    assert called == "/openai/deployments/..%2Fevil%3Fx%3D%2F%23y/chat/completions?api-version=2024-10-21"


def test_other_operations_have_their_paths() -> None:
    provider, dated = azure(), azure(apiVersion="2024-10-21")
    document = {"model": "emb", "input": "x"}
    call = LlmCall(dialect("embeddings"), document, dialect("embeddings").read(document, ""))
    assert provider.path(call) == "/openai/v1/embeddings"
    assert dated.path(call) == "/openai/deployments/emb/embeddings?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("config", "target"),
    [
        ({}, "/openai/v1/realtime?model=my+model"),
        ({"apiVersion": "preview"}, "/openai/v1/realtime?api-version=preview&model=my+model"),
        ({"apiVersion": "2024-10-21"}, "/openai/realtime?api-version=2024-10-21&deployment=my+model"),
        ({"resourceType": "foundry", "projectName": "p"}, "/openai/v1/realtime?model=my+model"),
    ],
)
def test_sessions_name_their_model_where_the_resource_looks(config: dict[str, Any], target: str) -> None:
    """https://learn.microsoft.com/azure/ai-foundry/openai/how-to/realtime-audio-websockets"""
    provider, call = azure(**config), RealtimeCall(dialect("realtime"), "my model", "/v1/realtime")
    assert call.target(provider.path(call), call.model, provider.realtime_model) == target


def test_hosts() -> None:
    assert azure().url == "https://mine.openai.azure.com/openai/v1"
    assert azure(apiVersion="2024-10-21").url == "https://mine.openai.azure.com/openai"
    assert azure(resourceType="foundry").url == "https://mine.services.ai.azure.com/api/projects/mine/openai/v1"


def test_claude_on_foundry_takes_anthropics_format_and_nothing_else() -> None:
    foundry, openai = azure(resourceType="foundry"), azure()
    assert foundry.speaks("chat", "claude-haiku-4-5") == foundry.speaks("chat", "Claude-Opus") == ("messages",)
    assert foundry.speaks("chat", "gpt-5") == openai.speaks("chat", "claude-x") == ("completions", "responses")
    assert "messages" not in openai.dialects("chat")
    assert foundry.speaks("embeddings", "claude-x") == ("embeddings",)


@pytest.mark.parametrize(
    "config",
    [
        {"resourceName": "a/b"},
        {"resourceName": "evil.example"},
        {"resourceType": "other"},
        {"apiVersion": "latest"},
        {"apiVersion": "2024-10-21&x=1"},
        {"projectName": "p"},
        {"resourceType": "foundry", "projectName": "../x"},
        {"resourceType": "foundry", "apiVersion": "2024-10-21"},
    ],
)
def test_wrong_configurations_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        azure(**config)


def sent(
    provider: Provider, call: LlmCall, headers: dict[str, str] | None = None, pinned: set[str] | None = None
) -> Outgoing:
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of(headers or {}), pinned=pinned or set())
    provider.finish(outgoing, call)
    outgoing.body = call.body()
    return outgoing


@pytest.mark.parametrize(
    ("headers", "pinned", "expected"),
    [
        ({"authorization": "Bearer key"}, set(), {"api-key": "key"}),
        ({"authorization": f"Bearer {JWT}"}, set(), {"authorization": f"Bearer {JWT}"}),
        ({"authorization": f"Bearer {JWT}", "api-key": "k"}, set(), {"authorization": f"Bearer {JWT}"}),
        ({"authorization": "Bearer key"}, {"authorization"}, {"authorization": "Bearer key"}),
        ({"api-key": "k", "authorization": "Bearer x"}, {"api-key"}, {"api-key": "k"}),
        ({"api-key": "k"}, set(), {"api-key": "k"}),
        ({"x-api-key": "k"}, set(), {"api-key": "k"}),
        ({"x-api-key": "k"}, {"x-api-key"}, {"x-api-key": "k"}),
        ({"x-api-key": "k", "authorization": "Bearer key"}, set(), {"api-key": "key"}),
    ],
)
def test_one_credential_is_left_where_the_resource_looks(
    headers: dict[str, str], pinned: set[str], expected: dict[str, str]
) -> None:
    assert dict(sent(azure(), chat().call, headers, pinned).headers) == expected


def test_openais_formats_hear_nothing_of_anthropic_and_claude_is_told_a_version() -> None:
    foundry = azure(resourceType="foundry")
    theirs = {"anthropic-version": "2026-10-21", "anthropic-beta": "x"}
    assert dict(sent(foundry, chat().call, theirs).headers) == {}
    outgoing = sent(foundry, chat(speaks="messages").call, theirs)
    assert dict(outgoing.headers) == {"anthropic-version": "2023-06-01", "anthropic-beta": "x"}


def test_a_limit_on_tokens_leaves_under_its_modern_name() -> None:
    call = chat(max_tokens=64).call
    sent(azure(), call)
    assert call.document["max_completion_tokens"] == 64
    claude = chat(speaks="messages", max_tokens=64).call
    sent(azure(resourceType="foundry"), claude)
    assert claude.document["max_tokens"] == 64


def test_a_translated_call_says_only_what_openai_published() -> None:
    call = chat(speaks="messages", top_k=4).call.translated(dialect("completions"))
    body = sent(azure(), call).body
    assert isinstance(body, bytes) and b"top_k" not in body


def test_tokens_are_for_the_kind_of_resource() -> None:
    assert azure().credential == ("azure", {})
    assert sent(azure(), chat().call).scope == ("oauth2", "https://cognitiveservices.azure.com/.default")
    foundry = azure(resourceType="foundry")
    assert sent(foundry, chat().call).scope == ("oauth2", "https://ai.azure.com/.default")
