"""The provider `copilot`: what leaves for GitHub, and whose token goes along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentgateway.errors import InternalError
from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Credential, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import CredentialContract, LoopbackHost, ProviderContract, chat, http, make

PROVIDERS, CREDENTIALS = "agentgateway.providers", "agentgateway.credentials"
CANARY = "gho_canary8c1f2e"


class TestCopilotContract(ProviderContract):
    name = "copilot"
    config = {"model": "gpt-5.4"}


class TestCopilotCredentialContract(CredentialContract):
    name = "copilot"

    def build(self, host: LoopbackHost | None = None) -> Any:
        return make(self.group, self.name, self.config, host or LoopbackHost(environ={"GH_COPILOT_TOKEN": CANARY}))

    async def test_it_never_shows_its_secret(self) -> None:
        credential = self.build()
        assert CANARY not in repr(credential) + repr(credential.config) + str(vars(credential))


@pytest.fixture
def provider() -> Provider:
    made: Provider = make(PROVIDERS, "copilot", {})
    return made


def sent(provider: Provider, call: LlmCall, **headers: str) -> Outgoing:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of(fields))
    provider.finish(outgoing, call)
    outgoing.body = call.body()
    return outgoing


@pytest.mark.parametrize(
    ("model", "spoken"),
    [
        ("claude-sonnet-4.5", ("messages", "completions")),
        ("Claude-Opus-4.1", ("messages", "completions")),
        ("grok-code-fast-1", ("responses",)),
        ("mai-1", ("responses",)),
        ("gpt-3.5-turbo", ("completions",)),
        ("gpt-4.1", ("completions",)),
        ("gpt-5-mini", ("completions", "responses")),
        ("gpt-5.4", ("completions", "responses")),
        ("gpt-5.4-codex", ("responses",)),
        ("gpt-5-codex", ("responses",)),
        ("gpt-6", ("responses",)),
        ("gemini-2.5-pro", ("completions",)),
        ("o4-mini", ("completions",)),
    ],
)
def test_a_model_takes_what_its_name_says(provider: Provider, model: str, spoken: tuple[str, ...]) -> None:
    assert provider.speaks("chat", model) == spoken


def test_other_operations(provider: Provider) -> None:
    assert provider.speaks("embeddings", "text-embedding-3-small") == ("embeddings",)
    assert provider.speaks("rerank", "x") == ()


def test_paths_are_without_a_version_but_for_anthropics(provider: Provider) -> None:
    paths = {spoken: provider.path(chat(speaks=spoken).call) for spoken in provider.dialects("chat")}
    assert paths == {"completions": "/chat/completions", "responses": "/responses", "messages": "/v1/messages"}
    assert provider.url == "https://api.githubcopilot.com"


def test_anthropics_format_loses_what_copilot_refuses(provider: Provider) -> None:
    call = chat(speaks="messages", context_management={"edits": []}, of_tomorrow=1).call
    betas = "claude-code-20250219, advisor-tool-2026-03-01,effort-2025-11-24"
    outgoing = sent(provider, call, anthropic_version="2026-10-21", anthropic_beta=betas)
    assert outgoing.headers.all("anthropic-version") == ["2023-06-01"]
    assert outgoing.headers.all("anthropic-beta") == ["claude-code-20250219,effort-2025-11-24"]
    assert "context_management" not in call.document and call.document["of_tomorrow"] == 1
    outgoing = sent(provider, chat(speaks="messages").call, anthropic_beta="advisor-tool-2026-03-01")
    assert "anthropic-beta" not in outgoing.headers


def test_openais_formats_hear_nothing_of_anthropic(provider: Provider) -> None:
    outgoing = sent(provider, chat().call, anthropic_version="2023-06-01", anthropic_beta="x", x_initiator="agent")
    assert dict(outgoing.headers) == {"x-initiator": "agent"}


def test_the_limit_on_tokens_gets_its_modern_name(provider: Provider) -> None:
    call = chat(max_tokens=64).call
    sent(provider, call)
    assert call.document["max_completion_tokens"] == 64


PICTURES: list[tuple[str, dict[str, Any]]] = [
    ("completions", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
]


@pytest.mark.parametrize(("spoken", "fields"), PICTURES)
def test_a_call_with_pictures_says_so(provider: Provider, spoken: str, fields: dict[str, Any]) -> None:
    assert sent(provider, chat(fields, speaks=spoken).call).headers.get("copilot-vision-request") == "true"
    assert "copilot-vision-request" not in sent(provider, chat(speaks=spoken).call).headers


def test_a_translated_call_says_only_what_openai_published(provider: Provider) -> None:
    call = chat(speaks="messages", top_k=4).call.translated(dialect("completions"))
    assert b"top_k" not in bytes(sent(provider, call).body)  # type: ignore[arg-type]


# whose token


def credential(**environ: str) -> Credential:
    made: Credential = make(CREDENTIALS, "copilot", None, LoopbackHost(environ=environ))
    return made


async def shown(made: Credential, **headers: str) -> Headers:
    exchange = http("POST", "/")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    exchange.outgoing = Outgoing("POST", "https://host.test", "/", Headers.of(fields))
    done = made.apply(exchange)
    assert done is not None
    await done
    return exchange.outgoing.headers


async def test_the_environment_names_it() -> None:
    both = credential(GH_COPILOT_TOKEN="gho_1", COPILOT_GITHUB_TOKEN="gho_2")
    assert (await shown(both, api_key="of the client")).raw == [(b"authorization", b"Bearer gho_1")]
    assert (await shown(credential(COPILOT_GITHUB_TOKEN="gho_2"))).get("authorization") == "Bearer gho_2"


FILES = {
    "github-copilot/apps.json": json.dumps({"github.com:Iv1.b507a08c87ecfe98": {"oauth_token": "ghu_3"}}),
    "github-copilot/hosts.json": json.dumps({"github.com": {"user": "ada", "oauth_token": "ghu_4"}}),
    "gh/hosts.yml": "ghe.example:\n    oauth_token: gho_no\ngithub.com:\n    user: ada\n    oauth_token: gho_5\n",
}


@pytest.mark.parametrize(("name", "token"), [*zip(FILES, ["ghu_3", "ghu_4", "gho_5"], strict=True)])
async def test_files_of_this_machine_have_it(tmp_path: Path, name: str, token: str) -> None:
    file = tmp_path / ".config" / name
    file.parent.mkdir(parents=True)
    file.write_text(FILES[name])
    found = credential(HOME=str(tmp_path))
    assert (await shown(found)).get("authorization") == f"Bearer {token}"
    file.unlink()
    assert (await shown(found)).get("authorization") == f"Bearer {token}"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"ghe.example": {"oauth_token": "x"}}', '{"github.com": {"oauth_token": 7}}']
)
async def test_files_without_a_token_are_passed_over(tmp_path: Path, text: str) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(InternalError) as caught:
        await shown(credential(XDG_CONFIG_HOME=str(tmp_path)))
    assert str(tmp_path) not in caught.value.message


async def test_nobody_is_logged_in() -> None:
    with pytest.raises(InternalError):
        await shown(credential())


async def test_the_token_is_never_shown() -> None:
    made = credential(GH_COPILOT_TOKEN=CANARY)
    await shown(made)
    assert CANARY not in repr(made) + str(vars(made))
