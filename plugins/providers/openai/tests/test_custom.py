"""The provider `custom`: any server that speaks a known format."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.dialects import dialect
from agentgateway.testing import LoopbackHost, ProviderContract, chat, make

GROUP = "agentgateway.providers"


class TestCustomContract(ProviderContract):
    name = "custom"
    config = {"formats": [{"type": "messages", "path": "/claude/messages"}, {"type": "completions"}]}


def custom(*formats: dict[str, Any], **rest: Any) -> Provider:
    return make(GROUP, "custom", {"formats": list(formats), **rest}, LoopbackHost(at="backends[0].ai.provider.custom"))


def test_it_prefers_the_format_that_stands_first() -> None:
    assert custom({"type": "messages"}, {"type": "completions"}).dialects("chat") == ("messages", "completions")
    assert custom({"type": "completions"}).dialects("embeddings") == ()


def test_a_configured_path_wins_letter_for_letter() -> None:
    provider = custom({"type": "completions", "path": "/api/v3//chat"}, {"type": "messages"})
    assert provider.path(chat().call) == "/api/v3//chat"
    assert provider.path(chat(speaks="messages").call) == "/v1/messages"


def test_googles_format_is_called_by_its_method() -> None:
    provider = custom({"type": "generateContent"})
    assert provider.dialects("chat") == ("gemini",)
    for path, stream, leaves in (
        (None, False, "/v1beta/models/m:generateContent"),
        (None, True, "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("/own", True, "/own?alt=sse"),
        ("/own?a=b", True, "/own?a=b&alt=sse"),
    ):
        provider = custom({"type": "generateContent", "path": path} if path else {"type": "generateContent"})
        call = chat(model="m", stream=stream).call.outbound(dialect("gemini"))
        outgoing = Outgoing("POST", "http://127.0.0.1:9", provider.path(call), Headers())
        provider.finish(outgoing, call)
        assert outgoing.target == leaves


def test_it_has_no_address_of_its_own_and_no_key_in_the_environment() -> None:
    provider = custom({"type": "completions"})
    assert (provider.url, provider.key_variable) == ("", None)


def test_it_is_called_what_the_configuration_says() -> None:
    assert custom({"type": "completions"}).system == "custom"
    assert custom({"type": "completions"}, providerOverride="deepseek").system == "deepseek"


@pytest.mark.parametrize("config", [{}, {"formats": []}, {"formats": [{"type": "telepathy"}]}])
def test_formats_must_be_named_and_known(config: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        make(GROUP, "custom", config)


def sent(speaks: str, **headers: str) -> Outgoing:
    provider = custom({"type": "completions"}, {"type": "messages"})
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    outgoing = Outgoing("POST", "http://127.0.0.1:9", "/", Headers.of(fields))
    provider.finish(outgoing, chat(speaks=speaks).call)
    return outgoing


def test_credentials_stay_where_they_are() -> None:
    assert dict(sent("completions", authorization="Bearer k", x_api_key="k").headers) == {
        "authorization": "Bearer k",
        "x-api-key": "k",
    }


def test_a_server_of_anthropics_format_is_told_a_version_unless_the_client_told_one() -> None:
    assert sent("messages").headers.get("anthropic-version") == "2023-06-01"
    assert sent("messages", anthropic_version="2026-10-21").headers.all("anthropic-version") == ["2026-10-21"]
    assert "anthropic-version" not in sent("completions").headers


EXTENDED: dict[str, Any] = {
    "top_k": 4,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "a greeting", "signature": "s"}]},
        {"role": "user", "content": "again"},
    ],
}
EXTENSIONS = (b"top_k", b"cache_control", b"reasoning_content", b"thinking_blocks")


def test_a_translated_call_says_nothing_that_only_some_servers_know() -> None:
    call = chat(EXTENDED, speaks="messages").call.translated(dialect("completions"))
    assert all(name in call.body() for name in EXTENSIONS)
    custom({"type": "completions"}).finish(Outgoing("POST", "http://127.0.0.1:9", "/", Headers()), call)
    assert not any(name in call.body() for name in EXTENSIONS)


def test_a_call_in_the_servers_own_format_keeps_whatever_the_client_wrote() -> None:
    call = chat(top_k=4, reasoning_content="x").call
    before = call.body()
    custom({"type": "completions"}).finish(Outgoing("POST", "http://127.0.0.1:9", "/", Headers()), call)
    assert call.body() == before


def test_the_limit_on_tokens_keeps_its_name() -> None:
    call = chat(max_tokens=64).call
    custom({"type": "completions"}).finish(Outgoing("POST", "http://127.0.0.1:9", "/", Headers()), call)
    assert call.document["max_tokens"] == 64
    assert not call.changed
