"""The presets: what leaves for each vendor."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from agentgateway_compatible.presets import PRESETS

from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import ProviderContract, chat, make

GROUP = "agentgateway.providers"
NAMES = sorted(PRESETS)
README = (Path(__file__).parents[1] / "README.md").read_text()


def preset(name: str) -> Provider:
    return make(GROUP, name, {})


for each in NAMES:
    made = type(f"Test{each.title()}Contract", (ProviderContract,), {"name": each, "config": {"model": "m"}})
    globals()[made.__name__] = made


def sent(name: str, call: LlmCall, **headers: str) -> Outgoing:
    """The outgoing request as the gateway leaves it for the network."""
    provider = preset(name)
    fields = {field.replace("_", "-"): value for field, value in headers.items()}
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of(fields))
    provider.finish(outgoing, call)
    outgoing.body = call.body()
    return outgoing


def test_there_are_thirteen_and_each_is_installed() -> None:
    installed = {point.name for point in entry_points(group=GROUP) if point.module == "agentgateway_compatible.plugin"}
    assert installed == set(PRESETS)
    assert len(PRESETS) == 13


@pytest.mark.parametrize("name", NAMES)
def test_each_is_what_the_table_says(name: str) -> None:
    provider, row = preset(name), PRESETS[name]
    assert (provider.url, provider.system, provider.key_variable) == (row.url, row.system, row.key)
    assert provider.dialects("chat")[0] == "completions"
    for spoken in row.paths:
        assert spoken in provider.dialects(dialect(spoken).operation)


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_below_the_base_that_a_prefix_replaces(name: str) -> None:
    row = PRESETS[name]
    base = urlsplit(row.url).path
    assert row.paths["completions"] == f"{base}/chat/completions"


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_lists_it(name: str) -> None:
    row = PRESETS[name]
    formats = ", ".join(row.paths)
    assert re.search(rf"^\| `{name}` \| `{re.escape(row.url)}` \| `{row.key}` \| {formats} \|$", README, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_the_key_stays_a_bearer_token(name: str) -> None:
    outgoing = sent(name, chat().call, authorization="Bearer k")
    assert outgoing.headers.all("authorization") == ["Bearer k"]


@pytest.mark.parametrize("name", [name for name in NAMES if "messages" in PRESETS[name].paths])
def test_anthropics_format_is_told_a_version_unless_the_client_told_one(name: str) -> None:
    call = chat(speaks="messages").call
    assert sent(name, call).headers.get("anthropic-version") == "2023-06-01"
    assert sent(name, call, anthropic_version="2026-10-21").headers.all("anthropic-version") == ["2026-10-21"]


@pytest.mark.parametrize("name", [name for name in NAMES if not PRESETS[name].renamed])
def test_a_call_in_the_vendors_own_format_leaves_byte_for_byte(name: str) -> None:
    raw = b'{ "model": "m", "messages": [{"role":"user","content":"hi"}], "max_completion_tokens": 5, "x-new": 1.50 }'
    call = LlmCall.read(dialect("completions"), raw, "/v1/chat/completions")
    assert sent(name, call).body == raw


THOUGHTFUL: dict[str, Any] = {
    "top_k": 4,
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "a greeting", "signature": "s"}]},
        {"role": "user", "content": [{"type": "text", "text": "again", "cache_control": {"type": "ephemeral"}}]},
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_translated_call_says_only_what_the_vendor_knows(name: str) -> None:
    call = chat(THOUGHTFUL, speaks="messages").call.translated(dialect("completions"))
    body = sent(name, call).body
    assert isinstance(body, bytes)
    assert not any(extension in body for extension in (b"top_k", b"cache_control", b"thinking_blocks"))
    assert (b'"reasoning_content":"a greeting"' in body) == (name in ("deepseek", "fireworks"))


def test_mistral_is_asked_in_its_own_words() -> None:
    call = chat(
        max_tokens=None, max_completion_tokens=7, seed=3, user="u", stream=True, stream_options={"include_usage": True}
    ).call
    call.document.pop("max_tokens")
    sent("mistral", call)
    assert call.document == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "max_tokens": 7,
        "random_seed": 3,
    }


def test_what_was_said_in_the_vendors_words_stands() -> None:
    call = chat(max_tokens=9, max_completion_tokens=7).call
    sent("deepseek", call)
    assert (call.document["max_tokens"], call.document["max_completion_tokens"]) == (9, 7)
